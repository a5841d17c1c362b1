"""Where a model runs, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.accelerators.base import Accelerator
from lt_loops.accelerators.cpu import CPUAccelerator
from lt_loops.accelerators.cuda import CUDAAccelerator, find_usable_cuda_devices
from lt_loops.accelerators.mps import MPSAccelerator

__all__ = ["Accelerator", "CPUAccelerator", "CUDAAccelerator", "MPSAccelerator", "find_usable_cuda_devices"]
