"""`CUDAAccelerator`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.accelerators.cuda import CUDAAccelerator

__all__ = ["CUDAAccelerator"]
