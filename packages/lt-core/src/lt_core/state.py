"""What a trainer is doing right now: the function that was called, the stage, the status.

The members are strings, so ``trainer.state.fn == "fit"`` holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["RunningStage", "TrainerFn", "TrainerState", "TrainerStatus"]


class _StrEnum(str, Enum):
    """An enum whose members print and compare as their values."""

    def __str__(self) -> str:
        return str(self.value)


class TrainerStatus(_StrEnum):
    """How a run is going."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


class TrainerFn(_StrEnum):
    """The entry point that was called."""

    FITTING = "fit"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"


class RunningStage(_StrEnum):
    """The stage within the entry point."""

    TRAINING = "train"
    SANITY_CHECKING = "sanity_check"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"

    @property
    def evaluating(self) -> bool:
        """Whether metrics are computed without training: validation, test or sanity check."""
        return self in (RunningStage.SANITY_CHECKING, RunningStage.VALIDATING, RunningStage.TESTING)

    @property
    def dataloader_prefix(self) -> str | None:
        """The ``<prefix>_dataloader`` hook that feeds this stage (``val`` also feeds the sanity check)."""
        if self in (RunningStage.SANITY_CHECKING, RunningStage.VALIDATING):
            return "val"
        return str(self.value)


@dataclass
class TrainerState:
    """Status, entry point and stage of a trainer.

    Attributes:
        status: How the run is going.
        fn: The entry point that was called, None before the first call.
        stage: The stage within it, None outside of a run.

    Example:
        >>> state = TrainerState(fn=TrainerFn.FITTING, stage=RunningStage.TRAINING)
        >>> state.fn == "fit", state.stage == "train"
        (True, True)
    """

    status: TrainerStatus = TrainerStatus.INITIALIZING
    fn: TrainerFn | None = None
    stage: RunningStage | None = None

    @property
    def finished(self) -> bool:
        """Whether the last run came to its end."""
        return self.status == TrainerStatus.FINISHED

    @property
    def stopped(self) -> bool:
        """Whether no run is in progress."""
        return self.status in (TrainerStatus.FINISHED, TrainerStatus.INTERRUPTED)
