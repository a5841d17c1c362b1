"""Measures the time of each stage and ends training when its time is used up.

Jobs on shared machines get a time slot; a run that stops by itself shortly before the slot ends keeps its results.
The time already used is part of checkpoints, so that a resumed run has only the rest of it.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from lt_callbacks.agreed_deadline import AgreedDeadline
from lt_callbacks.overriding import is_replaced
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import rank_zero_info
from lt_core.state import RunningStage

if TYPE_CHECKING:
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["Interval", "Timer"]


class Interval(str, Enum):
    """How often `Timer` looks at the clock."""

    step = "step"
    epoch = "epoch"

    def __str__(self) -> str:
        return str(self.value)


class Timer(Callback):
    """Measure the time of each stage, and stop training when a time limit is reached.

    Args:
        duration: The most time training may take: ``"DD:HH:MM:SS"``, a ``timedelta``, or the arguments of one as a
            dict. None only measures.
        interval: ``"step"`` looks at the clock after each batch, ``"epoch"`` after each epoch.
        verbose: Whether to say that the limit was reached.

    Raises:
        MisconfigurationException: ``duration`` or ``interval`` is none of the above.

    Example:
        >>> timer = Timer(duration="00:12:00:00")
        >>> timer.time_remaining()
        43200.0
    """

    role: ClassVar[str | None] = "timer"

    def __init__(
        self,
        duration: str | timedelta | dict[str, int] | None = None,
        interval: str = "step",
        verbose: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
    ) -> None:
        super().__init__()
        choices = [member.value for member in Interval]
        if interval not in choices:
            raise MisconfigurationException(
                f"Timer got interval={interval!r}; expected one of {choices}. Write `interval='step'`."
            )
        self._duration = _seconds(duration)
        self._interval = Interval(interval)
        self._verbose = verbose
        self._start_time: dict[RunningStage, float | None] = dict.fromkeys(RunningStage)
        self._end_time: dict[RunningStage, float | None] = dict.fromkeys(RunningStage)
        self._offset = 0.0  # of training
        self._other_offsets: dict[RunningStage, float] = {}
        self._deadline = AgreedDeadline()

    def uses_hook(self, name: str) -> bool:
        """Leave out the checks that this configuration never makes."""
        checks = {
            "on_fit_start": self._duration is not None,
            "on_train_batch_end": self._duration is not None and self._interval == Interval.step,
            "on_train_epoch_end": self._duration is not None and self._interval == Interval.epoch,
        }
        return checks.get(name, True) or is_replaced(self, Timer, name)

    def start_time(self, stage: str = RunningStage.TRAINING) -> float | None:
        """Return when a stage began, in seconds of the monotonic clock, or None."""
        return self._start_time[RunningStage(stage)]

    def end_time(self, stage: str = RunningStage.TRAINING) -> float | None:
        """Return when a stage ended, in seconds of the monotonic clock, or None."""
        return self._end_time[RunningStage(stage)]

    def time_elapsed(self, stage: str = RunningStage.TRAINING) -> float:
        """Return the seconds a stage has taken, those of the run it was resumed from included."""
        start, end = self.start_time(stage), self.end_time(stage)
        stage = RunningStage(stage)
        offset = self._offset if stage is RunningStage.TRAINING else self._other_offsets.get(stage, 0.0)
        if start is None:
            return offset
        return (time.monotonic() if end is None else end) - start + offset

    def time_remaining(self, stage: str = RunningStage.TRAINING) -> float | None:
        """Return the seconds left of the limit, or None without a limit."""
        return None if self._duration is None else self._duration - self.time_elapsed(stage)

    def on_fit_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop at once when a resumed run has no time left."""
        if self._duration is not None:
            self._stop_if(trainer, trainer.strategy.broadcast(self.time_elapsed() >= self._duration))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of training."""
        self._deadline.restart()
        self._begin(RunningStage.TRAINING)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training."""
        self._end_time[RunningStage.TRAINING] = time.monotonic()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of validation."""
        self._begin(RunningStage.VALIDATING)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of validation."""
        self._end_time[RunningStage.VALIDATING] = time.monotonic()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the test."""
        self._begin(RunningStage.TESTING)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of the test."""
        self._end_time[RunningStage.TESTING] = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Check the limit after a batch."""
        if self._interval == Interval.step and self._duration is not None:
            self._check_time_remaining(trainer)

    def on_train_epoch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Check the limit after an epoch."""
        if self._interval == Interval.epoch and self._duration is not None:
            self._stop_if(trainer, trainer.strategy.broadcast(self.time_elapsed() >= self._duration))

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds each stage has taken."""
        return {"time_elapsed": {stage.value: self.time_elapsed(stage) for stage in RunningStage}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the seconds that the stages have already taken."""
        taken = state_dict.get("time_elapsed", {})
        self._offset = taken.get(RunningStage.TRAINING.value, 0.0)
        others = set(RunningStage) - {RunningStage.TRAINING}
        self._other_offsets = {stage: taken.get(stage.value, 0.0) for stage in others}

    def _begin(self, stage: RunningStage) -> None:
        self._start_time[stage] = time.monotonic()
        self._end_time[stage] = None

    def _check_time_remaining(self, trainer: Trainer) -> None:
        """Compare the clock with the limit; in several processes, the first one's clock."""
        start = self._start_time[RunningStage.TRAINING]
        if start is None or self._duration is None:
            return
        self._stop_if(trainer, self._deadline.passed(trainer.strategy, start + self._duration - self._offset))

    def _stop_if(self, trainer: Trainer, time_is_up: bool) -> None:  # noqa: FBT001 - a decision, read at the call
        if not time_is_up:
            return
        trainer.should_stop = True
        if self._verbose:
            elapsed = timedelta(seconds=int(self.time_elapsed()))
            rank_zero_info(f"The time limit is reached after {elapsed}. Training will stop.")


def _seconds(duration: str | timedelta | dict[str, int] | None) -> float | None:
    """Read a duration in any of its forms."""
    if duration is None:
        return None
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, dict):
        return timedelta(**duration).total_seconds()
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d):(\d\d)", duration.strip()) if isinstance(duration, str) else None
    if match is None:
        raise MisconfigurationException(
            f"Timer got duration={duration!r}; expected 'DD:HH:MM:SS' (days, hours, minutes, seconds), a timedelta or"
            " a dict of its arguments. Write for example `duration='00:12:00:00'` for twelve hours."
        )
    days, hours, minutes, seconds = (int(part) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
