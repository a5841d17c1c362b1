"""NVIDIA GPUs, and what else torch calls CUDA (AMD's by ROCm)."""

from __future__ import annotations

from typing import Any

import torch

from lt_core.errors import MisconfigurationException, MisconfigurationValueError
from lt_core.rank_zero import WarningCache
from lt_loops.accelerators.base import Accelerator
from lt_loops.accelerators.parsing import indices_from

__all__ = ["CUDAAccelerator", "find_usable_cuda_devices"]

_WHAT = "CUDA devices"
_AMPERE = 8  # from this compute capability on, matrix products of float32 can use tensor cores

_hints = WarningCache()


class CUDAAccelerator(Accelerator):
    """The CUDA devices that this process sees.

    Example:
        >>> CUDAAccelerator.name()
        'cuda'
    """

    @staticmethod
    def name() -> str:
        return "cuda"

    @staticmethod
    def is_available() -> bool:
        return torch.cuda.device_count() > 0

    @staticmethod
    def auto_device_count() -> int:
        return torch.cuda.device_count()

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        """Return the indices of the devices; raises where there are none such."""
        return indices_from(devices, range(torch.cuda.device_count()), _WHAT)

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device("cuda", index) for index in devices]

    def setup_device(self, device: torch.device) -> None:
        """Make ``device`` the current one.

        Raises:
            MisconfigurationException: It is no CUDA device.
        """
        if device.type != "cuda":
            raise MisconfigurationException(
                f"The CUDA accelerator was given {device!r}. A device of type 'cuda' was expected. Write"
                f' `accelerator="{device.type}"` to use that one.'
            )
        torch.cuda.set_device(device)
        _hint_at_tensor_cores(device)

    def get_device_stats(self, device: str | torch.device) -> dict[str, Any]:
        """Return torch's statistics on the memory of ``device``, in bytes and counts."""
        return torch.cuda.memory_stats(device)

    def teardown(self) -> None:
        """Give memory that is cached and not in use back to the device."""
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def find_usable_cuda_devices(num_devices: int = -1) -> list[int]:
    """Return the indices of CUDA devices on which memory can be had now.

    A device that another process holds exclusively, or whose memory is full, is left out. Such a device is recognised
    by trying.

    Args:
        num_devices: How many are wanted, from the lowest index on; -1 for all that are usable.

    Raises:
        MisconfigurationValueError: More are wanted than there are, or ``num_devices`` is no such number.
        RuntimeError: There are as many, but fewer are usable.

    Example:
        >>> find_usable_cuda_devices(0)
        []
    """
    if isinstance(num_devices, bool) or not isinstance(num_devices, int) or num_devices < -1:
        raise MisconfigurationValueError(
            f"`find_usable_cuda_devices({num_devices!r})`: expected how many devices, or -1 for all. Write"
            " `find_usable_cuda_devices(1)`."
        )
    if num_devices == 0:
        return []
    present = torch.cuda.device_count()
    if num_devices > present or present == 0:
        raise MisconfigurationValueError(
            f"`find_usable_cuda_devices({num_devices})`: this process sees {present} CUDA devices. At least"
            f' {max(num_devices, 1)} were expected. Ask for fewer, or use `accelerator="cpu"`.'
        )
    usable: list[int] = []
    for index in range(present):
        if len(usable) == num_devices:
            break
        if _is_usable(index):
            usable.append(index)
    if num_devices > len(usable):
        raise RuntimeError(
            f"`find_usable_cuda_devices({num_devices})`: of {present} CUDA devices only {usable} can be used; the"
            " others are held by another process or out of memory. As many as asked for were expected: ask for fewer,"
            " or end what runs on them (`nvidia-smi` lists it)."
        )
    return usable


def _is_usable(index: int) -> bool:
    try:
        torch.zeros(1, device=torch.device("cuda", index))
    except RuntimeError:  # what torch raises for any failure of the device
        return False
    return True


def _hint_at_tensor_cores(device: torch.device) -> None:
    try:
        at_default = torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # the user set it by torch's newer interface, and need not be told
        return
    if at_default and torch.version.hip is None and torch.cuda.get_device_capability(device)[0] >= _AMPERE:
        _hints.info(
            f"{torch.cuda.get_device_name(device)} multiplies float32 matrices several times faster on its tensor"
            ' cores, at a lower precision. To allow it, call `torch.set_float32_matmul_precision("high")`.'
        )
