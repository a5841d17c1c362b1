"""What loggers that send to a server have in common: names, numbers, an outbox, and no pickled connections."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from lt_core.errors import MisconfigurationException, MissingPackageError
from lt_core.logger import Logger
from lt_core.logger_params import add_prefix
from lt_core.rank_zero import rank_zero_only
from lt_loggers.outbox import Outbox
from lt_loggers.scalars import checked_metrics, scalar
from lt_loggers.write_retry import OnFailure, checked_on_failure

__all__ = ["RemoteRunLogger", "require_package"]

_FLUSH_SECONDS = 30.0


class RemoteRunLogger(Logger):
    """Base of loggers that send to a server, through a client library that may be missing.

    Args:
        prefix: What comes before each metric's name, joined with ``-``; ``""`` for nothing.
        on_failure: ``"warn"`` or ``"raise"``, where the server cannot be reached.
    """

    _background = False

    def __init__(self, prefix: str, on_failure: OnFailure) -> None:
        self._prefix = prefix
        self._on_failure = checked_on_failure(type(self).__name__, on_failure)
        self._outbox: Outbox | None = None
        self._said_failure = False
        self._experiment: Any = None
        self._known_checkpoints: dict[str, float] = {}

    @rank_zero_only
    def save(self) -> None:
        """Send again what could not be sent, if it is time to try."""
        if self._outbox is not None and not self._background:
            self._outbox.push()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Wait until the library has all that was logged; write to a file, and say so, what it does not take.

        Args:
            status: ``"success"``, ``"failed"`` or ``"finished"``.
        """
        if self._outbox is not None:
            self._outbox.flush(_FLUSH_SECONDS, self._spool_path())

    def __getstate__(self) -> dict[str, Any]:
        # Connections and threads belong to this process, and so does what waits for them.
        return {**self.__dict__, "_experiment": None, "_outbox": None}

    def _send(self, kind: str, items: list[Any]) -> None:
        """Send items of one kind through the library."""
        raise NotImplementedError

    def _errors(self) -> tuple[type[BaseException], ...]:
        """The exceptions that mean that sending failed."""
        raise NotImplementedError

    def _refused(self, error: BaseException) -> bool:
        """Whether the exception means that trying again is of no use."""
        return False

    def _target(self) -> str:
        """Where rows go, for messages."""
        raise NotImplementedError

    def _post(self, kind: str, item: Any) -> None:
        if self._outbox is None:
            self._outbox = Outbox(
                self._send,
                self._target(),
                self._errors(),
                on_failure=self._on_failure,
                refused=self._refused,
                background=self._background,
                said_failure=self._said_failure,
            )
        self._outbox.add(kind, item)

    def _spool_path(self) -> str:
        name = f"{type(self).__name__}-{self.version or 'unknown'}-unsent.jsonl".replace(os.sep, "_")
        return os.path.join(self.save_dir or ".", name)

    def _numbers(self, metrics: Any, *, others: bool) -> dict[str, Any]:
        """Return metrics with their prefix as plain numbers; with ``others``, the library's own objects as they are."""
        checked = checked_metrics(type(self).__name__, metrics)
        values: Mapping[str, Any] = add_prefix(checked, self._prefix)
        return {name: _number(name, value, others=others) for name, value in values.items()}


def require_package(package: str, wanted_by: str, install: str) -> None:
    """Raise when a client library is not installed.

    Args:
        package: What is imported.
        wanted_by: What the user wrote.
        install: What pip calls it.

    Raises:
        MissingPackageError: It is not installed.
    """
    if find_spec(package) is None:
        raise MissingPackageError(
            f"{wanted_by} needs the package `{package}`, which is not installed. Run `pip install {install}`, or use"
            " CSVLogger, which needs no further package."
        )


def _number(name: str, value: Any, *, others: bool) -> Any:
    try:
        return scalar(name, value)
    except MisconfigurationException:
        if others:
            return value
        raise
