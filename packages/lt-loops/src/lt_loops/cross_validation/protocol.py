"""What cross-validation expects of folds. `lt_data.folds` makes such objects; others may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["FoldProtocol", "FoldsProtocol"]


@runtime_checkable
class FoldProtocol(Protocol):
    """One split of the rows into training and validation, maybe with a test part."""

    @property
    def index(self) -> int:
        """The number of the fold, from 0."""

    @property
    def seed(self) -> int:
        """Seeds everything that is random in the run of this fold; depends on nothing but the folds and `index`."""

    @property
    def val_indices(self) -> Tensor:
        """The rows of the validation and prediction loader, in their order, int64 ``[R]``."""

    @property
    def test_indices(self) -> Tensor | None:
        """The rows of the test loader, None without a test part."""

    def datamodule(self) -> Any:
        """Return a fresh data module with the loaders of this fold."""


@runtime_checkable
class FoldsProtocol(Protocol):
    """All folds of a data set."""

    @property
    def num_rows(self) -> int:
        """How many rows the data have."""

    def __len__(self) -> int:
        """How many folds there are."""

    def __getitem__(self, index: int) -> FoldProtocol:
        """Return a fold."""

    def fingerprint(self) -> str:
        """Return a text that is equal for equal folds, to recognise those of an earlier process."""

    def out_of_fold(self, predictions: Sequence[Tensor | None]) -> Tensor:
        """Put one tensor ``[R, …]`` for each fold into the order of the data, ``[num_rows, …]``."""
