"""`GradientAccumulationScheduler`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import GradientAccumulationScheduler

__all__ = ["GradientAccumulationScheduler"]
