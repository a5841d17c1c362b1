"""Signals while ranks are started and run: torchelastic takes them over while it starts, and they are passed on."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lt_core.errors import SIGTERMException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["SigtermRelay", "default_signals", "kept_signals"]

_NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


@contextmanager
def kept_signals() -> Iterator[None]:
    """Give the handlers back that were there before; torchelastic installs its own while it starts processes."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)


def default_signals() -> None:
    """Forget the handlers that a forked process has inherited: they are its parent's business."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in _NAMES[2:]:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


class SigtermRelay:
    """Passes SIGTERM on, once, and ends this process with 143 unless a run has its own way to end.

    Args:
        pass_on: Called at the first SIGTERM.
        waits: Whether this process goes on, because it waits for the ranks that got the signal.
    """

    def __init__(self, pass_on: Callable[[], None], *, waits: bool) -> None:
        self._pass_on = pass_on
        self._waits = waits
        self._before: Any = None
        self._installed = False
        self.received = False

    def install(self) -> None:
        """Begin to listen; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._handle)
            self._installed = True

    def remove(self) -> None:
        """Put the former handler back."""
        if self._installed and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before if self._before is not None else signal.SIG_DFL)
            self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received = True
            self._pass_on()
        if callable(self._before):
            self._before(number, frame)
        elif not self._waits and signal.getsignal(signal.SIGTERM) == self._handle:
            raise SIGTERMException  # a running fit listens itself: then this handler is only called by its own
