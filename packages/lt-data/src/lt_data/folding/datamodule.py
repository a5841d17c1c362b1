"""A data module of one fold of data."""

from __future__ import annotations

from typing import Any

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_core.whole_number import as_whole
from lt_data.folding.fold import Folds
from lt_data.folding.fold_datamodule import FoldDataModule
from lt_data.folding.make import folds as make_folds

__all__ = ["KFoldDataModule"]


class KFoldDataModule(FoldDataModule):
    """Divides data into folds, and gives a trainer one of them.

    See :class:`FoldDataModule` for what it gives, and :func:`lt_data.folds` for how data are divided.

    Args:
        data: Folds that were made by :func:`lt_data.folds`, or what that function takes.
        splitter: As there; only with data that are no folds yet.
        fold: Which fold, from 0; 0 by default.
        options: Further arguments of :func:`lt_data.folds`; only with data that are no folds yet.

    Attributes:
        folds: All folds.
        fold: The one that is used.
        num_folds: How many there are.

    Raises:
        MisconfigurationValueError: There is no such fold.
        MisconfigurationTypeError: Options are given beside folds.

    Example:
        >>> data = KFoldDataModule(range(10), 5, fold=1)
        >>> print(data)
        {Train dataloader: size=8}
        {Validation dataloader: size=2}
        {Test dataloader: None}
        {Predict dataloader: size=2}
    """

    def __init__(self, data: Any, splitter: Any = None, *, fold: int = 0, **options: Any) -> None:
        if isinstance(data, Folds):
            if splitter is not None or options:
                given = "splitter" if splitter is not None else next(iter(options))
                raise MisconfigurationTypeError(
                    f"`KFoldDataModule` got folds and {given}. Expected one or the other: the folds are made already."
                    " Leave it out, or pass the data themselves."
                )
            made = data
        else:
            made = make_folds(data, 5 if splitter is None else splitter, **options)
        number = as_whole(fold)
        if number is None or not 0 <= number < len(made):
            raise MisconfigurationValueError(
                f"`KFoldDataModule` got fold={fold!r}. Expected a number from 0 to {len(made) - 1}. Write, for"
                " example, `fold=0`."
            )
        super().__init__(made[number])
