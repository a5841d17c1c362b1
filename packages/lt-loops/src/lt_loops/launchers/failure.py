"""What a rank says when it fails, and which of several failures is the cause of the others.

When one rank ends, the others lose their connection to it within milliseconds and fail as well. Only the first tells
what is wrong, so failures are told apart by kind and by time.
"""

from __future__ import annotations

import json
import os
import re
import time
import traceback
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lt_core.errors import LtError, SIGTERMException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Failure", "FailureKind", "RankFailedError", "kind_of", "note_failure", "read_failures"]

_LOST = re.compile(
    r"Connection (closed|reset) by peer|Connection refused|Broken pipe|recv, got 0 bytes|remote process exited"
    r"|Connection was likely closed|connectFullMesh failed|failed to recv"
)
_WAITED = re.compile(
    r"Timed out waiting \d+ ?ms|wait timeout after|Socket Timeout|Watchdog caught collective|Timed out after \d+"
    r"|socket has timed out"
)


class FailureKind(str, Enum):
    """Why a rank ends.

    Attributes:
        ERROR: Something went wrong in it.
        LOST: Another rank is gone.
        WAITED: Another rank did not come in time.
        INTERRUPT: Somebody pressed Ctrl-C.
        SIGTERM: The machine is wanted back.
    """

    ERROR = "error"
    LOST = "lost"
    WAITED = "waited"
    INTERRUPT = "interrupt"
    SIGTERM = "sigterm"


class RankFailedError(LtError, RuntimeError):
    """A rank of the run failed; the message ends with its traceback.

    Attributes:
        rank: Its number on its machine, -1 when it is not known.
        step: The step that it worked on, None before the first.
    """

    rank: int = -1
    step: int | None = None

    @classmethod
    def of(cls, report: str, rank: int, step: int | None) -> RankFailedError:
        """Return the error for a report."""
        error = cls(report)
        error.rank, error.step = rank, step
        return error


@dataclass(frozen=True)
class Failure:
    """What a rank wrote down when it failed.

    Attributes:
        rank: Its number on its machine.
        pid: Its process.
        time: When, in seconds since the epoch.
        kind: Why it ends.
        traceback: Where it was.
    """

    rank: int
    pid: int
    time: float
    kind: FailureKind
    traceback: str


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def kind_of(error: BaseException) -> FailureKind:
    """Tell whether an exception is a cause or a consequence of what happened elsewhere.

    Example:
        >>> kind_of(RuntimeError("[gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:1234")).name
        'LOST'
        >>> kind_of(ValueError("Connection closed by peer, says the user's own code")).name
        'ERROR'
    """
    if isinstance(error, SIGTERMException):
        return FailureKind.SIGTERM
    if isinstance(error, KeyboardInterrupt):
        return FailureKind.INTERRUPT
    for each in _chain(error):
        if not isinstance(each, RuntimeError):
            continue
        text = str(each)
        if _WAITED.search(text):
            return FailureKind.WAITED
        if _LOST.search(text):
            return FailureKind.LOST
    return FailureKind.ERROR


def note_failure(folder: Path, rank: int, error: BaseException) -> None:
    """Write down the failure of a rank of this machine; the first one counts.

    Args:
        folder: The job's folder.
        rank: The rank.
        error: What was raised.
    """
    path = folder / f"failure-{rank}.json"
    if path.exists():
        return
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    failure = Failure(rank, os.getpid(), time.time(), kind_of(error), text)
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        draft.write_text(json.dumps(asdict(failure)), encoding="utf-8")
        os.replace(draft, path)
    except FileNotFoundError:
        return  # whoever started the ranks has given up on them and removed the folder


def read_failures(folder: Path) -> dict[int, Failure]:
    """Return what ranks wrote down so far, by rank."""
    failures = {}
    for path in folder.glob("failure-*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        failures[values["rank"]] = Failure(**{**values, "kind": FailureKind(values["kind"])})
    return failures
