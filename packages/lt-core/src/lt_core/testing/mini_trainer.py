"""The simplest trainer that does everything right in one process: what the packages' own tests run.

It favours being read over being fast; `lt_loops.Trainer` is the one to train with. Both pass the same conformance kit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException
from lt_core.hooks.calls import is_overridden
from lt_core.logger import DummyLogger, Logger
from lt_core.loop_trainer import LoopTrainer
from lt_core.module import LightningModule
from lt_core.seed import isolate_rng
from lt_core.state import RunningStage, TrainerFn
from lt_core.testing.batches import as_list, count_batches, limited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MiniTrainer"]


class MiniTrainer(LoopTrainer):
    """Fit, validate, test and predict on the CPU.

    Args:
        callbacks: In calling order.
        logger: Where metrics go: a logger, several, or None.
        max_epochs: After how many epochs `fit` stops, -1 for never.
        max_steps: After how many optimizer steps `fit` stops, -1 for never.
        limit_train_batches: Batches per training epoch: an int, or a fraction of the loader as a float.
        limit_val_batches: Batches per evaluation loader, likewise.
        default_root_dir: Where files go; by default the current folder.
        val_check_interval: Validate after so many batches (int) or such a part of an epoch (float).
        check_val_every_n_epoch: Validate in each n-th epoch only.
        log_every_n_steps: After how many batches the loggers get a row.
        fast_dev_run: Run so many batches of everything (True: one), without loggers and checkpoints.
        num_sanity_val_steps: Validation batches per loader before training.
        accumulate_grad_batches: Batches per optimizer step.
        gradient_clip_val: The limit for gradients, None for none.
        gradient_clip_algorithm: ``"norm"`` or ``"value"``.

    Example:
        >>> from lt_core.testing import BoringModel
        >>> trainer = MiniTrainer(max_epochs=2, limit_train_batches=3, limit_val_batches=1)
        >>> trainer.fit(BoringModel())
        >>> trainer.current_epoch, trainer.global_step
        (2, 6)
    """

    def __init__(
        self,
        callbacks: list[Callback] | Callback | None = None,
        logger: Logger | list[Logger] | None = None,
        max_epochs: int = 1,
        max_steps: int = -1,
        limit_train_batches: float | None = None,
        limit_val_batches: float | None = None,
        default_root_dir: str | Path | None = None,
        val_check_interval: float = 1.0,
        check_val_every_n_epoch: int | None = 1,
        log_every_n_steps: int = 50,
        *,
        fast_dev_run: bool | int = False,
        num_sanity_val_steps: int = 0,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        loggers = logger if isinstance(logger, list) else [] if logger is None else [logger]
        listed = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
        if fast_dev_run:
            loggers = [DummyLogger() for _ in loggers[:1]]
            listed = [callback for callback in listed if callback.role != "checkpoint"]
            limit_train_batches = limit_val_batches = max_steps = int(fast_dev_run)
            max_epochs, num_sanity_val_steps = 1, 0
        super().__init__(listed, loggers, default_root_dir)
        self.max_epochs = max_epochs
        self.max_steps = max_steps
        self.limit_train_batches = limit_train_batches
        self.limit_val_batches = limit_val_batches
        self.val_check_interval = val_check_interval
        self.check_val_every_n_epoch = check_val_every_n_epoch
        self.log_every_n_steps = log_every_n_steps
        self.fast_dev_run = fast_dev_run
        self.num_sanity_val_steps = num_sanity_val_steps
        self.accumulate_grad_batches = accumulate_grad_batches
        self.gradient_clip_val = gradient_clip_val
        self.gradient_clip_algorithm = gradient_clip_algorithm
        self._batches_done = 0
        self._resume_at = 0
        self._in_batch = False
        self._window_open = False
        self._all_batches = 0
        self._evaluated: dict[RunningStage, int] = {}

    # -- entry points

    def fit(
        self,
        model: LightningModule,
        train_loader: Any = None,
        val_loader: Any = None,
        ckpt_path: str | Path | None = None,
        datamodule: Any = None,
    ) -> None:
        """Train.

        Args:
            model: The module.
            train_loader: Training batches; by default the data module's or the module's.
            val_loader: Validation batches, one loader or several; likewise.
            ckpt_path: A checkpoint to go on from.
            datamodule: Whose loaders to use.
        """
        self._resume_at = 0
        with self.run(TrainerFn.FITTING, model, datamodule, ckpt_path):
            self._load_data(model, train_loader, val_loader)
            self._sanity_check()
            if self._may_stop() or not self.num_training_batches:
                return
            with self.collecting(RunningStage.TRAINING), torch.enable_grad():
                self.call("on_train_start")
                while not self._may_stop():
                    self._train_epoch()
                self.call("on_train_end")

    def validate(
        self, model: LightningModule, loader: Any = None, ckpt_path: str | Path | None = None, datamodule: Any = None
    ) -> list[dict[str, float]]:
        """Run the validation loop and return the logged values, one dict per loader; see `fit` for the arguments."""
        return self._run_evaluation(TrainerFn.VALIDATING, model, loader, ckpt_path, datamodule)

    def test(
        self, model: LightningModule, loader: Any = None, ckpt_path: str | Path | None = None, datamodule: Any = None
    ) -> list[dict[str, float]]:
        """Run the test loop and return the logged values, one dict per loader; see `fit` for the arguments."""
        return self._run_evaluation(TrainerFn.TESTING, model, loader, ckpt_path, datamodule)

    def predict(
        self, model: LightningModule, loader: Any = None, ckpt_path: str | Path | None = None, datamodule: Any = None
    ) -> list[Any]:
        """Return what ``predict_step`` returns for each batch, in one list per loader when there are several."""
        with self.run(TrainerFn.PREDICTING, model, datamodule, ckpt_path):
            self.predict_dataloaders = self._loaders("predict", loader)
            loaders = as_list(self.predict_dataloaders)
            self.num_predict_batches = [count_batches(loader, self.limit_val_batches) for loader in loaders]
            with self.collecting(RunningStage.PREDICTING), torch.inference_mode(), self.evaluating_module("predict"):
                self.call("on_predict_start")
                self.call("on_predict_epoch_start")
                outputs: list[list[Any]] = [[] for _ in loaders]
                for index, _, output in self._evaluation_batches("predict", loaders, self.num_predict_batches):
                    outputs[index].append(output)
                self.call("on_predict_epoch_end")
                self.call("on_predict_end")
        return outputs[0] if len(outputs) == 1 else outputs

    # -- data

    def _loaders(self, prefix: str, given: Any) -> Any:
        if given is not None:
            return given
        source = self.datamodule if self.datamodule is not None else self.lightning_module
        return getattr(source, f"{prefix}_dataloader")()

    def _load_data(self, model: LightningModule, train_loader: Any, val_loader: Any) -> None:
        self.train_dataloader = self._loaders("train", train_loader)
        self.num_training_batches = count_batches(self.train_dataloader, self.limit_train_batches)
        source = self.datamodule if self.datamodule is not None else model
        has_loader = val_loader is not None or is_overridden("val_dataloader", source, LightningModule)
        self.enable_validation = (
            has_loader and is_overridden("validation_step", model, LightningModule) and self.limit_val_batches != 0
        )
        self.val_dataloaders = self._loaders("val", val_loader) if self.enable_validation else None
        loaders = as_list(self.val_dataloaders)
        self.num_val_batches = [count_batches(loader, self.limit_val_batches) for loader in loaders]
        self.num_sanity_val_batches = [min(count, self.num_sanity_val_steps) for count in self.num_val_batches]
        self.val_check_batch = self._validation_period()

    def _validation_period(self) -> int | float:
        interval = self.val_check_interval
        if isinstance(interval, int) or self.num_training_batches == math.inf:
            return interval if isinstance(interval, int) else math.inf
        return max(1, int(self.num_training_batches * interval))

    # -- training

    def _may_stop(self) -> bool:
        if self.max_steps != -1 and self.global_step >= self.max_steps:
            return True
        if self.max_epochs not in (None, -1) and self.current_epoch >= (self.max_epochs or 0):
            return True
        early = self.current_epoch >= (self.min_epochs or 0) and self.global_step >= (self.min_steps or 0)
        return self.should_stop and early

    def _train_epoch(self) -> None:
        sampler = getattr(self.train_dataloader, "sampler", None)
        if callable(getattr(sampler, "set_epoch", None)):
            sampler.set_epoch(self.current_epoch)  # type: ignore[union-attr]
        self.call("on_train_epoch_start")
        skip, self._resume_at = self._resume_at, 0
        for batch_idx, batch, is_last in limited(self.train_dataloader, self.num_training_batches):
            if batch_idx < skip:
                continue
            self.is_last_batch = is_last
            if not self._train_batch(batch, batch_idx):
                break
            if self._may_stop():
                break
        self._batches_done = 0
        self.end_epoch("on_train_epoch_end", self.num_logged_windows - 1)
        self._step_schedulers("epoch", self.current_epoch + 1, plateau=True)
        self.current_epoch += 1

    def _train_batch(self, batch: Any, batch_idx: int) -> bool:
        """Train on one batch; return False when the rest of the epoch is to be skipped."""
        batch = self.batch_to_device(batch)
        if self.call("on_train_batch_start", batch, batch_idx) == -1:
            return False
        automatic = self.lightning_module.automatic_optimization
        size = self.accumulate_grad_batches if automatic else 1
        start = batch_idx - batch_idx % size
        self._window_open = batch_idx + 1 - start < size and not self.is_last_batch
        window = min(size, self.num_training_batches - start)  # the last window of an epoch may be short
        outputs = self.optimize(batch, batch_idx, window, first=batch_idx == start, last=not self._window_open)
        if not self._window_open:
            self._step_schedulers("step", batch_idx + 1)
        if self.is_last_batch:
            self._step_schedulers("epoch", self.current_epoch + 1)
        self._batches_done = batch_idx + 1
        self._in_batch = True
        self.call("on_train_batch_end", outputs, batch, batch_idx)
        if not self._window_open:
            self.log_step_row()
        self._all_batches += 1
        if self._validation_is_due(batch_idx):
            self._validate_within_fit()
        if not self._window_open:
            self._step_schedulers("step", batch_idx + 1, plateau=True)
        self.num_logged_windows += not self._window_open
        self._in_batch = False
        return True

    def _step_schedulers(self, interval: str, count: int, *, plateau: bool = False) -> None:
        if not self.lightning_module.automatic_optimization:
            return
        for config in self.lr_scheduler_configs:
            if config.interval != interval or config.reduce_on_plateau != plateau or count % config.frequency:
                continue
            metric = None
            if plateau:
                metric = self.callback_metrics.get(config.monitor or "")
                if metric is None:
                    if config.strict:
                        raise MisconfigurationException(
                            f"The scheduler monitors {config.monitor!r}, which was not logged. Expected one of "
                            f"{sorted(self.callback_metrics)}: log it, or set the entry `monitor`."
                        )
                    continue
            self.within("lr_scheduler_step", config.scheduler, metric)

    # -- validation within fit

    def _validation_is_due(self, batch_idx: int) -> bool:
        every = self.check_val_every_n_epoch
        if not self.enable_validation or (every is not None and (self.current_epoch + 1) % every):
            return False
        if self.val_check_batch == math.inf:
            return self.is_last_batch
        if self.should_stop and self._may_stop():
            return True
        done = self._all_batches if every is None else batch_idx + 1
        return done % (self.val_check_batch or 1) == 0

    def _validate_within_fit(self) -> None:
        if not self._window_open:
            self.within("on_validation_model_zero_grad")
        with torch.no_grad():
            self._evaluate(RunningStage.VALIDATING, "validation", as_list(self.val_dataloaders), self.num_val_batches)

    def _sanity_check(self) -> None:
        if not self.enable_validation or not self.num_sanity_val_steps:
            return
        stage = RunningStage.SANITY_CHECKING
        with isolate_rng(), self.collecting(stage):
            self.call("on_sanity_check_start")
            with torch.no_grad():
                loaders = as_list(self.val_dataloaders)
                self._evaluate(stage, "validation", loaders, self.num_sanity_val_batches)
            self.call("on_sanity_check_end")
        self.metrics_board.reset()

    # -- evaluation

    def _run_evaluation(
        self, fn: TrainerFn, model: LightningModule, loader: Any, ckpt_path: str | Path | None, datamodule: Any
    ) -> list[dict[str, float]]:
        validating = fn is TrainerFn.VALIDATING
        with self.run(fn, model, datamodule, ckpt_path), torch.inference_mode():
            loaders = self._loaders("val" if validating else "test", loader)
            counts = [count_batches(loader, self.limit_val_batches) for loader in as_list(loaders)]
            if validating:
                self.val_dataloaders, self.num_val_batches = loaders, counts
                return self._evaluate(RunningStage.VALIDATING, "validation", as_list(loaders), counts)
            self.test_dataloaders, self.num_test_batches = loaders, counts
            return self._evaluate(RunningStage.TESTING, "test", as_list(loaders), counts)

    def _evaluate(
        self, stage: RunningStage, name: str, loaders: list[Any], counts: list[int | float]
    ) -> list[dict[str, float]]:
        with self.collecting(stage), self.evaluating_module(name):
            self.call(f"on_{name}_start")
            self.call(f"on_{name}_epoch_start")
            for _ in self._evaluation_batches(name, loaders, counts):
                row = self.metrics_board.publish()
                if row:
                    step = self._evaluated[stage] = self._evaluated.get(stage, -1) + 1
                    self.log_row({key: float(value) for key, value in row.items()}, step)
            rows = self.end_epoch(f"on_{name}_epoch_end", self.num_logged_windows, len(loaders))
            self.call(f"on_{name}_end")
        return rows

    def _evaluation_batches(
        self, name: str, loaders: list[Any], counts: list[int | float]
    ) -> Iterator[tuple[int, int, Any]]:
        """Run the step and its batch hooks on each batch; yield the loader's index, the batch's, and the output."""
        for index, (loader, count) in enumerate(zip(loaders, counts, strict=True)):
            extra = (index,) if len(loaders) > 1 else ()
            for batch_idx, fetched, _ in limited(loader, count):
                self.sink.dataloader_idx = extra[0] if extra else None
                batch = self.batch_to_device(fetched, index)
                self.call(f"on_{name}_batch_start", batch, batch_idx, *extra)
                output = self.step(f"{name}_step", batch, batch_idx, *extra)
                self.call(f"on_{name}_batch_end", output, batch, batch_idx, *extra)
                yield index, batch_idx, output

    # -- checkpoints

    def checkpoint_entries(self) -> dict[str, Any]:
        """Return how far training is, to the batch, and what this epoch has logged so far."""
        entries = super().checkpoint_entries()
        entries["progress"]["windows"] += self._in_batch and not self._window_open
        if self._batches_done and not (self.training and self.sink.epoch_ended):
            entries["progress"]["batches"] = self._batches_done
            entries["progress"]["logged"] = self.sink.state_dict()
        return entries

    def restore_progress(self, checkpoint: dict[str, Any]) -> None:
        """Go on at the batch where the checkpoint was written."""
        super().restore_progress(checkpoint)
        progress = checkpoint.get("progress", {})
        self._resume_at = progress.get("batches", 0)
        self.sink.load_state_dict(progress.get("logged", {}), self.lightning_module)
