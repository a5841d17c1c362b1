"""How often each row is held out over all folds, and test parts that no fold trains on or validates with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_data.folding.splits import Coverage, Split, checked_indices, named, without
from lt_data.order import mixed_seed, shuffled

__all__ = ["check_coverage", "held_out_rows", "renumbered", "rotated", "times_validated"]

TestPart = float | Sequence[int] | torch.Tensor | Literal["rotate"] | None


def times_validated(splits: Sequence[Split], size: int) -> torch.Tensor:
    """Return how often each row is held out.

    Example:
        >>> splits = [Split(torch.tensor([2]), torch.tensor([0, 1])), Split(torch.tensor([2]), torch.tensor([1]))]
        >>> times_validated(splits, 3).tolist()
        [1, 2, 0]
    """
    return torch.bincount(torch.cat([split.val for split in splits]), minlength=size)


def check_coverage(splits: Sequence[Split], size: int, splitter: Any, coverage: Coverage | None) -> None:
    """Check that each row is held out exactly once, unless the splitter or the user says otherwise.

    Args:
        splits: The folds.
        size: The number of rows that can be held out: they are numbered from 0.
        splitter: Where they come from. Its attribute ``coverage``, if it has one, is what counts by default.
        coverage: What the user said: ``"once"``, ``"any"`` or None.

    Raises:
        MisconfigurationValueError: Rows are repeated or dropped; or the value is unknown.
    """
    if coverage not in (None, "once", "any"):
        raise MisconfigurationValueError(
            f"`folds` got coverage={coverage!r}. Expected 'once' (each row is validated exactly once), 'any' or None."
            " Write `coverage='any'` for splitters that repeat or leave out rows."
        )
    if (coverage or getattr(splitter, "coverage", "once")) == "any":
        return
    times = times_validated(splits, size)
    never, often = (times == 0).nonzero().flatten(), (times > 1).nonzero().flatten()
    found = []
    if len(never):
        found.append(f"never validates {len(never)} of {size} rows, the first of them {int(never[0])}")
    if len(often):
        found.append(f"validates {len(often)} rows more than once, the first of them {int(often[0])}")
    if found:
        raise MisconfigurationValueError(
            f"`{named(splitter)}` {' and '.join(found)}. Expected each row to be validated exactly once, so that the"
            " out-of-fold predictions cover the data. Where that is meant, as with repeated or time series splits,"
            " write `folds(..., coverage='any')`."
        )


def rotated(splits: Sequence[Split], size: int, splitter: Any) -> list[Split]:
    """Make the held-out part of each fold its test part, and validate with the next fold's.

    Args:
        splits: The folds; together they hold out each row once.
        size: The number of rows.
        splitter: Where they come from, for the message.

    Raises:
        MisconfigurationValueError: They do not, or there are fewer than three.

    Example:
        >>> from lt_data.folding.splits import k_fold
        >>> first = rotated(k_fold([6], 3, seed=0), 6, 3)[0]
        >>> len(first.train), len(first.val), len(first.test)
        (2, 2, 2)
    """
    if len(splits) < 3 or not bool((times_validated(splits, size) == 1).all()):
        raise MisconfigurationValueError(
            f"`folds` got test='rotate' with splitter={named(splitter)} ({len(splits)} folds). Expected at least 3"
            " folds that together hold out each row exactly once: one part tests, the next validates. Write"
            " `splitter=5`, or pass the row numbers of the test part."
        )
    following = [*splits[1:], splits[0]]
    result = []
    for split, after in zip(splits, following, strict=True):
        train = split.train[~torch.isin(split.train, after.val)]
        if not len(train):
            raise MisconfigurationValueError(
                f"With test='rotate' a fold of `{named(splitter)}` has no training row left. Expected rows beside two"
                " held-out parts. Use more folds."
            )
        result.append(Split(train, after.val, split.val))
    return result


def held_out_rows(test: Any, size: int, splitter: Any, seed: int) -> torch.Tensor | None:
    """Return the rows of a test part that is the same for all folds, in order; None where there is none.

    Args:
        test: None, ``"rotate"`` (then None is returned), row numbers, or the share of the rows, drawn by ``seed``.
        size: The number of rows.
        splitter: A share is drawn row by row, which only suits a number of folds.
        seed: For the drawing.

    Raises:
        MisconfigurationTypeError: It is none of these.
        MisconfigurationValueError: The share is out of range or leaves nothing, or the row numbers are wrong.
    """
    if test is None or (isinstance(test, str) and test == "rotate"):
        return None
    if isinstance(test, float):
        if not isinstance(splitter, int):
            raise MisconfigurationValueError(
                f"`folds` got test={test} with splitter={named(splitter)}. Expected row numbers: rows that are drawn"
                " one by one may be of the same group or date as training rows. Choose them yourself and write"
                " `folds(..., test=row_numbers)`."
            )
        count = round(size * test)
        if not 0 < test < 1 or not 0 < count < size:
            raise MisconfigurationValueError(
                f"`folds` got test={test} for {size} rows. Expected a share between 0 and 1 that is at least one row"
                " and not all. Write, for example, `test=0.2`."
            )
        return shuffled(size, mixed_seed(seed, 0x7E57))[:count].sort().values
    if isinstance(test, (str, bytes, int)):
        raise MisconfigurationTypeError(
            f"`folds` got test={test!r}. Expected None, a share such as 0.2, row numbers, or 'rotate'. For a single row"
            " write `test=[row]`."
        )
    rows = checked_indices(test, size, "`folds(..., test=...)`").sort().values
    if len(rows) == size:
        raise MisconfigurationValueError(
            f"`folds` got all {size} rows as its test part. Expected rows that are left to train on. Pass fewer."
        )
    return rows


def renumbered(splits: Sequence[Split], rows: torch.Tensor, test: torch.Tensor) -> list[Split]:
    """Translate folds of a part of the rows into numbers of all rows, and add the common test part.

    Args:
        splits: Numbered within the part.
        rows: What the numbers stand for.
        test: The test part, numbered among all rows.
    """
    return [Split(rows[split.train], rows[split.val], test) for split in splits]


def remaining(size: int, test: torch.Tensor | None) -> torch.Tensor:
    """Return the rows that are not in the common test part, in order."""
    return torch.arange(size) if test is None else without(size, test)
