"""SIGTERM during a run: noted by a handler, acted upon where the loops can stop."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["SigtermWatch"]


class SigtermWatch:
    """Notes SIGTERM while it is installed; the handler that was there before runs as well.

    Args:
        on_signal: Called, with no argument, when the signal arrives.
    """

    def __init__(self, on_signal: Callable[[], None]) -> None:
        self._on_signal = on_signal
        self._before: Any = None
        self._installed = False

    def install(self) -> None:
        """Begin to watch; only a main thread can."""
        if threading.current_thread() is not threading.main_thread() or self._installed:
            return
        self._before = signal.signal(signal.SIGTERM, self._handle)
        self._installed = True

    def remove(self) -> None:
        """Put the former handler back."""
        if self._installed and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before if self._before is not None else signal.SIG_DFL)
            self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._on_signal()
        if callable(self._before):
            self._before(number, frame)
