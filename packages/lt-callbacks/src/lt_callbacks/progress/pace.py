"""How fast a loop goes and how long it will take.

The rate is that of the last half minute, so that it follows a loop that becomes slower, and stays still where single
batches differ. A pause, validation within a training epoch, is no part of it.
"""

from __future__ import annotations

import math
from collections import deque
from time import monotonic

__all__ = ["Pace"]

_WINDOW = 30.0


class Pace:
    """The clock of one loop.

    Args:
        done: How many batches were done in an earlier run; they took no time in this one.

    Example:
        >>> pace = Pace(done=5)
        >>> pace.note(5)
        >>> pace.rate, pace.remaining(10)
        (0.0, None)
    """

    def __init__(self, done: int = 0) -> None:
        self._start = monotonic()
        self._paused_at: float | None = None
        self._seen: deque[tuple[float, int]] = deque([(0.0, done)])

    @property
    def elapsed(self) -> float:
        """The seconds since the beginning, without pauses."""
        return (monotonic() if self._paused_at is None else self._paused_at) - self._start

    @property
    def rate(self) -> float:
        """The batches per second; 0 before the first."""
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - began) if now > began else 0.0

    def remaining(self, total: int | float) -> float | None:
        """Return the seconds until a number of batches is done, None where that cannot be told."""
        left = total - self._seen[-1][1]
        if left <= 0:
            return 0.0
        return left / self.rate if self.rate > 0 and math.isfinite(total) else None

    def note(self, done: int) -> None:
        """Take note of how many batches are done."""
        if done == self._seen[-1][1]:
            return
        now = self.elapsed
        self._seen.append((now, done))
        while self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()

    def pause(self) -> None:
        """Stop the clock."""
        if self._paused_at is None:
            self._paused_at = monotonic()

    def go_on(self) -> float:
        """Start the clock again and return how many seconds it stood still."""
        if self._paused_at is None:
            return 0.0
        stood, self._paused_at = monotonic() - self._paused_at, None
        self._start += stood
        return stood
