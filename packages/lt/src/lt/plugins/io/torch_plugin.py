"""Checkpoint files as torch writes them, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.checkpoint_io import TorchCheckpointIO

__all__ = ["TorchCheckpointIO"]
