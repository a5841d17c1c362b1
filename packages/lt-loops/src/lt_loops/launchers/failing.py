"""A run fails in this process: tell the others first, then the callbacks, then see whose failure came first."""

from __future__ import annotations

import json
import os
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lt_loops.launchers.failure import FailureKind, kind_of, note_failure
from lt_loops.launchers.job import current_job

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Settles", "failing", "settle_with"]


class Settles(Protocol):
    """Somebody who knows what has become of the other ranks."""

    def begin_to_fail(self, error: BaseException) -> None:
        """Take note that rank 0 fails, in this process."""

    def settle(self, error: BaseException) -> None:
        """End the other ranks; raise the first failure where it was another rank's."""


class _Current:
    settles: Settles | None = None


def settle_with(settles: Settles | None) -> None:
    """Say who ends the other ranks when a run fails in this process, which is their rank 0."""
    _Current.settles = settles


@contextmanager
def failing(error: BaseException) -> Iterator[None]:
    """Surround what is done about an exception that ended a run.

    Args:
        error: What was raised.

    Raises:
        RankFailedError: Another rank failed first; the message ends with its traceback.
    """
    _tell_torchelastic(error)
    job, settles = current_job(), _Current.settles
    if job is not None:
        note_failure(job.folder, job.rank, error)
    if settles is None:
        yield
        return
    settles.begin_to_fail(error)
    try:
        yield
    finally:
        settles.settle(error)


def _tell_torchelastic(error: BaseException) -> None:
    """Write the file from which ``torchrun`` reports the first failure; it knows whole seconds only."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    kind = kind_of(error)
    if not path or kind in (FailureKind.SIGTERM, FailureKind.INTERRUPT) or Path(path).exists():
        return
    # A consequence of another rank's failure in the same second must not be taken for the cause.
    moment = int(time.time()) + (kind is not FailureKind.ERROR)
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    message = {
        "message": f"{type(error).__name__}: {error}",
        "extraInfo": {"py_callstack": text, "timestamp": str(moment)},
    }
    try:
        Path(path).write_text(json.dumps({"message": message}), encoding="utf-8")
    except OSError:
        return  # the report names the rank without its traceback
