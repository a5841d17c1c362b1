"""The base of the callbacks that write checkpoints, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.callback import Checkpoint

__all__ = ["Checkpoint"]
