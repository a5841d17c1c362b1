"""Writing that may fail for a while without ending the training.

A full disk or a server that is away must not cost a run. What could not be written is kept by the caller; this says so
once, lets a new try through at most once a second, and says when writing works again. Who would rather have the run end
says ``on_failure="raise"``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, cast

from lt_core.errors import MisconfigurationValueError
from lt_core.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OnFailure", "WriteRetry", "checked_on_failure"]

OnFailure = Literal["warn", "raise"]
"""What a logger does when it cannot write: say so once and keep trying, or raise what went wrong."""


def checked_on_failure(logger: str, value: str) -> OnFailure:
    """Return ``value`` if it is one of the two.

    Args:
        logger: The logger's class, for the message.
        value: What the user passed.

    Raises:
        MisconfigurationValueError: It is something else.

    Example:
        >>> checked_on_failure("CSVLogger", "warn")
        'warn'
    """
    if value in ("warn", "raise"):
        return cast("OnFailure", value)
    raise MisconfigurationValueError(
        f"{logger} got on_failure={value!r}. Expected 'warn' (say it once, keep the rows, train on) or 'raise' (end the"
        " run). Pass one of them."
    )


class WriteRetry:
    """Guards the writes of one logger.

    Args:
        target: What is written to, for the messages.
        interval: Seconds between two tries while writing fails.
        errors: The exceptions that mean that writing failed.
        on_failure: ``"raise"`` lets the exception through, to end the run.
        remedy: What the user can do about it, a sentence for the message.

    Example:
        >>> retry = WriteRetry("metrics.csv")
        >>> retry.attempt(lambda: None)
        True
    """

    def __init__(
        self,
        target: str,
        interval: float = 1.0,
        errors: tuple[type[BaseException], ...] = (OSError,),
        on_failure: OnFailure = "warn",
        remedy: str = "Free disk space or make the folder writable.",
    ) -> None:
        self._target = target
        self._interval = interval
        self._errors = errors
        self._on_failure = on_failure
        self._remedy = remedy
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

        Raises:
            BaseException: One of ``errors``, where ``on_failure`` is ``"raise"``.
        """
        if self._failed_at is not None and not now and time.monotonic() - self._failed_at < self._interval:
            return False
        try:
            write()
        except self._errors as error:
            self._failed_at = time.monotonic()
            if self._on_failure == "raise":
                raise
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
            f" again. {self._remedy}"
        )
