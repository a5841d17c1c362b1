"""How a batch gets to the device: by the hooks that are overridden, beside the computation where the device can.

What there is to do is worked out once per run. On a CPU without hooks it is nothing, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch

from lt_core.data_hooks import DataHooks
from lt_core.hooks import HookCall, is_overridden
from lt_core.rank_zero import WarningCache
from lt_core.transfer import move_data_to_device
from lt_loops.data.side_stream import SideStreamCopier

if TYPE_CHECKING:
    from lt_core.module import LightningModule

__all__ = ["Move", "resolve_move"]

Move: TypeAlias = Callable[[Any, int], Any]

_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_warnings = WarningCache()


class _Position(Protocol):
    fx: str | None


def resolve_move(module: LightningModule, datamodule: Any, device: torch.device, position: _Position) -> Move | None:
    """Return what moves a batch, or None where there is nothing to do.

    Each of the three transfer hooks is the data module's where it overrides it, else the module's. A batch of a type
    that cannot move, and in which nothing can, is handed on as it is.

    Args:
        module: The module.
        datamodule: The data module, or None.
        device: Where batches go.
        position: Is told which hook runs; normally the log sink.

    Returns:
        A function ``move(batch, dataloader_idx)`` that returns the batch on the device.

    Example:
        >>> from types import SimpleNamespace
        >>> from lt_core.module import LightningModule
        >>> class Scaled(LightningModule):
        ...     def on_after_batch_transfer(self, batch, dataloader_idx):
        ...         return batch / 255
        >>> position = SimpleNamespace(fx=None)
        >>> resolve_move(LightningModule(), None, torch.device("cpu"), position) is None
        True
        >>> resolve_move(Scaled(), None, torch.device("cpu"), position)(torch.tensor([255.0]), 0)
        tensor([1.])
    """
    before, transfer, after = (_hook(name, module, datamodule, position) for name in _HOOKS)
    if transfer is None:
        copy = _default_copy(device)
    else:
        overridden = transfer

        def copy(batch: Any, dataloader_idx: int) -> Any:
            return overridden(batch, device, dataloader_idx)

    steps = tuple(step for step in (before, copy, after) if step is not None)
    if len(steps) < 2:
        return steps[0] if steps else None

    def move(batch: Any, dataloader_idx: int) -> Any:
        for step in steps:
            batch = step(batch, dataloader_idx)
        return batch

    return move


def _hook(name: str, module: LightningModule, datamodule: Any, position: _Position) -> HookCall | None:
    mine = is_overridden(name, module, DataHooks)
    if datamodule is not None and is_overridden(name, datamodule, DataHooks):
        if mine:
            _warnings.warn(
                f"`{name}` is defined on both `{type(module).__name__}` and `{type(datamodule).__name__}`: the data"
                " module's is used and the module's is not. Remove one of them."
            )
        return HookCall(name, [getattr(datamodule, name)], position, answers=True)
    return HookCall(name, [getattr(module, name)], position, answers=True) if mine else None


def _default_copy(device: torch.device) -> Move | None:
    if device.type == "cpu":
        return None  # loaders make their batches there
    if device.type == "cuda":
        copier = SideStreamCopier(device)
        return lambda batch, _: copier(batch)
    return lambda batch, _: move_data_to_device(batch, device)
