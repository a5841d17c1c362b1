"""Logs throughput: how many batches, samples, items and operations a second each stage gets through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from lt_callbacks.peak_flops import get_available_flops
from lt_callbacks.throughput import Throughput
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.rank_zero import rank_zero_warn
from lt_core.state import RunningStage, TrainerFn

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["ThroughputMonitor"]

_DTYPES = {"16": torch.float16, "bf16": torch.bfloat16, "64": torch.float64}
_STAGE_OF = {
    TrainerFn.VALIDATING: RunningStage.VALIDATING,
    TrainerFn.TESTING: RunningStage.TESTING,
    TrainerFn.PREDICTING: RunningStage.PREDICTING,
}


class ThroughputMonitor(Callback):
    """Log the throughput of each stage as ``train/…``, ``validate/…``, ``test/…`` and ``predict/…``.

    What is logged are the values of `Throughput`, each ``log_every_n_steps``: optimizer steps in training, batches
    elsewhere. The time that validation takes is not counted in training. For operations a second the module needs an
    attribute ``flops_per_batch``; `measure_flops` finds it.

    Args:
        batch_size_fn: Returns the number of samples in a batch ``[B, …]``.
        length_fn: Returns the number of items (such as tokens) in a batch.
        **kwargs: Passed to `Throughput`: ``window_size``, ``separator``, and ``available_flops`` where the device is
            not listed.

    Raises:
        MisconfigurationTypeError: An argument is no function, or unknown.
        MisconfigurationException: When a run begins: the trainer has no logger; in a run: ``batch_size_fn`` or
            ``length_fn`` returned no positive number.

    Example:
        >>> monitor = ThroughputMonitor(batch_size_fn=lambda batch: batch.size(0), window_size=10)
        >>> monitor.batch_size_fn(torch.zeros(8, 32))
        8
    """

    def __init__(
        self, batch_size_fn: Callable[[Any], int], length_fn: Callable[[Any], int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__()
        functions = (
            {"batch_size_fn": batch_size_fn}
            if length_fn is None
            else {
                "batch_size_fn": batch_size_fn,
                "length_fn": length_fn,
            }
        )
        for name, function in functions.items():
            if not callable(function):
                raise MisconfigurationTypeError(
                    f"ThroughputMonitor got {name}={function!r}; expected a function of a batch. Write for example"
                    f" `{name}=lambda batch: len(batch[0])`."
                )
        unknown = set(kwargs) - {"available_flops", "window_size", "separator"}
        if unknown:
            raise MisconfigurationTypeError(
                f"ThroughputMonitor got the unexpected arguments {sorted(unknown)}; expected those of Throughput:"
                " `window_size`, `separator`, `available_flops`. Leave the others out."
            )
        Throughput(**kwargs)  # says what is wrong with them
        self.kwargs = kwargs
        self.batch_size_fn = batch_size_fn
        self.length_fn = length_fn
        self.available_flops: float | None = kwargs.get("available_flops")
        self._meters: dict[RunningStage, _Meter] = {}
        self._said_no_flops = False

    # -- a run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find out what the device can do, and begin to count."""
        if not trainer.loggers:
            raise MisconfigurationException(
                "ThroughputMonitor has nowhere to log to: the trainer has no logger. Expected one. Write"
                " `Trainer(logger=True)`, or leave the callback out."
            )
        if "available_flops" not in self.kwargs:
            precision = str(getattr(trainer, "precision", "32-true")).partition("-")[0]
            dtype = _DTYPES.get(precision, torch.float32)
            self.available_flops = get_available_flops(trainer.strategy.root_device, dtype)
        self._said_no_flops = False
        fn = TrainerFn(stage)
        fitting = fn is TrainerFn.FITTING
        stages = (RunningStage.TRAINING, RunningStage.VALIDATING) if fitting else (_STAGE_OF[fn],)
        for each in stages:
            kwargs = {**self.kwargs, "available_flops": self.available_flops}
            self._meters[each] = _Meter(Throughput(world_size=trainer.world_size, **kwargs))

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Start the clock of training."""
        self._meters[RunningStage.TRAINING].start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch; log when an optimizer step is due to be logged."""
        window, every = trainer.accumulate_grad_batches, trainer.log_every_n_steps
        closes = trainer.is_last_batch or (batch_idx + 1) % window == 0
        is_due = closes and (bool(every and (trainer.num_logged_windows + 1) % every == 0) or trainer.should_stop)
        self._count(RunningStage.TRAINING, trainer, pl_module, batch, is_due=is_due)
        if is_due:
            self._log(RunningStage.TRAINING, trainer, trainer.num_logged_windows, epoch=trainer.current_epoch)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        """Start the clock of validation, and stop that of training."""
        if not trainer.sanity_checking:
            self._meters[RunningStage.VALIDATING].start()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        """Count a batch."""
        if not trainer.sanity_checking:
            self._evaluated(RunningStage.VALIDATING, trainer, pl_module, batch)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """Let the clock of training go on."""
        if not trainer.sanity_checking and trainer.state.fn == TrainerFn.FITTING:
            validation = self._meters[RunningStage.VALIDATING]
            self._meters[RunningStage.TRAINING].pause(time.perf_counter() - validation.began)

    def on_test_start(self, trainer: Trainer, *_: Any) -> None:
        """Start the clock of the test."""
        self._meters[RunningStage.TESTING].start()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        """Count a batch."""
        self._evaluated(RunningStage.TESTING, trainer, pl_module, batch)

    def on_predict_start(self, trainer: Trainer, *_: Any) -> None:
        """Start the clock of prediction."""
        self._meters[RunningStage.PREDICTING].start()

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        """Count a batch."""
        self._evaluated(RunningStage.PREDICTING, trainer, pl_module, batch)

    # -- counting and logging

    def _evaluated(self, stage: RunningStage, trainer: Trainer, pl_module: LightningModule, batch: Any) -> None:
        meter, every = self._meters[stage], trainer.log_every_n_steps
        meter.seen += 1
        is_due = bool(every) and meter.seen % every == 0
        self._count(stage, trainer, pl_module, batch, is_due=is_due)
        if is_due:
            self._log(stage, trainer, meter.seen)

    @torch.no_grad()
    def _count(
        self, stage: RunningStage, trainer: Trainer, pl_module: LightningModule, batch: Any, *, is_due: bool
    ) -> None:
        if batch is None or not trainer.is_global_zero:
            return
        if is_due and trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize(trainer.strategy.root_device)  # or what is logged is ahead of the device
        flops = getattr(pl_module, "flops_per_batch", None)
        if flops is None and not self._said_no_flops:
            self._said_no_flops = True
            rank_zero_warn(
                f"`{type(pl_module).__name__}` has no attribute `flops_per_batch`; ThroughputMonitor expected it to"
                " compute operations per second, and leaves them out. Set it in `setup`, for example to what"
                " `measure_flops` returns."
            )
        samples = _positive("batch_size_fn", self.batch_size_fn(batch))
        length = None if self.length_fn is None else _positive("length_fn", self.length_fn(batch))
        self._meters[stage].count(samples, length, flops)

    def _log(self, stage: RunningStage, trainer: Trainer, step: int, **extra: float) -> None:
        throughput = self._meters[stage].throughput
        metrics = throughput.compute() if trainer.is_global_zero else {}
        if not metrics:
            return
        row = {f"{stage}{throughput.separator}{name}": value for name, value in metrics.items()}
        for logger in trainer.loggers:
            logger.log_metrics({**row, **extra}, step=step)


