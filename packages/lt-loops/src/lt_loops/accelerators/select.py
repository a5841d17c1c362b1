"""From what the user wrote as ``accelerator=`` and ``devices=`` to an accelerator and its devices."""

from __future__ import annotations

from typing import Any

import torch

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError
from lt_core.rank_zero import rank_zero_info
from lt_loops.accelerators.base import Accelerator
from lt_loops.accelerators.cpu import CPUAccelerator
from lt_loops.accelerators.cuda import CUDAAccelerator
from lt_loops.accelerators.mps import MPSAccelerator
from lt_loops.interactive import is_interactive
from lt_loops.registry import Registry

__all__ = ["AcceleratorRegistry", "resolve_accelerator", "resolve_devices"]

AcceleratorRegistry: Registry[Accelerator] = Registry("accelerator", "lt.accelerators")

# In the order in which "auto" tries them.
_BUILT_IN: tuple[type[Accelerator], ...] = (MPSAccelerator, CUDAAccelerator, CPUAccelerator)

for _kind in _BUILT_IN:
    _kind.register_accelerators(AcceleratorRegistry)


def resolve_accelerator(flag: str | Accelerator = "auto") -> Accelerator:
    """Return the accelerator that the user asked for.

    Args:
        flag: ``"auto"`` (the first of mps, cuda and cpu that this machine has), ``"gpu"`` (mps or cuda), ``"cpu"``,
            ``"cuda"``, ``"mps"``, a name that a package registered, or an instance.

    Raises:
        MisconfigurationValueError: There is no accelerator of this name.
        MisconfigurationTypeError: It is neither a name nor an `Accelerator`.
        MisconfigurationException: This machine has no such device.

    Example:
        >>> resolve_accelerator("cpu").name()
        'cpu'
    """
    if isinstance(flag, str):
        accelerator = _by_name(flag.lower())
    elif isinstance(flag, Accelerator):
        accelerator = flag
    else:
        raise MisconfigurationTypeError(
            f"`accelerator={flag!r}` is a {type(flag).__name__}. A name or an instance of `Accelerator` was expected."
            ' Write `accelerator="auto"`.'
        )
    if not accelerator.is_available():
        raise MisconfigurationException(
            f"`accelerator={flag!r}` was asked for, and this machine has no such device. Available here:"
            f' {", ".join(_available_names())}. Write `accelerator="auto"`, or check the driver and that torch is built'
            " for it."
        )
    return accelerator


def resolve_devices(accelerator: Accelerator, devices: Any = "auto") -> list[torch.device]:
    """Return the devices that the user asked for.

    Args:
        accelerator: Whose devices.
        devices: ``"auto"`` (one processor, all GPUs), how many, which ones, or either as a string; see
            `Accelerator.parse_devices`.

    Raises:
        MisconfigurationTypeError: ``devices`` is of a type that says nothing to this accelerator.
        MisconfigurationException: No device is asked for, one is asked for twice, or one that there is not.

    Example:
        >>> resolve_devices(CPUAccelerator(), "auto")
        [device(type='cpu')]
    """
    if devices is None:
        raise MisconfigurationTypeError(
            "`devices=None` does not say which devices are meant. Expected a number, a list of indices or a string."
            ' Write `devices="auto"`.'
        )
    if isinstance(devices, str) and devices.strip().lower() == "auto":
        devices = _auto_count(accelerator)
    return accelerator.get_parallel_devices(accelerator.parse_devices(devices))


def _by_name(name: str) -> Accelerator:
    if name == "auto":
        return next(kind() for kind in _BUILT_IN if kind.is_available())
    if name == "gpu":
        for kind in (MPSAccelerator, CUDAAccelerator):
            if kind.is_available():
                return kind()
        raise MisconfigurationException(
            '`accelerator="gpu"` was asked for, and no supported GPU is found: torch sees neither a CUDA device nor an'
            f' Apple GPU. Available here: {", ".join(_available_names())}. Write `accelerator="auto"`, or check the'
            " driver and that torch is built for it."
        )
    return AcceleratorRegistry.get(name)


def _available_names() -> list[str]:
    return sorted(kind.name() for kind in _BUILT_IN if kind.is_available())


def _auto_count(accelerator: Accelerator) -> int:
    count = accelerator.auto_device_count()
    if count > 1 and is_interactive():
        rank_zero_info(
            f'In a notebook `devices="auto"` means one device; there are {count}. Write `devices={count}` to use all.'
        )
        return 1
    return count
