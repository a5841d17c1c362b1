"""From what the user wrote as ``profiler=`` to a profiler."""

from __future__ import annotations

from typing import Any

from lt_core.errors import MisconfigurationException, did_you_mean
from lt_loops.profilers.advanced import AdvancedProfiler
from lt_loops.profilers.base import Profiler
from lt_loops.profilers.pytorch import PyTorchProfiler
from lt_loops.profilers.simple import PassThroughProfiler, SimpleProfiler

__all__ = ["resolve_profiler"]

_NAMED: dict[str, type[Profiler]] = {
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
    "simple": SimpleProfiler,
}


def resolve_profiler(value: Any) -> Profiler:
    """Return the profiler that the user asked for.

    Args:
        value: ``"simple"``, ``"advanced"``, ``"pytorch"``, an instance, or None to measure nothing.

    Raises:
        MisconfigurationException: There is no such profiler.

    Example:
        >>> type(resolve_profiler("simple")).__name__
        'SimpleProfiler'
    """
    if value is None:
        return PassThroughProfiler()
    if isinstance(value, Profiler):
        return value
    kind = _NAMED.get(value.lower()) if isinstance(value, str) else None
    if kind is None:
        raise MisconfigurationException(
            f"`profiler={value!r}`: there is no such profiler. Expected one of {', '.join(map(repr, _NAMED))}, an"
            f' instance of `Profiler`, or None.{did_you_mean(str(value).lower(), _NAMED)} Write `profiler="simple"`.'
        )
    return kind()
