"""A moment in time that all processes of a run notice at the same batch.

Clocks differ between processes, and a stop or a save that only some of them begin would hang the others. So the
first process decides, and tells the others. To do that in every batch would cost a collective per batch; here the
first process also says how many batches may pass until the question is asked again, about one second's worth.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt_core.protocols import StrategyProtocol

__all__ = ["AgreedDeadline"]

_SECONDS_BETWEEN_QUESTIONS = 1.0
_MOST_BATCHES_BETWEEN_QUESTIONS = 1000


class AgreedDeadline:
    """Tells, batch by batch, whether a deadline has passed, with the same answer in every process.

    With one process the clock is read at each call and nothing else happens.
    """

    def __init__(self) -> None:
        self._calls_left = 0
        self._calls_planned = 1
        self._asked_at: float | None = None

    def restart(self) -> None:
        """Begin anew; every process must do so at the same point."""
        self._calls_left = 0
        self._calls_planned = 1
        self._asked_at = None

    def passed(self, strategy: StrategyProtocol, deadline: float) -> bool:
        """Tell whether the first process's clock has reached the deadline.

        Args:
            strategy: The trainer's strategy, through which the processes agree.
            deadline: The moment, in seconds of ``time.monotonic()``; only the first process's value counts.
        """
        if strategy.world_size == 1:
            return time.monotonic() >= deadline
        self._calls_left -= 1
        if self._calls_left > 0:
            return False
        passed, self._calls_left = strategy.broadcast(self._decide(deadline))
        self._calls_planned = self._calls_left
        return bool(passed)

    def _decide(self, deadline: float) -> tuple[bool, int]:
        """Compare with this process's clock and choose how many calls the next answer may wait for."""
        now = time.monotonic()
        wait = min(_SECONDS_BETWEEN_QUESTIONS, max(deadline - now, 0.0))
        seconds_per_call = (now - self._asked_at) / self._calls_planned if self._asked_at is not None else None
        self._asked_at = now
        if not seconds_per_call:
            return now >= deadline, 1
        return now >= deadline, max(1, min(int(wait / seconds_per_call), _MOST_BATCHES_BETWEEN_QUESTIONS))
