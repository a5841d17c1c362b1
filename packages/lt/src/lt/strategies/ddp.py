"""`DDPStrategy`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.strategies import DDPStrategy

__all__ = ["DDPStrategy"]
