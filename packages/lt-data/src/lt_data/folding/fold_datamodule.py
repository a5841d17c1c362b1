"""A data module of one fold that is there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException
from lt_core.hooks import is_overridden
from lt_data.datamodule import LightningDataModule

if TYPE_CHECKING:
    from lt_data.folding.fold import Fold, Folds

__all__ = ["FoldDataModule"]

# What a fold of a data module of the user's still does as that one says. Its `prepare_data`, `setup("fit")` and
# `teardown` are not among them: the data are divided once, and a second `setup` could draw other rows.
_DELEGATED = (
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
    "on_exception",
    "state_dict",
    "load_state_dict",
)


class FoldDataModule(LightningDataModule):
    """Gives a trainer one fold of data: training, validation and, where there is one, test part.

    Prediction reads the validation rows, all of them and in the order of ``fold.val_indices``.

    Over a data module of the user's, the batch hooks and the state stay that one's, and so does its test loader where
    the folds have no test part of their own. Its ``prepare_data`` and ``setup("fit")`` were called once, when the folds
    were made.

    Args:
        fold: The fold.

    Attributes:
        fold: See above.

    Example:
        >>> from lt_data import folds
        >>> data = folds(range(10), 5)[1].datamodule()
        >>> print(data)
        {Train dataloader: size=8}
        {Validation dataloader: size=2}
        {Test dataloader: None}
        {Predict dataloader: size=2}
    """

    def __init__(self, fold: Fold) -> None:
        super().__init__()
        self.fold = fold
        self._owner = fold.folds_of.owner
        self._take_over()

    def _take_over(self) -> None:
        """Let the hooks of the user's data module be this one's, those that it has."""
        owner = self._owner
        if owner is None:
            return
        for name in _DELEGATED:
            if is_overridden(name, owner, LightningDataModule if hasattr(LightningDataModule, name) else DataHooks):
                setattr(self, name, getattr(owner, name))
        if self.fold.test_indices is None and is_overridden("test_dataloader", owner, DataHooks):
            self.test_dataloader = owner.test_dataloader  # type: ignore[method-assign]

    @property
    def folds(self) -> Folds:
        """All folds, of which this is one."""
        return self.fold.folds_of

    @property
    def num_folds(self) -> int:
        """How many folds there are."""
        return len(self.folds)

    def setup(self, stage: str) -> None:
        """Fit the preprocessing, if there is any; for ``"test"`` let the user's data module get its test data."""
        if self.folds.preprocess is not None:
            _ = self.fold.preprocessing
        if self._owner is not None and stage == "test" and self.fold.test_indices is None:
            self._owner.setup(stage)

    def train_dataloader(self) -> Any:
        """Return the loader of the fold's training rows."""
        return self.fold.train_dataloader()

    def val_dataloader(self) -> Any:
        """Return the loader of the fold's validation rows."""
        return self.fold.val_dataloader()

    def test_dataloader(self) -> Any:
        """Return the loader of the fold's test rows.

        Raises:
            MisconfigurationException: There are none.
        """
        loader = self.fold.test_dataloader()
        if loader is None:
            raise MisconfigurationException(
                f"Fold {self.fold.index} has no test part. Expected one to test with. Write `folds(..., test=0.2)`,"
                " `test=row_numbers` or `test='rotate'`, or validate."
            )
        return loader

    def predict_dataloader(self) -> Any:
        """Return a loader of the fold's validation rows, in the order of ``fold.val_indices``."""
        return self.fold.predict_dataloader()
