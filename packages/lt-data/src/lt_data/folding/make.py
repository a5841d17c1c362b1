"""`folds(...)`: from data and a splitter to folds that were checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_core.hooks import is_overridden
from lt_core.prepare_lock import prepare_lock
from lt_core.whole_number import as_whole
from lt_data.folding.fold import Folds
from lt_data.folding.plan import make_splits, title_of
from lt_data.folding.preprocess import make_preprocessing
from lt_data.folding.sources import Settings, flattened, make_source
from lt_data.order import checked_seed

if TYPE_CHECKING:
    from lt_data.folding.splits import Coverage

__all__ = ["folds"]


def folds(
    data: Any,
    splitter: Any = 5,
    *,
    y: Any = None,
    groups: Any = None,
    features: Any = None,
    targets: Any = None,
    eval_data: Any = None,
    seed: int = 0,
    coverage: Coverage | None = None,
    test: Any = None,
    preprocess: Callable[[], Any] | None = None,
    batch_size: int = 32,
    num_workers: int = 0,
    make_loader: Callable[[Any, str], Any] | None = None,
) -> Folds:
    """Divide data into folds: parts to train on and to validate with, that never share a row.

    Args:
        data: A pandas frame (with ``features`` and ``targets``), a dataset whose rows have numbers, a ``Subset``, a
            tensor or an array, a ``DataLoader``, lists, tuples and dicts of those, or a data module. Of a data module
            ``prepare_data`` and ``setup("fit")`` are called here, and the data of its training loaders are divided.
            Loaders are built again as they are, on parts of their data.
        splitter: How many folds (default 5): rows are shuffled by ``seed`` and dealt, those of several sources each by
            itself. Or any object with scikit-learn's ``split(X, y, groups)``, which gets all rows in one.
        y: A label for each row, or the name of a frame's column, for splitters that look at labels; by default the
            targets of a frame.
        groups: Likewise: what must stay together, or dates for :class:`~lt_data.PurgedTimeSeriesSplit`.
        features: Names of the feature columns of a frame; by default all that are no targets.
        targets: Name or names of the target columns of a frame.
        eval_data: The same rows in the same order, to validate, test and predict with, for example without
            augmentation; by default ``data``.
        seed: For everything that is drawn here, and for the order of training samples; 0 by default.
        coverage: ``"once"``: each row is validated exactly once, or it is an error; ``"any"``: rows may be validated
            several times or never, as repeated and time series splits do. By default what the splitter's attribute
            ``coverage`` says, else ``"once"``.
        test: Rows that all folds keep apart to test with: row numbers, or with a number of folds a share such as 0.2.
            ``"rotate"``: the held-out part of each fold tests, and that of the next fold validates. None (default): no
            test part.
        preprocess: A class, or a function without arguments, that makes an object with ``fit`` and ``transform``. A
            fresh one is fitted for each fold, on features and targets (tables) or samples of its training rows, while
            the dataset refuses all other rows.
        batch_size: Samples in a batch, from 1; 32 by default. Given loaders keep their own.
        num_workers: Worker processes of each loader; 0 by default. Given loaders keep their own.
        make_loader: Builds the loader of a dataset and the name of its part (``"train"``, ``"val"`` or ``"test"``). By
            default training samples are shuffled, and all parts are read completely.

    Returns:
        The folds.

    Raises:
        MisconfigurationTypeError: The data cannot be divided, or the splitter is none.
        MisconfigurationValueError: There are fewer rows than folds; labels or groups are not one for each row; the
            splitter's parts share rows, repeat or drop them.

    Example:
        >>> made = folds(torch.arange(10), 5, seed=1)
        >>> fold = made[0]
        >>> len(made), len(fold.train_indices), len(fold.val_indices)
        (5, 8, 2)
    """
    settings = Settings(
        batch_size=_whole("batch_size", batch_size, 1),
        num_workers=_whole("num_workers", num_workers, 0),
        make=make_loader,
    )
    owner = data if isinstance(data, DataHooks) else None
    members, shape = flattened(data if owner is None else _training_data(owner))
    evaluations = [None] * len(members) if eval_data is None else flattened(eval_data)[0]
    if len(evaluations) != len(members):
        raise MisconfigurationValueError(
            f"`folds` got {len(evaluations)} sources as eval_data for {len(members)} sources of data. Expected one for"
            " each. Give both the same shape."
        )
    pairs = zip(members, evaluations, strict=True)
    sources = [make_source(member, features, targets, settings, evaluation) for member, evaluation in pairs]
    if preprocess is not None and not callable(preprocess):
        make_preprocessing(preprocess)  # raises, with what to write
    number = checked_seed(seed, "folds")
    splits = make_splits(sources, splitter, number, {"y": y, "groups": groups, "coverage": coverage, "test": test})
    return Folds(splits, sources, shape, seed=number, title=title_of(splitter), preprocess=preprocess, owner=owner)


def _training_data(datamodule: Any) -> Any:
    """Get a data module's data ready, and return its training loaders."""
    name = type(datamodule).__name__
    if isinstance(datamodule, torch.nn.Module) or not is_overridden("train_dataloader", datamodule, DataHooks):
        raise MisconfigurationTypeError(
            f"`folds` got a {name} without `train_dataloader`. Expected a data module that has one, since its data are"
            " what is divided. Write `def train_dataloader(self)`, or pass a dataset."
        )
    with prepare_lock(datamodule):
        datamodule.prepare_data()
    datamodule.setup("fit")
    loaders = datamodule.train_dataloader()
    if loaders is None:
        raise MisconfigurationTypeError(
            f"`{name}.train_dataloader` returned None. Expected a loader or a collection of loaders: is the `return`"
            " missing? Return one, or pass a dataset to `folds`."
        )
    return loaders


def _whole(name: str, value: Any, least: int) -> int:
    number = as_whole(value)
    if number is None or number < least:
        raise MisconfigurationValueError(
            f"`folds` got {name}={value!r}. Expected a whole number of at least {least}. Write, for example,"
            f" `{name}={max(least, 4)}`."
        )
    return number
