"""Writing that may fail for a while without ending the training.

A full disk or a file server that is away must not cost a run. What could not be written is kept by the caller; this
says so once, lets a new try through at most once a second, and says when writing works again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lt_core.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WriteRetry"]


class WriteRetry:
    """Guards the writes of one logger.

    Args:
        target: What is written to, for the messages.
        interval: Seconds between two tries while writing fails.
        errors: The exceptions that mean that writing failed.

    Example:
        >>> retry = WriteRetry("metrics.csv")
        >>> retry.attempt(lambda: None)
        True
    """

    def __init__(
        self, target: str, interval: float = 1.0, errors: tuple[type[BaseException], ...] = (OSError,)
    ) -> None:
        self._target = target
        self._interval = interval
        self._errors = errors
        self._failed_at: float | None = None
        self._said = False

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._failed_at is not None

    def attempt(self, write: Callable[[], None], *, now: bool = False) -> bool:
        """Try to write, unless a try has failed within the last interval.

        Args:
            write: Writes all that waits. It must leave what it could not write with the caller.
            now: Try in any case, as at the end of a run.

        Returns:
            Whether it was written.
        """
        if self._failed_at is not None and not now and time.monotonic() - self._failed_at < self._interval:
            return False
        try:
            write()
        except self._errors as error:
            self._failed_at = time.monotonic()
            self._say(error)
            return False
        if self._failed_at is not None:
            self._failed_at = None
            rank_zero_info(f"{self._target} can be written again; nothing that was logged is missing.")
        return True

    def _say(self, error: BaseException) -> None:
        if self._said:
            return
        self._said = True
        rank_zero_warn(
            f"{self._target} cannot be written: {error}. Training goes on, what is logged is kept in memory and tried"
            " again. Free disk space or make the folder writable."
        )
