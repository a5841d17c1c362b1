"""Small data sets and modules for tests: 32 numbers in, 2 out, 64 samples, a loss that falls.

They are boring so that a test is about the trainer, the callback or the logger and never about the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lt_core.module import LightningModule

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BoringModel",
    "DemoModel",
    "ManualOptimBoringModel",
    "RandomDataset",
    "RandomDictDataset",
    "RandomIterableDataset",
    "RandomIterableDatasetWithLen",
]


class RandomDataset(Dataset[Tensor]):
    """Vectors of random numbers, drawn once.

    Args:
        size: The length of a vector.
        length: How many vectors.

    Example:
        >>> dataset = RandomDataset(32, 64)
        >>> len(dataset), dataset[0].shape
        (64, torch.Size([32]))
    """

    def __init__(self, size: int, length: int) -> None:
        self.len = length
        self.data = torch.randn(length, size)

    def __getitem__(self, index: int) -> Tensor:
        return self.data[index]

    def __len__(self) -> int:
        return self.len


class RandomDictDataset(Dataset["dict[str, Tensor]"]):
    """Dicts with the entries ``a``, a vector, and ``b``, the same vector plus one.

    Args:
        size: The length of a vector.
        length: How many dicts.

    Example:
        >>> sorted(RandomDictDataset(3, 4)[0])
        ['a', 'b']
    """

    def __init__(self, size: int, length: int) -> None:
        self.len = length
        self.data = torch.randn(length, size)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        a = self.data[index]
        return {"a": a, "b": a + 1}

    def __len__(self) -> int:
        return self.len


class RandomIterableDataset(IterableDataset[Tensor]):
    """A stream of random vectors without a length.

    Args:
        size: The length of a vector.
        count: How many vectors.

    Example:
        >>> len(list(RandomIterableDataset(32, 5)))
        5
    """

    def __init__(self, size: int, count: int) -> None:
        self.count = count
        self.size = size

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(self.count):
            yield torch.randn(self.size)


class RandomIterableDatasetWithLen(RandomIterableDataset):
    """A stream of random vectors that tells its length.

    Args:
        size: The length of a vector.
        count: How many vectors.

    Example:
        >>> len(RandomIterableDatasetWithLen(32, 5))
        5
    """

    def __len__(self) -> int:
        return self.count


class BoringModel(LightningModule):
    """One linear layer from 32 numbers to 2, with every step, every loader, an optimizer and a scheduler.

    Example:
        >>> BoringModel()(torch.zeros(4, 32)).shape
        torch.Size([4, 2])
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 32]`` to ``[B, 2]``."""
        return self.layer(x)  # type: ignore[no-any-return]

    def loss(self, preds: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the mean squared distance ``[]`` of the predictions ``[B, 2]`` from the labels, ones by default."""
        return nn.functional.mse_loss(preds, torch.ones_like(preds) if labels is None else labels)

    def step(self, batch: Any) -> Tensor:
        """Return the loss ``[]`` of a batch ``[B, 32]``."""
        return self.loss(self(batch))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss under ``loss``."""
        return {"loss": self.step(batch)}

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss under ``x``."""
        return {"x": self.step(batch)}

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss under ``y``."""
        return {"y": self.step(batch)}

    def configure_optimizers(self) -> Any:
        """Return SGD with a learning rate that is cut to a tenth each epoch."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)]

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return 64 batches of one sample."""
        return DataLoader(RandomDataset(32, 64))

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Return 64 batches of one sample."""
        return DataLoader(RandomDataset(32, 64))

    def test_dataloader(self) -> DataLoader[Tensor]:
        """Return 64 batches of one sample."""
        return DataLoader(RandomDataset(32, 64))

    def predict_dataloader(self) -> DataLoader[Tensor]:
        """Return 64 batches of one sample."""
        return DataLoader(RandomDataset(32, 64))


class ManualOptimBoringModel(BoringModel):
    """A `BoringModel` that runs its optimizer itself.

    Example:
        >>> ManualOptimBoringModel().automatic_optimization
        False
    """

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Take one step and return the loss."""
        optimizer = self.optimizers()
        loss = self.step(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss


class DemoModel(LightningModule):
    """One linear layer with a rectifier, and a hyperparameter for its learning rate.

    Args:
        out_dim: How many outputs.
        learning_rate: Adam's.

    Example:
        >>> DemoModel()(torch.zeros(2, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, out_dim: int = 10, learning_rate: float = 0.02) -> None:
        super().__init__()
        self.l1 = nn.Linear(32, out_dim)
        self.learning_rate = learning_rate

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 32]`` to ``[B, out_dim]``, none below zero."""
        return torch.relu(self.l1(x))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the sum of the outputs ``[]`` for a batch ``[B, 32]``."""
        return self(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)
