"""`Accelerator`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.accelerators.base import Accelerator

__all__ = ["Accelerator"]
