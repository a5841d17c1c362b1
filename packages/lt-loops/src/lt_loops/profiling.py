"""Where a profiler listens: each hook and step is wrapped once, when the run is resolved, and only if one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_core.callback import Callback
from lt_core.module import LightningModule
from lt_loops.profilers import PassThroughProfiler, Profiler
from lt_loops.strategies import Strategy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HookProfiler"]


class HookProfiler:
    """Wraps bound hooks so that a profiler measures them under the documented action names.

    Args:
        profiler: Who measures.
    """

    def __init__(self, profiler: Profiler) -> None:
        self._profiler = profiler
        self.active = not isinstance(profiler, PassThroughProfiler)

    def wrap(self, name: str, owner: object, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what to call instead of ``function``: itself while nobody measures.

        Args:
            name: The hook or step.
            owner: Whose it is.
            function: The bound hook.
        """
        if not self.active:
            return function
        return self._profiler.wrap(f"[{_kind(owner)}]{_label(owner)}.{name}", function)


def _kind(owner: object) -> str:
    if isinstance(owner, Callback):
        return "Callback"
    if isinstance(owner, LightningModule):
        return "LightningModule"
    return "Strategy" if isinstance(owner, Strategy) else "LightningDataModule"


def _label(owner: object) -> str:
    return owner.state_key if isinstance(owner, Callback) else type(owner).__name__