class _Meter:
    """The running totals of one stage.

    Attributes:
        throughput: What computes the rates.
        began: When the stage, or this run of it, began.
        seen: Batches of all runs, for the x-axis.
    """

    def __init__(self, throughput: Throughput) -> None:
        self.throughput = throughput
        self.began = 0.0
        self.seen = 0
        self._batches = self._samples = 0
        self._length: int | None = None

    def start(self) -> None:
        """Begin to count from zero."""
        self.throughput.reset()
        self._batches = self._samples = 0
        self._length = None
        self.began = time.perf_counter()

    def pause(self, seconds: float) -> None:
        """Leave out a time that passed."""
        self.began += seconds

    def count(self, samples: int, length: int | None, flops: float | None) -> None:
        """Add one batch."""
        self._batches += 1
        self._samples += samples
        if length is not None:
            self._length = (self._length or 0) + length
        elapsed = time.perf_counter() - self.began
        self.throughput.update(
            time=elapsed, batches=self._batches, samples=self._samples, lengths=self._length, flops=flops
        )


def _positive(name: str, number: Any) -> int:
    value = int(number)
    if value < 1:
        raise MisconfigurationValueError(
            f"`ThroughputMonitor({name}=…)` returned {number!r} for a batch; expected the number of its samples or"
            f" items, at least 1. Write for example `{name}=lambda batch: len(batch[0])`."
        )
    return value
