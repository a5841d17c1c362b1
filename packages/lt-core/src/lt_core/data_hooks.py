"""The hooks that modules and data modules share: preparing data, loaders, and moving batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationException
from lt_core.transfer import move_data_to_device

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DataHooks"]


class DataHooks:
    """Base of `LightningModule` and `LightningDataModule`.

    Attributes:
        prepare_data_per_node: Whether `prepare_data` runs once on each node rather than once in all.
        prepare_data_lock: The file that is locked meanwhile, so that two runs do not prepare the same data at a time;
            None for one per class and user on this machine.
        allow_zero_length_dataloader_with_multiple_devices: Whether one rank may have no batches while others have some.
    """

    prepare_data_per_node: bool = True
    prepare_data_lock: str | Path | None = None
    allow_zero_length_dataloader_with_multiple_devices: bool = False

    def prepare_data(self) -> None:
        """Download and write data to disk; runs in one process per node, so assign nothing to ``self`` here."""

    def setup(self, stage: str) -> None:
        """Build what every process needs; ``stage`` is ``fit``, ``validate``, ``test`` or ``predict``."""

    def teardown(self, stage: str) -> None:
        """Clean up after a run that ended well."""

    def train_dataloader(self) -> Any:
        """Return what training iterates over: a loader, or a list, tuple or dict of loaders."""
        raise MisconfigurationException(self._no_loader("train"))

    def val_dataloader(self) -> Any:
        """Return what validation iterates over: a loader or several."""
        raise MisconfigurationException(self._no_loader("val"))

    def test_dataloader(self) -> Any:
        """Return what testing iterates over: a loader or several."""
        raise MisconfigurationException(self._no_loader("test"))

    def predict_dataloader(self) -> Any:
        """Return what prediction iterates over: a loader or several."""
        raise MisconfigurationException(self._no_loader("predict"))

    def _no_loader(self, prefix: str) -> str:
        return (
            f"`{type(self).__name__}.{prefix}_dataloader` was asked for and is not written. Expected a loader: write "
            f"`def {prefix}_dataloader(self)` or pass the loader to the trainer."
        )

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Return the batch, changed before it moves to the device."""
        return batch

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the batch on ``device``; override for types that have no ``.to``."""
        return move_data_to_device(batch, device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Return the batch, changed on the device."""
        return batch
