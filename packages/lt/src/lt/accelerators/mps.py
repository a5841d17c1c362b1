"""`MPSAccelerator`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.accelerators.mps import MPSAccelerator

__all__ = ["MPSAccelerator"]
