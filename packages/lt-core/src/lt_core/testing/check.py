"""What a conformance kit is made of: checks, each of one behaviour, and the error that says which does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Check", "ConformanceError", "Registry", "require", "run_checks"]


class ConformanceError(AssertionError):
    """A part does not behave as the packages expect of its kind."""


@dataclass(frozen=True)
class Check:
    """One behaviour.

    Attributes:
        name: The behaviour as a sentence, with underscores.
        function: Called with what makes the part; raises `ConformanceError` when the behaviour is missing.
    """

    name: str
    function: Callable[..., None]

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Run the check."""
        self.function(*args, **kwargs)

    def __str__(self) -> str:
        return self.name


class Registry(list[Check]):
    """The checks of one kit, in the order in which they are written."""

    def add(self, function: Callable[..., None]) -> Callable[..., None]:
        """Register a function as a check; its name is the behaviour."""
        self.append(Check(function.__name__, function))
        return function


def require(condition: object, message: str) -> None:
    """Raise `ConformanceError` with the message when the condition does not hold.

    Example:
        >>> require(1 + 1 == 2, "numbers work")
    """
    if not condition:
        raise ConformanceError(message)


def run_checks(checks: Iterable[Check], *args: Any) -> None:
    """Run all checks and raise one error that lists those that failed.

    Args:
        checks: What to run.
        args: What each check is called with.

    Raises:
        ConformanceError: At least one behaviour is missing.
    """
    failures = [failure for failure in (_failure(check, args) for check in checks) if failure]
    if failures:
        raise ConformanceError("\n".join([f"{len(failures)} behaviours are missing:", *failures]))


def _failure(check: Check, args: tuple[Any, ...]) -> str:
    try:
        check(*args)
    except Exception as error:  # noqa: BLE001 -- whatever a part raises is what the report is about
        return f"{check.name}: {type(error).__name__}: {error}"
    return ""
