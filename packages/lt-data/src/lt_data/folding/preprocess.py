"""Preprocessing that is fitted on the training rows of a fold, and applied to all of its parts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_data.folding.guard import HeldOutRowError

if TYPE_CHECKING:
    from lt_data.frame_dataset import FrameDataset

__all__ = ["TrainingRows", "TransformedDataset", "fitted", "make_preprocessing", "transformed_features"]


class TrainingRows(Sequence[Any]):
    """What ``fit`` gets of a dataset that is no table: its training rows, numbered from 0, and no others.

    Args:
        dataset: The data.
        rows: The numbers of the training rows.
    """

    def __init__(self, dataset: Any, rows: torch.Tensor) -> None:
        self._dataset = dataset
        self._rows = rows.tolist()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [self._dataset[row] for row in self._rows[position]]
        if not -len(self._rows) <= position < len(self._rows):
            # An IndexError, so that a `for` over the rows ends; anybody else reads why there are no more.
            raise IndexError(
                f"row {position} was asked for, and `fit` has {len(self._rows)} training rows: the others are held out"
            )
        return self._dataset[self._rows[position]]

    def __iter__(self) -> Iterator[Any]:
        return (self._dataset[row] for row in self._rows)


class TransformedDataset(Dataset[Any]):
    """A dataset whose samples go through a fitted ``transform``.

    Args:
        dataset: The data.
        transform: Is called with each sample.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any]) -> None:
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: Any) -> Any:
        return self.transform(self.dataset[row])


def make_preprocessing(factory: Any) -> Any:
    """Make a fresh object with ``fit`` and ``transform``.

    Args:
        factory: A class, or a function without arguments that returns such an object.

    Raises:
        MisconfigurationTypeError: It is no factory, or what it makes lacks a method.

    Example:
        >>> make_preprocessing(3)
        Traceback (most recent call last):
        ...
        lt_core.errors.MisconfigurationTypeError: `folds` got preprocess=3. Expected a class or a function ...
    """
    if not callable(factory):
        advice = f"`preprocess=lambda: {type(factory).__name__}(...)`" if hasattr(factory, "fit") else "a class name"
        raise MisconfigurationTypeError(
            f"`folds` got preprocess={factory!r}. Expected a class or a function without arguments that makes an object"
            f" with `fit` and `transform`: each fold needs a fresh one. Write {advice}."
        )
    made = factory()
    missing = [name for name in ("fit", "transform") if not callable(getattr(made, name, None))]
    if missing:
        raise MisconfigurationTypeError(
            f"`folds(..., preprocess=...)` made a {type(made).__name__}, which has no `{missing[0]}`. Expected an"
            " object with `fit` and `transform`. Write both, or leave `preprocess` out."
        )
    return made


def fitted(preprocessing: Any, arguments: Sequence[Any]) -> Any:
    """Fit an object on training rows.

    Args:
        preprocessing: Has ``fit``.
        arguments: What ``fit`` gets: features and targets, or the training rows. Targets are handed on only if ``fit``
            takes a second argument.

    Returns:
        The object itself.

    Raises:
        HeldOutRowError: ``fit`` asked for more rows than it got.
    """
    given = list(arguments)[: _positional(preprocessing.fit)]
    try:
        preprocessing.fit(*given)
    except IndexError as error:
        if "the others are held out" in str(error):
            raise HeldOutRowError(
                f"`{type(preprocessing).__name__}.fit` asked for a row beyond its training rows: {error}. Expected"
                " row numbers below `len` of what it gets. Number the training rows from 0."
            ) from error
        raise
    return preprocessing


def _positional(fit: Callable[..., Any]) -> int | None:
    """Return how many arguments ``fit`` takes by position; None for any number."""
    parameters = inspect.signature(fit).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return None
    return sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters)


def transformed_features(preprocessing: Any, features: Any, size: int) -> Any:
    """Return what ``transform`` makes of features.

    Raises:
        MisconfigurationValueError: It returns another number of rows.
    """
    result = preprocessing.transform(features)
    toarray = getattr(result, "toarray", None)  # sparse matrices of SciPy, which encoders return
    result = result if toarray is None else toarray()
    rows = result.shape[0] if hasattr(result, "shape") else len(result)
    if rows != size:
        raise MisconfigurationValueError(
            f"`{type(preprocessing).__name__}.transform` returned {rows} rows for {size}. Expected one for each, since"
            " predictions are kept by row. Let it change columns only."
        )
    return result


def transformed_table(preprocessing: Any, part: FrameDataset) -> FrameDataset:
    """Return a table whose features went through ``transform``; categories and targets stay as they are.

    Args:
        preprocessing: Is fitted.
        part: The table.
    """
    made = transformed_features(preprocessing, part.features.clone(), len(part))
    features = torch.as_tensor(made, dtype=part.features.dtype, device=part.features.device).contiguous()
    return part.like(features, part.codes, part.targets)
