"""Precision, checkpoint files and cluster environments, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.checkpoint_io import AsyncCheckpointIO, CheckpointIO, TorchCheckpointIO
from lt_loops.precision.base import Precision
from lt_loops.precision.double import DoublePrecision
from lt_loops.precision.half import HalfPrecision
from lt_loops.precision.mixed import MixedPrecision
from lt_loops.strategies.layer_sync import LayerSync, TorchSyncBatchNorm

__all__ = [
    "AsyncCheckpointIO",
    "CheckpointIO",
    "DoublePrecision",
    "HalfPrecision",
    "LayerSync",
    "MixedPrecision",
    "Precision",
    "TorchCheckpointIO",
    "TorchSyncBatchNorm",
]
