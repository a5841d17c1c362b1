"""The base of what writes and reads checkpoint files, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.checkpoint_io import CheckpointIO

__all__ = ["CheckpointIO"]
