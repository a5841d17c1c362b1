"""`AsyncCheckpointIO`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.checkpoint_io import AsyncCheckpointIO

__all__ = ["AsyncCheckpointIO"]
