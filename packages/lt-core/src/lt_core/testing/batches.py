"""Loaders brought into one form, and counted, for the simple trainer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["as_list", "count_batches", "limited"]


def as_list(loaders: Any) -> list[Any]:
    """Return no, one or several loaders as a list."""
    if loaders is None:
        return []
    return list(loaders) if isinstance(loaders, (list, tuple)) else [loaders]


def count_batches(loader: Any, limit: float | None) -> int | float:
    """Return how many batches a loader gives under a limit, infinite when it does not tell."""
    try:
        length: int | float = len(loader)
    except (TypeError, NotImplementedError):
        length = math.inf
    if limit is None:
        return length
    return min(length, limit) if isinstance(limit, int) else int(length * limit)


def limited(loader: Iterable[Any], count: int | float) -> Iterator[tuple[int, Any, bool]]:
    """Yield index, batch and whether it is the last one; one batch is read ahead to know."""
    if not count:
        return
    iterator = iter(loader)
    nothing = object()
    batch = next(iterator, nothing)
    index = 0
    while batch is not nothing:
        following = next(iterator, nothing) if index + 1 < count else nothing
        yield index, batch, following is nothing
        batch = following
        index += 1
