"""The prediction loop."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from lt_core.rank_zero import WarningCache
from lt_core.transfer import move_data_to_device
from lt_loops.data.batch_indices import IndexRecorder
from lt_loops.data.prediction_order import gather_predictions
from lt_loops.loops.evaluation_loop import EvaluationPlan, ModeKeeper

if TYPE_CHECKING:
    from lt_loops.run_data import StageBatches
    from lt_loops.trainer import Trainer

__all__ = ["PredictionLoop"]

_warnings = WarningCache()


class PredictionLoop:
    """Runs ``predict_step`` over loaders and collects what it returns.

    Args:
        trainer: Whose flags and data count.

    Attributes:
        predictions: What each loader's batches gave on this rank, on the CPU.
        current_batch_indices: Which samples the running batch is made of, for callbacks that write predictions; None
            where that cannot be known, and where no callback plays the role ``prediction_writer``.
        epoch_batch_indices: The same for each loader and batch, an empty list where it is None; filled while
            predictions are kept.
    """

    current_batch_indices: list[int] | None

    def __init__(self, trainer: Trainer) -> None:
        self.predictions: list[list[Any]] = []
        self.current_batch_indices = None
        self.epoch_batch_indices: list[list[list[int]]] = []
        self._trainer = trainer
        self._modes: ModeKeeper | None = None

    def run(self, plan: EvaluationPlan, *, keep: bool) -> list[Any] | None:
        """Predict on all loaders.

        Args:
            plan: What to run.
            keep: Whether to return the predictions.

        Returns:
            The outputs of all ranks batch by batch, in the order of the data; a list of such lists when there are
            several loaders; None unless kept.
        """
        trainer, hooks = self._trainer, plan.hooks
        data = trainer.prediction_data()
        loaders = data.loaders
        self.predictions = [[] for _ in loaders]
        self.epoch_batch_indices = [[] for _ in loaders]
        if data.is_empty:
            return [] if keep else None
        self._modes = ModeKeeper(plan.module)
        if hooks["on_predict_model_eval"] is not None:
            hooks["on_predict_model_eval"]()
        else:
            trainer.model.eval()
        for name in ("on_predict_start", "on_predict_epoch_start"):
            if (hook := hooks[name]) is not None:
                hook()
        try:
            for index in range(len(loaders)):
                trainer.strategy.uneven_batches = data.uneven(index)
                self._run_loader(plan, data, index, (index,) if len(loaders) > 1 else (), keep=keep)
        finally:
            trainer.strategy.uneven_batches = None
        for name in ("on_predict_epoch_end", "on_predict_end"):
            if (hook := hooks[name]) is not None:
                hook()
        self.restore_modes()
        if not keep:
            return None
        collected = gather_predictions(self.predictions, data.dealt, trainer.strategy)
        return collected[0] if len(loaders) == 1 else collected

    def restore_modes(self) -> None:
        """Give the submodules the modes that they had before, unless that was done."""
        if self._modes is not None:
            self._modes.restore()
            self._modes = None

    def _run_loader(
        self, plan: EvaluationPlan, data: StageBatches, index: int, extra: tuple[int, ...], *, keep: bool
    ) -> None:
        loader, limit = data.loaders[index], data.limits[index]
        step, move, context = plan.step, plan.move, plan.step_context
        on_start, on_end = plan.hooks["on_predict_batch_start"], plan.hooks["on_predict_batch_end"]
        count = None if limit == float("inf") else int(limit)
        outputs = self.predictions[index]
        plan.sink.fx = "predict_step"
        recorder = IndexRecorder(loader) if self._trainer.callbacks_of("prediction_writer") else None
        loader = loader if recorder is None else recorder
        for batch_idx, batch in enumerate(islice(loader, count)):
            if move is not None:
                batch = move(batch, index)  # noqa: PLW2901 -- the batch on its device replaces the one on the host
            if recorder is not None:
                self.current_batch_indices = recorder.indices
            if on_start is not None:
                on_start(batch, batch_idx, *extra)
            if context is None:
                output = step(batch, batch_idx, *extra)
            else:
                with context:
                    output = step(batch, batch_idx, *extra)
            if output is None:
                _warnings.warn("`predict_step` returned None. Return the prediction if it is to be kept.")
            if on_end is not None:
                on_end(output, batch, batch_idx, *extra)
            if keep:
                outputs.append(move_data_to_device(output, "cpu"))
                self.epoch_batch_indices[index].append(self.current_batch_indices or [])
        self.current_batch_indices = None
        plan.sink.fx = None
