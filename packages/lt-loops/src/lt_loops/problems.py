"""Mistakes that are found one after another and reported together."""

from __future__ import annotations

from lt_core.errors import LtError, problems_error

__all__ = ["Problems"]


class Problems:
    """Keeps the errors of several attempts, each of which ends at its first one.

    Example:
        >>> problems = Problems()
        >>> with problems:
        ...     raise LtError("one")
        >>> with problems:
        ...     raise LtError("two")
        >>> problems.report()
        Traceback (most recent call last):
        lt_core.errors.MisconfigurationException: 2 problems were found:
        ...
    """

    def __init__(self) -> None:
        self._found: list[LtError] = []

    def __enter__(self) -> None:
        """Begin an attempt."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, LtError):
            return False
        self._found += error.problems or (error,)
        return True

    def report(self) -> None:
        """Raise what was found, if anything.

        Raises:
            LtError: The one problem as it is, several as one `MisconfigurationException`.
        """
        if self._found:
            raise problems_error(self._found)
