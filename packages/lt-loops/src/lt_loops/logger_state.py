"""Where the loggers of a run stand, in a checkpoint and back.

Loggers are told apart by class, name and version: a run that is resumed into a new version begins its files anew, and
only one that goes on in the same place takes back what it will record again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["dump_loggers", "restore_loggers"]


def dump_loggers(loggers: Sequence[Any]) -> list[dict[str, Any]]:
    """Return who the loggers are and where they stand, without those that have nothing to keep.

    Args:
        loggers: The trainer's loggers.

    Example:
        >>> from lt_core.logger import DummyLogger
        >>> dump_loggers([DummyLogger()])
        []
    """
    entries = []
    for logger in loggers:
        # Third-party loggers need not derive from ours: those without the method have nothing to keep.
        state: dict[str, Any] = getattr(logger, "state_dict", dict)()
        if isinstance(state, dict) and state:
            entries.append({**_identity(logger), "state": state})
    return entries


def restore_loggers(loggers: Sequence[Any], entries: Sequence[dict[str, Any]]) -> None:
    """Give each logger the first state that is its own and that no other has taken.

    Args:
        loggers: The trainer's loggers.
        entries: What :func:`dump_loggers` returned.
    """
    left = list(entries)
    for logger in loggers if left else ():
        identity = _identity(logger)
        found = next((entry for entry in left if identity.items() <= entry.items()), None)
        if found is not None:
            left.remove(found)
            logger.load_state_dict(found["state"])


def _identity(logger: Any) -> dict[str, Any]:
    return {"class": type(logger).__qualname__, "name": logger.name, "version": logger.version}
