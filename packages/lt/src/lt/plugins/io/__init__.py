"""How checkpoint files are written and read, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.checkpoint_io import AsyncCheckpointIO, CheckpointIO, TorchCheckpointIO

__all__ = ["AsyncCheckpointIO", "CheckpointIO", "TorchCheckpointIO"]
