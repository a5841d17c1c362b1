"""What computes: the devices of one kind, how they are counted, named by users and set up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lt_loops.registry import Registry

__all__ = ["Accelerator"]


class Accelerator(ABC):
    """The devices of one kind. A third party derives from it, and registers under a name with `AcceleratorRegistry`.

    Example:
        >>> from lt_loops.accelerators import CPUAccelerator
        >>> CPUAccelerator.get_parallel_devices(CPUAccelerator.parse_devices(2))
        [device(type='cpu'), device(type='cpu')]
    """

    @staticmethod
    @abstractmethod
    def name() -> str:
        """Return the name by which users ask for this kind."""

    @staticmethod
    @abstractmethod
    def is_available() -> bool:
        """Return whether this machine has such a device."""

    @staticmethod
    @abstractmethod
    def auto_device_count() -> int:
        """Return how many devices ``devices="auto"`` means."""

    @staticmethod
    @abstractmethod
    def parse_devices(devices: Any) -> Any:
        """Return what the user wrote as ``devices=`` in the form that `get_parallel_devices` takes.

        Raises:
            MisconfigurationException: There are no such devices.
        """

    @staticmethod
    @abstractmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        """Return the devices for what `parse_devices` returned."""

    def setup_device(self, device: torch.device) -> None:
        """Make ``device`` the one that this process computes on; called before anything is put there."""

    def setup(self, trainer: Any) -> None:
        """Prepare for a run; called once per run, before the module is moved."""

    def get_device_stats(self, device: str | torch.device) -> dict[str, Any]:
        """Return numbers on the use of ``device``, by name."""
        return {}

    def teardown(self) -> None:
        """Give back what the run held."""

    @classmethod
    def register_accelerators(cls, accelerator_registry: Registry[Accelerator]) -> None:
        """Register this kind under its names."""
        accelerator_registry.register(cls.name(), cls, description=cls.__name__)
