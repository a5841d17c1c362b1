"""The GPU of Apple's processors: one per machine."""

from __future__ import annotations

from typing import Any

import torch

from lt_core.errors import MisconfigurationException
from lt_loops.accelerators.base import Accelerator
from lt_loops.accelerators.parsing import indices_from
from lt_loops.accelerators.stats import processor_stats

__all__ = ["MPSAccelerator"]


class MPSAccelerator(Accelerator):
    """The GPU of an Apple processor.

    Example:
        >>> MPSAccelerator.get_parallel_devices([0])
        [device(type='mps', index=0)]
    """

    @staticmethod
    def name() -> str:
        return "mps"

    @staticmethod
    def is_available() -> bool:
        return torch.backends.mps.is_available()

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        """Return the index of the device; raises where there is none such."""
        return indices_from(devices, [0] if MPSAccelerator.is_available() else [], "Apple GPUs")

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device("mps", index) for index in devices]

    def setup_device(self, device: torch.device) -> None:
        """Check that ``device`` is the GPU.

        Raises:
            MisconfigurationException: It is not.
        """
        if device.type != "mps":
            raise MisconfigurationException(
                f"The MPS accelerator was given {device!r}. A device of type 'mps' was expected. Write"
                f' `accelerator="{device.type}"` to use that one.'
            )

    def get_device_stats(self, device: str | torch.device) -> dict[str, Any]:
        """Return the use of processor, memory and swap, in percent; needs psutil."""
        return processor_stats("M1")
