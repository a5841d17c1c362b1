"""The smallest models, data sets and data module that use every part, for bug reports and tests.

The models and data sets come from `lt_core.testing`; the data module is here, because it needs `lt_data` as well.
"""

from __future__ import annotations

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from lt_core.testing import (
    BoringModel,
    DemoModel,
    ManualOptimBoringModel,
    RandomDataset,
    RandomDictDataset,
    RandomIterableDataset,
    RandomIterableDatasetWithLen,
)
from lt_data import LightningDataModule

__all__ = [
    "BoringDataModule",
    "BoringModel",
    "DemoModel",
    "ManualOptimBoringModel",
    "RandomDataset",
    "RandomDictDataset",
    "RandomIterableDataset",
    "RandomIterableDatasetWithLen",
]

_QUARTERS = ("train", "val", "test", "predict")


class BoringDataModule(LightningDataModule):
    """256 samples of 32 random numbers, a quarter each to train, validate, test and predict, in batches of one.

    Example:
        >>> data = BoringDataModule()
        >>> data.setup("fit")
        >>> len(data.train_dataloader()), next(iter(data.val_dataloader())).shape
        (64, torch.Size([1, 32]))
    """

    def __init__(self) -> None:
        super().__init__()
        self.random_full: Dataset[Tensor] = RandomDataset(32, 64 * len(_QUARTERS))
        self.random_train: Dataset[Tensor] | None = None
        self.random_val: Dataset[Tensor] | None = None
        self.random_test: Dataset[Tensor] | None = None
        self.random_predict: Dataset[Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Cut the quarters that `stage` needs."""
        quarters = {name: Subset(self.random_full, range(64 * i, 64 * i + 64)) for i, name in enumerate(_QUARTERS)}
        if stage == "fit":
            self.random_train = quarters["train"]
        if stage in {"fit", "validate"}:
            self.random_val = quarters["val"]
        if stage == "test":
            self.random_test = quarters["test"]
        if stage == "predict":
            self.random_predict = quarters["predict"]

    def train_dataloader(self) -> DataLoader[Tensor]:
        """64 batches of one sample."""
        return _loader(self.random_train)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """64 batches of one sample."""
        return _loader(self.random_val)

    def test_dataloader(self) -> DataLoader[Tensor]:
        """64 batches of one sample."""
        return _loader(self.random_test)

    def predict_dataloader(self) -> DataLoader[Tensor]:
        """64 batches of one sample."""
        return _loader(self.random_predict)


def _loader(quarter: Dataset[Tensor] | None) -> DataLoader[Tensor]:
    assert quarter is not None, "`setup` of this stage comes before its loader"
    return DataLoader(quarter)
