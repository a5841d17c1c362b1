"""Folds over time that leave a gap: for panel and market data, where labels look into the days that follow."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_core.whole_number import as_whole

if TYPE_CHECKING:
    from lt_data.folding.splits import Coverage

__all__ = ["PurgedTimeSeriesSplit"]

_WINDOWS = ("expanding", "rolling", "around")


class PurgedTimeSeriesSplit:
    """Validate on blocks of dates, and keep away from training what overlaps with them.

    Rows of one date are never parted, whatever their number and order. Purging and embargo are those of Marcos López
    de Prado, *Advances in Financial Machine Learning*, Wiley 2018, chapter 7: section 7.4.1 purges training rows whose
    labels overlap in time with those of the held-out block, section 7.4.2 puts an embargo on training rows that follow
    a held-out block, because what they look back on overlaps with it. Both are counted here in dates that occur in the
    data.

    Args:
        n_splits: Number of folds, from 1 (from 2 with ``window="around"``).
        purge: Dates left out of training between it and the validation block, from 0: over how many dates a label
            looks ahead. On both sides of the block where training is on both sides.
        embargo: Dates after a validation block that are not trained on, from 0, on top of the purged ones. With
            ``window="around"`` those after the fold's own block; otherwise, since training comes before the fold's
            block, those after each earlier block.
        window: What is trained on.

            * ``"expanding"`` (default): all dates before the block.
            * ``"rolling"``: the last ``train_size`` dates before the block and its gap.
            * ``"around"``: all dates before and after it, the purged k-fold of section 7.4.3. Each row is then
              validated exactly once.
        train_size: Dates in a rolling window, from 1; by default as many as lie before the first block and its gap.
            Only with ``window="rolling"``.
        val_size: Dates in a validation block, from 1; by default the dates divided by ``n_splits + 1``. Not with
            ``window="around"``, whose blocks share all dates.

    Attributes:
        coverage: ``"once"`` with ``window="around"``, else ``"any"``: the first dates are never validated.

    Raises:
        MisconfigurationValueError: An argument is out of range or does not go with another.

    Example:
        >>> days = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        >>> splitter = PurgedTimeSeriesSplit(n_splits=2, purge=1)
        >>> for train, val in splitter.split(range(12), groups=days):
        ...     print(sorted({days[row] for row in train}), sorted({days[row] for row in val}))
        [0] [2, 3]
        [0, 1, 2] [4, 5]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        purge: int = 0,
        embargo: int = 0,
        window: Literal["expanding", "rolling", "around"] = "expanding",
        train_size: int | None = None,
        val_size: int | None = None,
    ) -> None:
        if window not in _WINDOWS:
            raise MisconfigurationValueError(
                f"`PurgedTimeSeriesSplit` got window={window!r}. Expected one of {', '.join(map(repr, _WINDOWS))}."
                " Write `window='expanding'`."
            )
        around = window == "around"
        self.n_splits = _at_least(2 if around else 1, "n_splits", n_splits)
        self.purge = _at_least(0, "purge", purge)
        self.embargo = _at_least(0, "embargo", embargo)
        self.window = window
        self.train_size = None if train_size is None else _at_least(1, "train_size", train_size)
        self.val_size = None if val_size is None else _at_least(1, "val_size", val_size)
        self.coverage: Coverage = "once" if around else "any"
        if train_size is not None and window != "rolling":
            raise MisconfigurationValueError(
                f"`PurgedTimeSeriesSplit` got train_size={train_size} with window={window!r}. Expected it with a"
                " rolling window only. Write `window='rolling'`, or leave it out."
            )
        if val_size is not None and around:
            raise MisconfigurationValueError(
                f"`PurgedTimeSeriesSplit` got val_size={val_size} with window='around'. Expected none: the blocks share"
                " all dates. Choose `n_splits` instead."
            )

    def __repr__(self) -> str:
        named = ("n_splits", "purge", "embargo", "window", "train_size", "val_size")
        given = (f"{name}={getattr(self, name)!r}" for name in named if getattr(self, name) is not None)
        return f"PurgedTimeSeriesSplit({', '.join(given)})"

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: N803 - scikit-learn's signature
        """Return the number of folds; the arguments are scikit-learn's and make no difference."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:  # noqa: N803 - as above
        """Yield the training and the held-out rows of each fold.

        Args:
            X: The rows; only their number counts.
            y: Not looked at: the signature is scikit-learn's.
            groups: The date of each row: anything that can be ordered.

        Yields:
            Row numbers in order: NumPy arrays where NumPy is loaded, else lists.

        Raises:
            MisconfigurationValueError: There is not one date for each row, a date is missing, or the dates are too few.
        """
        dates = _ordinals(groups, _number_of_rows(X))
        count = int(dates.max()) + 1
        for number, block in enumerate(self._blocks(count)):
            trained = self._trained(number, count)
            if not bool(trained.any()):
                raise self._too_few(count)
            held_out = torch.zeros(count, dtype=torch.bool)
            held_out[block.start : block.stop] = True
            yield _plain(trained[dates].nonzero().flatten()), _plain(held_out[dates].nonzero().flatten())

    def _blocks(self, count: int) -> list[range]:
        """Return the dates of each validation block, as numbers from 0."""
        if self.window == "around":
            if count < self.n_splits:
                raise self._too_few(count)
            edges = [count * number // self.n_splits for number in range(self.n_splits + 1)]
            return [range(start, stop) for start, stop in itertools.pairwise(edges)]
        size = self.val_size if self.val_size is not None else count // (self.n_splits + 1)
        first = count - self.n_splits * size
        if size < 1 or first < 1:
            raise self._too_few(count)
        return [range(first + number * size, first + (number + 1) * size) for number in range(self.n_splits)]

    def _trained(self, number: int, count: int) -> torch.Tensor:
        """Return which dates are trained on in a fold."""
        blocks = self._blocks(count)
        block = blocks[number]
        trained = torch.zeros(count, dtype=torch.bool)
        stop = max(block.start - self.purge, 0)
        trained[:stop] = True
        if self.window == "around":
            trained[block.stop + self.purge + self.embargo :] = True
            return trained
        if self.window == "rolling":
            size = self.train_size if self.train_size is not None else blocks[0].start - self.purge
            if size < 1 or stop < size:
                raise self._too_few(count)
            trained[: stop - size] = False
        for earlier in blocks[:number]:
            trained[earlier.stop : earlier.stop + self.embargo] = False
        return trained

    def _too_few(self, count: int) -> MisconfigurationValueError:
        return MisconfigurationValueError(
            f"The data have {count} dates, which is too few for {self!r}: a fold has nothing to train on or to validate"
            " with. Expected training dates before the gap of each fold. Use fewer splits, a smaller gap or a smaller"
            " window."
        )


def _at_least(least: int, name: str, value: Any) -> int:
    number = as_whole(value)
    if number is None or number < least:
        raise MisconfigurationValueError(
            f"`PurgedTimeSeriesSplit` got {name}={value!r}. Expected a whole number of at least {least}. Write, for"
            f" example, `{name}={max(least, 2)}`."
        )
    return number


def _number_of_rows(X: Any) -> int:  # noqa: N803 - as above
    try:
        return len(X)
    except TypeError as error:
        raise MisconfigurationTypeError(
            f"`PurgedTimeSeriesSplit.split` got X of type {type(X).__name__}, which has no length. Expected the rows."
            " Pass the frame, an array, or `range(number_of_rows)`."
        ) from error


def _ordinals(groups: Any, size: int) -> torch.Tensor:
    """Return the number of each row's date among all dates that occur, in order."""
    if groups is None or len(groups) != size:
        got = "none" if groups is None else f"{len(groups)}"
        raise MisconfigurationValueError(
            f"`PurgedTimeSeriesSplit` got {got} dates for {size} rows. Expected one for each row. Pass them as groups:"
            " `folds(frame, splitter, groups='date')`, or `groups=dates`."
        )
    if size == 0:
        raise MisconfigurationValueError(
            "`PurgedTimeSeriesSplit` got no rows. Expected at least one date for each part of each fold. Pass data."
        )
    values = groups.tolist() if isinstance(groups, torch.Tensor) else groups
    numpy = sys.modules.get("numpy")  # dates of other kinds than lists come with it
    if numpy is None:
        order = {date: number for number, date in enumerate(sorted(set(values)))}
        return torch.tensor([order[date] for date in values])
    array = numpy.asarray(values)
    missing = numpy.asarray([value is None or value != value for value in array.tolist()], dtype=bool)
    if array.dtype.kind in "Mm":
        missing = numpy.isnat(array)
    if missing.any():
        raise MisconfigurationValueError(
            f"{int(missing.sum())} of {size} rows have no date, the first of them row {int(missing.argmax())}. Expected"
            " a date for each row. Leave these rows out or fill in their dates."
        )
    _, inverse = numpy.unique(array, return_inverse=True)
    return torch.as_tensor(inverse.reshape(-1), dtype=torch.int64)


def _plain(rows: torch.Tensor) -> Any:
    numpy = sys.modules.get("numpy")
    return rows.tolist() if numpy is None else rows.numpy()
