"""From a splitter to index sets that are known to be right.

A splitter is a number of folds, or any object with scikit-learn's ``split(X, y, groups)``. Whatever it gives is checked
before anybody trains on it: a row on both sides of a fold, a row that is validated twice, or one that never is, changes
a result without a sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from lt_core.errors import LtError, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.whole_number import as_whole
from lt_data.order import mixed_seed, shuffled

__all__ = ["Coverage", "Split", "checked_indices", "k_fold", "named", "run_splitter", "without"]

Coverage = Literal["once", "any"]


@dataclass(frozen=True)
class Split:
    """The rows of one fold.

    Args:
        train: Row numbers, one-dimensional and int64.
        val: Likewise.
        test: Likewise; None where the fold has no test part.
    """

    train: torch.Tensor
    val: torch.Tensor
    test: torch.Tensor | None = None


def named(splitter: Any) -> str:
    """Return how messages call a splitter.

    Example:
        >>> named(5), named(object())
        ('5', 'object')
    """
    return str(splitter) if as_whole(splitter) is not None else type(splitter).__name__


def k_fold(sizes: Sequence[int], k: int, seed: int) -> list[Split]:
    """Shuffle and deal the rows of each source into ``k`` parts, each of which is held out once.

    Args:
        sizes: Rows of each source; row numbers go through the sources one after the other. Each source is dealt by
            itself, so that each fold has its share of each.
        k: From 2 to the smallest of the sizes.
        seed: For the shuffling.

    Raises:
        MisconfigurationValueError: ``k`` is out of range.

    Example:
        >>> [sorted(split.val.tolist()) for split in k_fold([5], 2, seed=0)]
        [[2, 3, 4], [0, 1]]
    """
    if k < 2:
        raise MisconfigurationValueError(
            f"`folds` got splitter={k}. Expected at least 2 folds: one is held out, and the rest is for training. Write"
            " `splitter=5`, or pass a splitter of scikit-learn such as `ShuffleSplit(n_splits=1)` with"
            " `coverage='any'`."
        )
    for position, size in enumerate(sizes):
        if size < k:
            where = "The data have" if len(sizes) == 1 else f"Source {position} of the data has"
            raise MisconfigurationValueError(
                f"{where} {size} rows, and {k} folds were asked for. Expected at least one row for each fold. Write"
                f" `splitter={max(size, 2)}` or less, or give more rows."
            )
    parts: list[list[torch.Tensor]] = [[] for _ in range(k)]
    offset = 0
    for position, size in enumerate(sizes):
        order = shuffled(size, mixed_seed(seed, position)) + offset
        for number, part in enumerate(order.tensor_split(k)):
            parts[number].append(part)
        offset += size
    held_out = [torch.cat(part).sort().values for part in parts]
    return [Split(train=without(offset, rows), val=rows) for rows in held_out]


def without(size: int, *held_out: torch.Tensor) -> torch.Tensor:
    """Return the rows from 0 to ``size - 1`` that are in none of the index sets, in order.

    Example:
        >>> without(5, torch.tensor([1]), torch.tensor([3])).tolist()
        [0, 2, 4]
    """
    keep = torch.ones(size, dtype=torch.bool)
    for rows in held_out:
        keep[rows] = False
    return keep.nonzero().flatten()


def run_splitter(splitter: Any, X: Any, y: Any, groups: Any, size: int) -> list[Split]:  # noqa: N803 - the name of the field
    """Ask a splitter for its folds, and check each of them.

    Args:
        splitter: Has ``split(X, y, groups)``, which gives pairs of training and held-out row numbers (or masks).
        X: The rows, as the splitter sees them.
        y: A label for each row, or None.
        groups: A group for each row, or None.
        size: The number of rows.

    Raises:
        MisconfigurationTypeError: It is no splitter.
        MisconfigurationValueError: It refuses the data, or what it gives is no fold.
    """
    split = getattr(splitter, "split", None)
    if not callable(split) or isinstance(splitter, (str, bytes)):
        raise MisconfigurationTypeError(
            f"`folds` got splitter={splitter!r}. Expected a number of folds, or an object with scikit-learn's"
            " `split(X, y, groups)`. Write `splitter=5`, or for example `splitter=GroupKFold(5)`."
        )
    name = named(splitter)
    try:
        pairs = list(split(X, y, groups))
    except LtError:
        raise
    except (TypeError, ValueError) as error:
        raise MisconfigurationValueError(
            f"`{name}.split` refused the data ({size} rows, y {_given(y)}, groups {_given(groups)}): {error}. Expected"
            " what the splitter asks for. Pass labels as `folds(..., y=labels)` and groups as"
            " `folds(..., groups=groups)`, with one value for each row."
        ) from error
    if not pairs:
        raise MisconfigurationValueError(
            f"`{name}.split` gave no fold. Expected at least one pair of training and held-out rows. Check its"
            " arguments."
        )
    return [_checked_pair(pair, size, f"fold {number} of `{name}`") for number, pair in enumerate(pairs)]


def _given(values: Any) -> str:
    return "not given" if values is None else "given"


def _checked_pair(pair: Any, size: int, where: str) -> Split:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise MisconfigurationTypeError(
            f"The splitter gave {pair!r} as {where}. Expected a pair (training rows, held-out rows). Let `split` yield"
            " `train_indices, val_indices`."
        )
    train = checked_indices(pair[0], size, f"the training part of {where}")
    val = checked_indices(pair[1], size, f"the held-out part of {where}")
    both = train[torch.isin(train, val)]
    if len(both):
        raise MisconfigurationValueError(
            f"{len(both)} rows are in the training part and in the held-out part of {where}, the first of them"
            f" {int(both[0])}. Expected disjoint parts: what is trained on cannot validate. Correct the splitter."
        )
    return Split(train, val)


def checked_indices(rows: Any, size: int, where: str) -> torch.Tensor:
    """Return row numbers as a one-dimensional int64 tensor, in order.

    Args:
        rows: Numbers, or a mask with one bool for each row.
        size: The number of rows.
        where: What they are, for the message.

    Raises:
        MisconfigurationValueError: They are no row numbers, out of range, repeated or none at all.

    Example:
        >>> checked_indices([True, False, True], 3, "x").tolist()
        [0, 2]
    """
    try:
        if hasattr(rows, "strides"):
            rows = rows.copy()  # torch takes no arrays that run backwards
        indices = torch.as_tensor(rows if not isinstance(rows, Iterable) or _is_array(rows) else list(rows))
    except (TypeError, ValueError, RuntimeError) as error:
        raise _no_rows(rows, where) from error
    if indices.dtype == torch.bool and indices.shape == (size,):
        indices = indices.nonzero().flatten()
    if indices.numel() == 0:
        raise MisconfigurationValueError(
            f"There are no rows in {where}. Expected at least one. Use fewer folds or give more rows."
        )
    if indices.ndim != 1 or indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise _no_rows(rows, where)
    indices = indices.to("cpu", torch.int64)
    wrong = indices[(indices < 0) | (indices >= size)]
    if len(wrong):
        raise MisconfigurationValueError(
            f"Row {int(wrong[0])} is in {where}, and the data have {size} rows. Expected numbers from 0 to {size - 1}."
            " Let the splitter count from 0 in the data that `folds` got."
        )
    values, counts = indices.unique(return_counts=True)
    if len(values) != len(indices):
        raise MisconfigurationValueError(
            f"Row {int(values[counts > 1][0])} is {int(counts.max())} times in {where}. Expected each row at most once."
            " Correct the splitter."
        )
    return values


def _is_array(rows: Any) -> bool:
    return isinstance(rows, torch.Tensor) or hasattr(rows, "__array__")


def _no_rows(rows: Any, where: str) -> MisconfigurationValueError:
    return MisconfigurationValueError(
        f"{rows!r} was given as {where}. Expected a one-dimensional collection of row numbers, or one bool for each"
        " row. Let the splitter yield `train_indices, val_indices`."
    )
