"""The processor of the machine: always there."""

from __future__ import annotations

from typing import Any

import torch

from lt_core.errors import MisconfigurationException
from lt_loops.accelerators.base import Accelerator
from lt_loops.accelerators.parsing import count_from
from lt_loops.accelerators.stats import processor_stats

__all__ = ["CPUAccelerator"]


class CPUAccelerator(Accelerator):
    """The processor. ``devices`` says how many processes share it.

    Example:
        >>> CPUAccelerator.is_available(), CPUAccelerator.auto_device_count()
        (True, 1)
    """

    @staticmethod
    def name() -> str:
        return "cpu"

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def parse_devices(devices: Any) -> int:
        """Return the number of processes; raises where it is not a positive number."""
        return count_from(devices, "processes on the CPU")

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device("cpu")] * count_from(devices, "processes on the CPU")

    def setup_device(self, device: torch.device) -> None:
        """Check that ``device`` is the processor.

        Raises:
            MisconfigurationException: It is not.
        """
        if device.type != "cpu":
            raise MisconfigurationException(
                f"The CPU accelerator was given {device!r}. A device of type 'cpu' was expected. Write"
                f' `accelerator="{device.type}"` to use that one.'
            )

    def get_device_stats(self, device: str | torch.device) -> dict[str, Any]:
        """Return the use of processor, memory and swap, in percent; needs psutil."""
        return processor_stats("cpu")
