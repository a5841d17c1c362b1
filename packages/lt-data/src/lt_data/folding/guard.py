"""Keeps held-out rows out of reach while preprocessing is fitted.

`fit` gets the training rows and nothing else. That leaves the data that it may hold in other ways: an object of the
user's that was made with the whole dataset. So, for as long as `fit` runs, the dataset itself refuses every other row,
whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn, cast

import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from lt_core.errors import MisconfigurationException
from lt_data.frame_dataset import FrameDataset, is_frame

__all__ = ["HeldOutRowError", "guarded"]

# Where datasets keep all rows at once.
_CONTENTS: dict[type, tuple[str, ...]] = {
    FrameDataset: ("features", "codes", "targets", "tensors", "take", "to"),
    TensorDataset: ("tensors",),
}


class HeldOutRowError(MisconfigurationException):
    """A row that is held out was read while preprocessing was fitted."""


@contextmanager
def guarded(data: Iterable[tuple[Any, torch.Tensor]]) -> Iterator[None]:
    """Let datasets refuse all rows but some, in this block.

    A ``Subset`` and a ``ConcatDataset`` are guarded with what they are made of, and a frame of pandas refuses whatever
    is asked of it. What cannot be guarded (tensors and arrays that are used as datasets, classes whose instances cannot
    change their class) is left as it is.

    Args:
        data: Map-style datasets and frames, each with the row numbers that may be read. What occurs several times may
            be read where one of them allows it.

    Example:
        >>> data = TensorDataset(torch.arange(3))
        >>> with guarded([(data, torch.tensor([0, 1]))]):
        ...     data[2]
        Traceback (most recent call last):
        ...
        lt_data.folding.guard.HeldOutRowError: Row 2 of a TensorDataset, which is held out, was read while ...
    """
    found: dict[int, tuple[Any, set[int]]] = {}
    for dataset, rows in data:
        for member, allowed in _members(dataset, set(rows.tolist())):
            found.setdefault(id(member), (member, set()))[1].update(allowed)
    with ExitStack() as stack:
        for member, allowed in found.values():
            stack.enter_context(_refusing(member, allowed))
        yield


def _members(dataset: Any, allowed: set[int]) -> Iterator[tuple[Any, set[int]]]:
    """Give the dataset and everything that it reads from, each with the rows of its own that may be read."""
    yield dataset, allowed
    if isinstance(dataset, Subset):
        indices = dataset.indices
        yield from _members(dataset.dataset, {int(indices[row]) for row in allowed})
    elif isinstance(dataset, ConcatDataset):
        start = 0
        for part in dataset.datasets:
            size = len(cast(Sized, part))
            yield from _members(part, {row - start for row in allowed if start <= row < start + size})
            start += size


@contextmanager
def _refusing(dataset: Any, allowed: set[int]) -> Iterator[None]:
    kind = type(dataset)
    if isinstance(dataset, torch.Tensor):
        yield
        return
    guard = _closed_frame(kind) if is_frame(dataset) else _guard_class(kind, allowed)
    try:
        # The only way to be in the path of everybody who holds the object: it changes its class, for this long.
        object.__setattr__(dataset, "__class__", guard)
    except (TypeError, AttributeError):
        yield
        return
    try:
        yield
    finally:
        object.__setattr__(dataset, "__class__", kind)


def _closed_frame(kind: type) -> type:
    def refuse(self: Any, name: Any, *_: Any, **__: Any) -> NoReturn:
        raise _read_whole(kind.__name__, str(name))

    def array(self: Any, *_: Any, **__: Any) -> NoReturn:
        raise _read_whole(kind.__name__, "__array__")

    closed = dict.fromkeys(("__array__", "__len__", "__iter__"), array)
    return type(kind.__name__, (kind,), {"__getattribute__": refuse, "__getitem__": refuse, **closed})


def _guard_class(kind: type, allowed: set[int]) -> type:
    closed = next((names for known, names in _CONTENTS.items() if issubclass(kind, known)), ())

    def opened(self: Any) -> Any:
        if not closed:
            return super(guard, self)
        # The methods of the class read attributes that are closed here: an open object with the same contents answers.
        plain: Any = object.__new__(kind)
        vars(plain).update(vars(self))
        return plain

    def checked(self: Any, rows: Any) -> Any:
        size = len(self)
        for row in _numbers(rows, size):
            if -size <= row < size and row % size not in allowed:
                raise _held_out(row, kind.__name__)
        return opened(self)

    members: dict[str, Any] = {
        "__module__": kind.__module__,
        "__len__": lambda self: opened(self).__len__(),
        "__getitem__": lambda self, rows: checked(self, rows).__getitem__(rows),
        # The class may have a way of its own to go through the rows: here it is one by one.
        "__iter__": lambda self: (self[row] for row in range(len(self))),
    }
    if hasattr(kind, "__getitems__"):
        members["__getitems__"] = lambda self, rows: checked(self, list(rows)).__getitems__(rows)
    members.update({attribute: _closed(kind.__name__, attribute) for attribute in closed})
    guard = type(kind.__name__, (kind,), members)
    return guard


def _held_out(row: int, name: str) -> HeldOutRowError:
    return HeldOutRowError(
        f"Row {row} of a {name}, which is held out, was read while preprocessing was fitted. Expected `fit` to read"
        " training rows only: they are what it is given. Fit on the argument of `fit`, and keep the dataset out of the"
        " object."
    )


def _read_whole(name: str, attribute: str) -> HeldOutRowError:
    return HeldOutRowError(
        f"`{attribute}` of a {name}, which has held-out rows in it, was read while preprocessing was fitted. Expected"
        " `fit` to read training rows only: they are what it is given. Fit on the argument of `fit`, and keep the"
        " dataset out of the object."
    )


def _closed(name: str, attribute: str) -> property:
    def read(self: Any) -> NoReturn:
        raise _read_whole(name, attribute)

    return property(read)


def _numbers(rows: Any, size: int) -> list[int]:
    if isinstance(rows, slice):
        return list(range(*rows.indices(size)))
    if isinstance(rows, torch.Tensor) or hasattr(rows, "tolist"):
        rows = rows.tolist()
    try:
        return [int(row) for row in rows] if isinstance(rows, (list, tuple)) else [int(rows)]
    except (TypeError, ValueError):
        return []  # no row numbers: the dataset itself says what it makes of them
