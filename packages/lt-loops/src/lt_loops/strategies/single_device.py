"""One process on one device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lt_core.errors import MisconfigurationException
from lt_loops.strategies.strategy import Strategy

if TYPE_CHECKING:
    from lt_loops.accelerators import Accelerator
    from lt_loops.checkpoint_io import CheckpointIO
    from lt_loops.precision import Precision

__all__ = ["SingleDeviceStrategy"]


class SingleDeviceStrategy(Strategy):
    """Runs on one device; every collective is the identity.

    Args:
        device: Where: ``"cpu"``, ``"cuda:0"``, a `torch.device`.
        accelerator: The kind of device.
        checkpoint_io: Reads and writes checkpoint files.
        precision_plugin: The arithmetic.

    Example:
        >>> SingleDeviceStrategy("cpu").root_device
        device(type='cpu')
    """

    strategy_name = "single_device"

    def __init__(
        self,
        device: str | torch.device = "cpu",
        accelerator: Accelerator | None = None,
        checkpoint_io: CheckpointIO | None = None,
        precision_plugin: Precision | None = None,
    ) -> None:
        super().__init__(accelerator, checkpoint_io, precision_plugin)
        self._root_device = torch.device(device)

    @property
    def root_device(self) -> torch.device:
        """The device."""
        return self._root_device

    def use_devices(self, devices: list[torch.device]) -> None:
        """Take the one device.

        Raises:
            MisconfigurationException: There are several.
        """
        if len(devices) != 1:
            raise MisconfigurationException(
                f"`Trainer(strategy={self.strategy_name!r}, devices=…)` names {len(devices)} devices. Expected one: "
                "pass `devices=1`."
            )
        self._root_device = devices[0]

    def barrier(self, name: str | None = None) -> None:
        """Return at once: there is nobody to wait for."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return ``obj``."""
        return obj

    def all_gather(self, tensor: Tensor, group: Any = None, *, sync_grads: bool = False) -> Tensor:
        """Return ``tensor``, unchanged."""
        return tensor

    def reduce(self, tensor: Any, group: Any = None, reduce_op: str | None = "mean") -> Any:
        """Return ``tensor``, unchanged."""
        return tensor

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:  # noqa: A002, FBT001, FBT002 -- API
        """Return ``decision``."""
        return decision
