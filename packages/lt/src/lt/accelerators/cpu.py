"""`CPUAccelerator`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.accelerators.cpu import CPUAccelerator

__all__ = ["CPUAccelerator"]
