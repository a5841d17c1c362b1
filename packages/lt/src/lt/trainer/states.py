"""What a trainer is doing, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.state import RunningStage, TrainerFn, TrainerState, TrainerStatus

__all__ = ["RunningStage", "TrainerFn", "TrainerState", "TrainerStatus"]
