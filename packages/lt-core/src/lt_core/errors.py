"""The errors of lt: one root, few kinds.

Every message has three clauses: what happened with the received value, what was expected, what to write instead.
The kinds that also derive from a built-in exception exist so that code which catches ``ValueError`` or ``TypeError``
keeps working.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "CheckpointError",
    "LtError",
    "MisconfigurationException",
    "MisconfigurationTypeError",
    "MisconfigurationValueError",
    "MissingPackageError",
    "SIGTERMException",
    "did_you_mean",
    "nearest",
    "problems_error",
]


class LtError(Exception):
    """Root of all errors that lt raises on its own account.

    Attributes:
        problems: The errors that this one reports together, empty when it is one itself.
    """

    problems: tuple[LtError, ...] = ()


class MisconfigurationException(LtError):
    """Something was asked for that cannot work; the message says what to write instead."""


class MisconfigurationValueError(MisconfigurationException, ValueError):
    """A misconfiguration whose cause is the value of one argument."""


class MisconfigurationTypeError(MisconfigurationException, TypeError):
    """A misconfiguration whose cause is the type of one argument."""


class MissingPackageError(LtError, ModuleNotFoundError):
    """An optional package is needed and not installed; the message holds the install line."""


class CheckpointError(LtError):
    """A checkpoint file is unreadable, unsafe to read, incomplete, or cannot be written."""


class SIGTERMException(SystemExit):
    """Ends a run that received SIGTERM, with the exit status 143 (128 + 15) that schedulers expect."""

    def __init__(self) -> None:
        super().__init__(143)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that looks most like ``name``, or None when none is near.

    Args:
        name: What was received.
        candidates: What exists.

    Example:
        >>> nearest("configure_optimizer", ["configure_optimizers", "configure_model"])
        'configure_optimizers'
        >>> nearest("zzz", ["configure_optimizers"]) is None
        True
    """
    found = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.7)
    return found[0] if found else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return a sentence that suggests the nearest candidate, or an empty string.

    Example:
        >>> did_you_mean("max_epoch", ["max_epochs", "max_steps"])
        ' Did you mean `max_epochs`?'
    """
    found = nearest(name, candidates)
    return f" Did you mean `{found}`?" if found else ""


def problems_error(problems: Sequence[LtError]) -> LtError:
    r"""Make one error of several problems that were found together.

    A single problem keeps its own kind, so that ``except ValueError`` still catches it.

    Example:
        >>> str(problems_error([MisconfigurationException("a"), MisconfigurationException("b")]))
        '2 problems were found:\n  1. a\n  2. b'
    """
    if len(problems) == 1:
        return problems[0]
    lines = "\n".join(f"  {index}. {problem}" for index, problem in enumerate(problems, start=1))
    error = MisconfigurationException(f"{len(problems)} problems were found:\n{lines}")
    error.problems = tuple(problems)
    return error
