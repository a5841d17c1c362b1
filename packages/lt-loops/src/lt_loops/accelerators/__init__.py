"""Accelerators: the kinds of devices that compute."""

from __future__ import annotations

from lt_loops.accelerators.base import Accelerator
from lt_loops.accelerators.cpu import CPUAccelerator
from lt_loops.accelerators.cuda import CUDAAccelerator, find_usable_cuda_devices
from lt_loops.accelerators.mps import MPSAccelerator
from lt_loops.accelerators.select import AcceleratorRegistry, resolve_accelerator, resolve_devices

__all__ = [
    "Accelerator",
    "AcceleratorRegistry",
    "CPUAccelerator",
    "CUDAAccelerator",
    "MPSAccelerator",
    "find_usable_cuda_devices",
    "resolve_accelerator",
    "resolve_devices",
]
