"""The loop behind validation and testing, on its own and within fit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lt_core.errors import SIGTERMException
from lt_core.state import RunningStage

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from lt_core.hooks import HookCalls
    from lt_core.log.sink import LogSink
    from lt_core.metrics_board import MetricsBoard
    from lt_core.module import LightningModule
    from lt_loops.log_writer import LogWriter
    from lt_loops.ranks.stop_vote import PolledStop, StopVote
    from lt_loops.run_data import StageBatches
    from lt_loops.trainer import Trainer

__all__ = ["EvaluationLoop", "EvaluationPlan", "ModeKeeper"]


@dataclass(frozen=True)
class EvaluationPlan:
    """What one evaluation runs, resolved before it begins.

    Attributes:
        module: The module.
        hooks: Who overrides which hook.
        step: What runs a batch: ``step(batch, batch_idx)`` or ``step(batch, batch_idx, dataloader_idx)``.
        move: Moves a batch to the device, None when there is nothing to do.
        sink: Where values are logged.
        board: What has been published.
        writer: Where rows go.
        step_context: The precision's context, None when it has none.
        stop: How several processes agree to stop; None for one process.
    """

    module: LightningModule
    hooks: HookCalls
    step: Callable[..., Any]
    move: Callable[[Any, int], Any] | None
    sink: LogSink
    board: MetricsBoard
    writer: LogWriter
    step_context: AbstractContextManager[Any] | None
    stop: StopVote | PolledStop | None


class ModeKeeper:
    """Remembers each submodule's train or eval mode, and gives it back.

    Example:
        >>> layer = torch.nn.Dropout().eval()
        >>> keeper = ModeKeeper(layer)
        >>> _ = layer.train()
        >>> keeper.restore()
        >>> layer.training
        False
    """

    def __init__(self, module: nn.Module) -> None:
        self._modes = [(child, child.training) for child in module.modules()]

    def restore(self) -> None:
        """Give every submodule its mode back."""
        for child, training in self._modes:
            child.training = training


class EvaluationLoop:
    """Runs a module over evaluation loaders and publishes what it logs.

    Args:
        trainer: Whose flags and data count.
        kind: ``validation`` or ``test``: the name within the hooks.

    Attributes:
        seen: Batches of each loader over the whole run: the x-axis of rows logged on each step.
        last_batches: Batches of all loaders in the last run, the sanity check counted.
    """

    def __init__(self, trainer: Trainer, kind: str) -> None:
        self.kind = kind
        self.seen: dict[int, int] = {}
        self.last_batches = 0
        self._trainer = trainer
        self._modes: ModeKeeper | None = None

    def run_within_fit(self, stage: RunningStage) -> None:
        """Validate in the middle of training; gradients are off, the training stage is the caller's to restore."""
        with torch.no_grad():
            self.run(self._trainer.validation_plan(), stage, want_results=False)

    def run(self, plan: EvaluationPlan, stage: RunningStage, *, want_results: bool = True) -> list[dict[str, float]]:
        """Evaluate on all loaders.

        Args:
            plan: What to run.
            stage: Under which stage values are kept.
            want_results: Whether to return what was logged.

        Returns:
            One dict of logged values per loader, empty unless wanted.
        """
        trainer, sink, hooks, kind = self._trainer, plan.sink, plan.hooks, self.kind
        data = trainer.evaluation_data(stage)
        if data.is_empty:
            return []
        self.last_batches = 0
        self._modes = ModeKeeper(plan.module)
        eval_hook = hooks[f"on_{kind}_model_eval"]
        if eval_hook is not None:
            eval_hook()
        else:
            trainer.model.eval()
        sink.open(str(stage))
        for name in (f"on_{kind}_start", f"on_{kind}_epoch_start"):
            hook = hooks[name]
            if hook is not None:
                hook()
        try:
            self._run_loaders(plan, data)
        finally:
            trainer.strategy.uneven_batches = None
        sink.dataloader_idx = None
        sink.batch = None
        name = f"on_{kind}_epoch_end"
        epoch_end = hooks[name]
        told = trainer.received_sigterm
        if sink.exchange_epoch(plan.module, name, overridden=epoch_end is not None, interrupted=told) and plan.stop:
            trainer.received_sigterm = True
            raise SIGTERMException
        sink.epoch_ended = True
        if epoch_end is not None:
            epoch_end()
        sink.exchange_late(plan.module)
        row = plan.board.publish()
        if stage is not RunningStage.SANITY_CHECKING:
            plan.writer.write(row, trainer.num_logged_windows, trainer.current_epoch)
        results = sink.read_per_loader(len(data.loaders)) if want_results else []
        end = hooks[f"on_{kind}_end"]
        if end is not None:
            end()
        sink.reset()
        sink.close()
        train_hook = hooks.get(f"on_{kind}_model_train")
        if train_hook is not None:
            train_hook()
            self._modes = None
        else:
            self.restore_modes()
        return results

    def restore_modes(self) -> None:
        """Give the submodules the modes that they had before, unless that was done."""
        if self._modes is not None:
            self._modes.restore()
            self._modes = None

    def _run_loaders(self, plan: EvaluationPlan, data: StageBatches) -> None:
        """Run the loaders one after the other, or the one that hands out a batch of each at a time."""
        strategy = self._trainer.strategy
        if data.joined:
            strategy.uneven_batches = data.uneven(0)
            self._run_loader(plan, (item[0] for item in data.loaders[0]), data.limits[0], 0, ())
            return
        several = len(data.loaders) > 1
        for index, (loader, limit) in enumerate(zip(data.loaders, data.limits, strict=True)):
            if several:
                plan.sink.dataloader_idx = index
            strategy.uneven_batches = data.uneven(index)
            self._run_loader(plan, loader, limit, index, (index,) if several else ())

    def _run_loader(
        self, plan: EvaluationPlan, loader: Any, limit: int | float, index: int, extra: tuple[int, ...]
    ) -> None:
        """Run the batches of one loader; ``extra`` is its index where the steps and hooks get one."""
        trainer, sink, step, move, context = self._trainer, plan.sink, plan.step, plan.move, plan.step_context
        on_start = plan.hooks[f"on_{self.kind}_batch_start"]
        on_end = plan.hooks[f"on_{self.kind}_batch_end"]
        step_fx = f"{self.kind}_step"
        count = None if limit == float("inf") else int(limit)
        writes, stop = not trainer.sanity_checking, plan.stop
        batch_idx = -1
        sink.fx = step_fx
        for batch_idx, batch in enumerate(islice(loader, count)):
            if move is not None:
                batch = move(batch, index)  # noqa: PLW2901 -- the batch on its device replaces the one on the host
            sink.batch = batch
            if on_start is not None:
                on_start(batch, batch_idx, *extra)
            if context is None:
                output = step(batch, batch_idx, *extra)
            else:
                with context:
                    output = step(batch, batch_idx, *extra)
            if on_end is not None:
                on_end(output, batch, batch_idx, *extra)
            if writes and sink.logs_steps:
                row = plan.board.publish()
                plan.writer.write(row, self.seen.get(index, 0) + batch_idx)
            told = trainer.received_sigterm or (stop is not None and stop.signalled)
            if told and self._ends_by_signal(stop, is_last=batch_idx + 1 == count):
                break
        sink.fx = None
        self.last_batches += batch_idx + 1
        if writes:
            self.seen[index] = self.seen.get(index, 0) + batch_idx + 1

    def _ends_by_signal(self, stop: StopVote | PolledStop | None, *, is_last: bool) -> bool:
        """Raise if the run ends here, or tell whether this rank has no further batches: all ranks end together."""
        if stop is None:
            if not is_last:
                raise SIGTERMException
            return False
        self._trainer.received_sigterm = True
        return True  # the exchange after the batches tells those who have not seen the signal
