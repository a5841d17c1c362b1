"""`SpikeDetection` and `TrainingSpikeException`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import SpikeDetection, TrainingSpikeException

__all__ = ["SpikeDetection", "TrainingSpikeException"]
