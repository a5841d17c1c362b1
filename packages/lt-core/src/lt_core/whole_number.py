"""Whole numbers as people write them: ``3``, ``1e3``, an index from another library."""

from __future__ import annotations

import operator
from typing import Any

__all__ = ["as_whole"]


def as_whole(value: Any) -> int | None:
    """Return a value as an int where it is a whole number, else None; True and False are not numbers.

    Args:
        value: Anything.

    Example:
        >>> as_whole(1e3), as_whole(0.5), as_whole(True), as_whole("3")
        (1000, None, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    try:
        return operator.index(value)
    except TypeError:
        return None
