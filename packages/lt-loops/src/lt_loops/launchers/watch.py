"""What a started rank does beside its work: notice that the process that started it is gone, and tell where it stands.

A rank that is left alone would wait for the others for ever, so it ends, with everything that it has started.
"""

from __future__ import annotations

import atexit
import faulthandler
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from multiprocessing.util import get_temp_dir
from typing import TYPE_CHECKING, Any, TextIO

from lt_loops.launchers.failure import FailureKind, kind_of, note_failure, read_failures

if TYPE_CHECKING:
    from lt_loops.launchers.job import Job

__all__ = ["RankWatch", "ask_for_stacks", "fault_path", "stack_of_main_thread", "stack_path"]

_PATIENCE = 1.0  # seconds to find out whether a lost connection means that the starter is gone
_PERIOD = 0.2  # seconds between two looks: no load, and far below what the contract allows


def stack_path(job: Job, rank: int) -> Any:
    """Return where a rank tells where it stands."""
    return job.folder / f"stack-{rank}.txt"


def fault_path(job: Job, rank: int) -> Any:
    """Return where the interpreter of a rank writes when a signal such as SIGSEGV ends it."""
    return job.folder / f"fault-{rank}.txt"


def ask_for_stacks(job: Job) -> None:
    """Ask all started ranks to tell where they stand."""
    (job.folder / "stacks").touch()


def stack_of_main_thread() -> str:
    """Return where the main thread of this process stands, most recent call last."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 -- documented, for this use
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


class RankWatch(threading.Thread):
    """Watches over a started rank.

    Args:
        job: The job that this process takes part in.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(name="lt-rank-watch", daemon=True)
        self._job = job
        self._faults: TextIO | None = None
        self._told = False
        self._ending = threading.Lock()

    def install(self, *, takes_faults: bool) -> None:
        """Begin to watch; exceptions that end this process are left to the starter to show.

        Args:
            takes_faults: Whether to take the interpreter's reports of crashes over from whoever else has them.
        """
        if takes_faults or not faulthandler.is_enabled():
            self._faults = fault_path(self._job, self._job.rank).open("w")
            faulthandler.enable(self._faults)
        self._job.note_temporary_folder()
        sys.excepthook = self._note
        atexit.register(self._leave)
        self.start()

    def note(self, error: BaseException) -> None:
        """Write down what ends this rank; where it ends because its starter is gone, say that instead."""
        note_failure(self._job.folder, self._job.rank, error)
        patience = _PATIENCE if kind_of(error) is FailureKind.LOST else 0.0
        deadline = time.monotonic() + patience
        while self._starter_lives() and time.monotonic() < deadline:
            time.sleep(0.02)  # a process's connections are closed a moment before it is gone
        self._leave()

    def _note(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        self.note(error)  # the starter prints it, as the last thing

    def _leave(self) -> None:
        if not self._starter_lives():
            self._end_orphaned()

    def run(self) -> None:
        """Look around until the process ends."""
        asked = self._job.folder / "stacks"
        while True:
            time.sleep(_PERIOD)
            if not self._starter_lives():
                self._end_orphaned()
            if not self._told and asked.exists():
                self._told = True
                self._tell()

    def _starter_lives(self) -> bool:
        parent = multiprocessing.parent_process()
        return parent.is_alive() if parent is not None else os.getppid() == self._job.starter

    def _tell(self) -> None:
        path = stack_path(self._job, self._job.rank)
        draft = path.with_suffix(".draft")
        draft.write_text(stack_of_main_thread(), encoding="utf-8")
        os.replace(draft, path)

    def _end_orphaned(self) -> None:
        """Say what happened, in one of the ranks, and end with all that this process has started."""
        self._ending.acquire()  # of the two threads that come here, one goes on
        try:
            (self._job.folder / "orphaned").touch(exist_ok=False)
        except OSError:
            pass  # another one says it, or has said it
        else:
            time.sleep(2 * _PERIOD)  # the others end first: what is said is the last thing
            # torch keeps what hooks of exceptions print until they are over; this one never is.
            print(f"\n{self._last_words()}", file=sys.__stderr__ or sys.stderr, flush=True)
            self._job.remove()
        shutil.rmtree(get_temp_dir(), ignore_errors=True)  # nothing that would remove it runs any more
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def _last_words(self) -> str:
        job = self._job
        causes = [failure for failure in read_failures(job.folder).values() if failure.kind is FailureKind.ERROR]
        step = job.step_of(0)
        where = "before its first step" if step is None else f"at step {step}"
        if causes:
            first = min(causes, key=lambda failure: failure.time)
            return f"Rank {first.rank} of {job.num_ranks} (process {first.pid}) failed:\n\n{first.traceback}"
        who = f"Rank 0 of {job.num_ranks}" if multiprocessing.parent_process() is None else "The process of the trainer"
        return (
            f"{who} (process {job.starter}) ended {where} without a word: by SIGKILL, as when memory runs out (see "
            "`dmesg`), or by `os._exit`. It could leave no traceback. The other ranks have ended."
        )
