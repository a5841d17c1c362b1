"""The errors that only callbacks raise.

They are kinds of `lt_core.errors.MisconfigurationException` that also derive from ``RuntimeError``, because code that
stops early or schedules accumulation has long been written with ``except RuntimeError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lt_core.errors import MisconfigurationException, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MisconfigurationRuntimeError", "describe_missing_metric"]


class MisconfigurationRuntimeError(MisconfigurationException, RuntimeError):
    """A misconfiguration that can only be seen while the run is going on."""


def describe_missing_metric(wanted_by: str, monitor: str, logged: Iterable[str]) -> str:
    """Say that a monitored metric was never logged, what was, and what to write.

    Args:
        wanted_by: The constructor call that names the metric, for example ``"EarlyStopping(monitor='val_los')"``.
        monitor: The metric's name.
        logged: The names that were logged.

    Example:
        >>> print(describe_missing_metric("EarlyStopping(monitor='val_los')", "val_los", ["val_loss"]))
        `EarlyStopping(monitor='val_los')` watches a metric that was not logged. Logged so far: 'val_loss'. Did you \
mean `val_loss`? Write `self.log('val_los', value)` in a training or validation hook, or change `monitor`.
    """
    names = sorted(name for name in logged if name not in ("epoch", "step"))
    listed = ", ".join(repr(name) for name in names) if names else "nothing"
    return (
        f"`{wanted_by}` watches a metric that was not logged. Logged so far: {listed}.{did_you_mean(monitor, names)} "
        f"Write `self.log({monitor!r}, value)` in a training or validation hook, or change `monitor`."
    )
