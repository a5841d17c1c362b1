"""Rank 0 of a script that was started again for the others: a thread looks after them while this process trains."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from multiprocessing.util import get_temp_dir
from typing import TYPE_CHECKING, Any

from lt_loops.launchers.failure import FailureKind, RankFailedError, kind_of, note_failure

if TYPE_CHECKING:
    from lt_loops.launchers.supervisor import Cause, Supervisor

__all__ = ["ScriptMonitor"]

_PERIOD = 0.1
_GRACE = 1.5  # seconds in which the others may end by themselves, their callbacks told
_NUDGE = 0.7  # seconds until the main thread, if it does not notice by itself, is interrupted
_LIMIT = 4.3  # seconds from the failure to the end of this process, whatever its main thread does
_LEAVING = 30.0  # seconds that others may take to end a run that was asked to end


class ScriptMonitor(threading.Thread):
    """Looks after ranks 1, 2, … of this machine; the main thread of this process is rank 0.

    Args:
        supervisor: Knows them.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__(name="lt-rank-monitor", daemon=True)
        self._supervisor = supervisor
        self._main = threading.main_thread()
        self._closed = threading.Event()
        self._fails = threading.Event()  # an exception has ended a run in this process
        self._settled = threading.Event()  # and has been raised to whoever called
        self._decided = threading.Event()
        self._graceful = False
        self._cause: Cause | None = None

    # -- the thread

    def run(self) -> None:
        """Look at the others until one fails or `close` is called."""
        while not self._closed.wait(_PERIOD):
            if not self._graceful and self._supervisor.has_failure():
                self._end(time.monotonic())
                return

    def _end(self, began: float) -> None:
        cause = self._supervisor.find_cause()
        if self._graceful:
            return  # Ctrl-C reached rank 0 meanwhile
        self._supervisor.end_all(began + _GRACE - time.monotonic())
        self._cause = cause
        self._decided.set()
        if not self._fails.wait(_NUDGE) and not self._closed.is_set():
            # It computes or sleeps; callbacks are told of the exception that this raises.
            signal.pthread_kill(self._main.ident or 0, signal.SIGINT)
        if not self._settled.wait(max(began + _LIMIT - time.monotonic(), 0)) and not self._closed.is_set():
            self.leave(cause)

    def leave(self, cause: Cause) -> None:
        """End this process at once; the cause is the last thing printed."""
        for child in multiprocessing.active_children():
            child.kill()
        self._supervisor.processes.kill()
        self._supervisor.job.remove()
        shutil.rmtree(get_temp_dir(), ignore_errors=True)  # nothing that would remove it runs any more
        sys.stdout.flush()
        print(f"\n{cause.report}", file=sys.stderr, flush=True)
        os._exit(1)

    # -- a run that fails in this process

    def begin_to_fail(self, error: BaseException) -> None:
        """Take note that rank 0 fails, in this process."""
        kind = kind_of(error)
        if self._decided.is_set() or self._fails.is_set():
            self._fails.set()
            return
        if kind is FailureKind.INTERRUPT:
            self._graceful = True
            self._supervisor.processes.signal(signal.SIGINT)
        elif kind is FailureKind.SIGTERM:
            self._graceful = True
        self._fails.set()

    def settle(self, error: BaseException) -> None:
        """End the other ranks; raise the first failure where it was another rank's."""
        if isinstance(error, RankFailedError):
            return
        if self._graceful and not self._decided.is_set():
            interrupted = kind_of(error) is FailureKind.INTERRUPT
            self._supervisor.end_all(_GRACE if interrupted else _LEAVING)
            self._settled.set()
            return
        self._decided.wait(_LIMIT)
        self._settled.set()
        cause = self._cause
        if cause is None:
            return
        if cause.rank == self._supervisor.job.rank:
            _add_note(error, cause)
            return
        raise cause.error() from error

    # -- the end of the script

    def note_uncaught(self, error: BaseException) -> bool:
        """Take note of an exception that ends the script; tell whether the cause was printed in its place."""
        if not self._fails.is_set() and not self._decided.is_set():
            self.begin_to_fail(error)
            note_failure(self._supervisor.job.folder, self._supervisor.job.rank, error)
            self._supervisor.end_all(0.5)
        self._settled.set()
        cause = self._cause
        if cause is not None and isinstance(error, KeyboardInterrupt) and cause.rank != self._supervisor.job.rank:
            print(f"\n{cause.report}", file=sys.stderr, flush=True)
            return True
        return False

    def at_exit(self) -> None:
        """Wait for the others to end as well; where one fails instead, say so and end with a status other than 0."""
        self._settled.set()
        supervisor = self._supervisor
        if self._decided.is_set() or self._fails.is_set():
            self.close()
            supervisor.end_all(_GRACE if not self._graceful else _LEAVING)
            supervisor.job.remove()
            return
        self.close()
        supervisor.own_rank_left = True
        deadline = time.monotonic() + supervisor.timeout
        while not supervisor.processes.wait(_PERIOD):
            if supervisor.has_failure() or time.monotonic() >= deadline:
                break
        cause = self._cause_at_exit()
        supervisor.end_all(0.5 if cause is not None else 0.0)
        if cause is not None:
            self.leave(cause)
        supervisor.job.remove()

    def _cause_at_exit(self) -> Cause | None:
        supervisor = self._supervisor
        if supervisor.has_failure():
            return supervisor.find_cause()
        running = [rank for rank, code in supervisor.processes.exit_codes().items() if code is None]
        return supervisor.stall(running[0]) if running else None

    def close(self) -> None:
        """Look no more."""
        self._closed.set()


def _add_note(error: BaseException, cause: Cause) -> None:
    where = "before its first step" if cause.step is None else f"at step {cause.step}"
    note = f"This is rank {cause.rank}, which failed {where}; the other ranks were ended."
    add: Any = getattr(error, "add_note", None)
    if add is not None:
        add(note)
    else:  # Python 3.10
        print(note, file=sys.stderr, flush=True)
