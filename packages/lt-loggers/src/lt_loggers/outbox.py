"""What goes to a server, kept until the server has it.

Servers are slow, go away and come back, and refuse. None of that may cost the training a row or hold it up. What is to
be sent waits here in order. It is sent by the calling thread, where the client library is quick and has threads of its
own, or by a thread of this outbox, where a call may wait for the network. What the server refuses is said and left out;
while the server is away everything waits and is tried again; what still waits at the end of a run is written to a file.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lt_core.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from lt_loggers.write_retry import OnFailure

__all__ = ["Outbox"]

_RETRY_SECONDS = 1.0
_BATCH = 100
_AT_EXIT_SECONDS = 10.0


class Outbox:
    """Sends items in order, items of one kind that follow each other together.

    Args:
        send: Sends a kind of items. What it raises means that none of them has arrived.
        target: Where they go, for the messages.
        errors: The exceptions that mean that sending failed.
        on_failure: ``"raise"`` lets the exception through in the calling thread, to end the run.
        refused: Tells from an exception that trying again is of no use.
        background: Send in a thread.
        said_failure: That the target cannot be reached has been said already.

    Example:
        >>> sent = []
        >>> outbox = Outbox(lambda kind, items: sent.extend(items), "a list", (OSError,))
        >>> outbox.add("row", {"loss": 0.5})
        >>> sent, outbox.waiting
        ([{'loss': 0.5}], 0)
    """

    def __init__(
        self,
        send: Callable[[str, list[Any]], None],
        target: str,
        errors: tuple[type[BaseException], ...],
        *,
        on_failure: OnFailure = "warn",
        refused: Callable[[BaseException], bool] = lambda error: False,
        background: bool = False,
        said_failure: bool = False,
    ) -> None:
        self._send = send
        self._target = target
        self._errors = errors
        self._on_failure = on_failure
        self._refused = refused
        self._background = background
        self._items: deque[tuple[str, Any]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._limit = _BATCH
        self._failed_at: float | None = None
        self._attempts = 0
        self._unsaid: list[tuple[BaseException, str | None]] = []
        self._said_failure = said_failure
        self._spooled: str | None = None

    @property
    def waiting(self) -> int:
        """How many items have not been sent."""
        return len(self._items)

    def add(self, kind: str, item: Any) -> None:
        """Send an item as soon as possible.

        Args:
            kind: What it is.
            item: What JSON can express, for the file of what could not be sent.

        Raises:
            BaseException: One of ``errors``, where ``on_failure`` is ``"raise"``.
        """
        with self._changed:
            self._items.append((kind, item))
            self._changed.notify_all()
        if self._background:
            self._start()
        else:
            self.push()
        self._report()

    def push(self, *, now: bool = False) -> None:
        """Send what waits from the calling thread, unless a try has failed within the last second.

        Args:
            now: Try in any case.
        """
        due = self._failed_at is None or now or time.monotonic() - self._failed_at >= _RETRY_SECONDS
        while due and self._items:
            due = self._send_some()

    def flush(self, seconds: float, spool: str) -> None:
        """Wait until everything is sent; write what still waits then to a file and say so.

        Args:
            seconds: How long to wait for a server that is slow or away.
            spool: The file: a line of JSON for each item.

        Raises:
            BaseException: One of ``errors``, where ``on_failure`` is ``"raise"``.
        """
        if self._background:
            self._wait(seconds)
        else:
            self.push(now=True)
        left = len(self._items)
        if left:
            self._write_spool(spool)
            where = f"They are in {spool}" if self._spooled else f"{spool} could not be written either: they are lost"
            rank_zero_warn(
                f"{left} entries could not be sent to {self._target} until the end of the run. {where} unless a later"
                " run of this logger sends them."
            )
        self._report()

    # -- sending

    def _send_some(self) -> bool:
        """Send the first items; return whether to go on."""
        kind, items = self._head()
        try:
            self._send(kind, items)
        except self._errors as error:
            if not self._refused(error):
                self._unsaid.append((error, None))
                self._failed_at = time.monotonic()
                return False
            if len(items) > 1:  # one of them is refused, and would take the others with it
                self._limit = 1
                return True
            self._unsaid.append((error, f"{kind} {items[0]!r}"[:300]))
        else:
            self._note_recovery()
        with self._changed:
            for _ in items:
                self._items.popleft()
            if not self._items:
                self._limit = _BATCH
                self._remove_spool()
            self._changed.notify_all()
        return True

    def _head(self) -> tuple[str, list[Any]]:
        with self._changed:
            kind = self._items[0][0]
            items: list[Any] = []
            for other, item in self._items:
                if other != kind or len(items) == self._limit:
                    break
                items.append(item)
        return kind, items

    def _note_recovery(self) -> None:
        if self._failed_at is not None:
            self._failed_at = None
            rank_zero_info(f"{self._target} takes what is logged again; nothing is missing.")

    def _report(self) -> None:
        """Say what went wrong since the last call, in the thread that logs."""
        unsaid, self._unsaid = self._unsaid, []
        for error, refused in unsaid:
            if self._on_failure == "raise":
                raise error
            if refused is not None:
                rank_zero_warn(f"{self._target} refuses this, which is left out: {refused}. It says: {error}")
            elif not self._said_failure:
                self._said_failure = True
                rank_zero_warn(
                    f"{self._target} cannot be reached: {error}. Training goes on, what is logged is kept in memory and"
                    ' tried again. Pass on_failure="raise" to the logger to end the run instead.'
                )

    # -- the thread

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            if self._thread is None:
                # Who uses a logger without a trainer may end without `finalize`.
                atexit.register(self._wait, _AT_EXIT_SECONDS)
            self._thread = threading.Thread(target=self._work, name=f"outbox of {self._target}", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._items:
                    self._changed.wait()
            sent = self._send_some()
            with self._changed:
                self._attempts += 1
                self._changed.notify_all()
            if not sent:
                time.sleep(_RETRY_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Wait until nothing waits, or a try that began from now on has failed, or the time is over."""
        until, attempts = time.monotonic() + seconds, self._attempts
        if self._items:
            self._start()
        with self._changed:
            while self._items and (left := until - time.monotonic()) > 0:
                if self._failed_at is not None and self._attempts > attempts + 1:
                    return
                self._changed.wait(left)

    # -- the file

    def _write_spool(self, path: str) -> None:
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps({kind: item}, default=str) + "\n" for kind, item in list(self._items))
            self._spooled = path
        except OSError:
            self._spooled = None

    def _remove_spool(self) -> None:
        path, self._spooled = self._spooled, None
        if path is not None:
            os.remove(path)
