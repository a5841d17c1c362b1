"""Look after the ranks of a machine: notice that one fails, find out which was the first, end the others."""

from __future__ import annotations

import os
import signal
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lt_loops.launchers.failure import Failure, FailureKind, RankFailedError, read_failures
from lt_loops.launchers.watch import ask_for_stacks, fault_path, stack_of_main_thread, stack_path

if TYPE_CHECKING:
    from lt_loops.launchers.job import Job

__all__ = ["Cause", "RankProcesses", "Supervisor"]

_SETTLING = 1.0  # seconds in which the failures that one causes become visible
_WAITED_SETTLING = 0.3  # likewise, where ranks have waited for one that does not come
_UNAWARE = 0.5  # seconds after which a rank that does not know of the failure yet is killed
_SAME_MOMENT = 0.3  # seconds within which a death and an exception count as simultaneous
_ON_REQUEST = (143, -signal.SIGTERM)


class RankProcesses(ABC):
    """The processes that were started, by local rank."""

    @abstractmethod
    def pids(self) -> dict[int, int]:
        """Return their ids."""

    @abstractmethod
    def exit_codes(self) -> dict[int, int | None]:
        """Return their exit statuses, negative for a signal, None for those that run."""

    def signal(self, number: int) -> None:
        """Send a signal to those that run."""
        codes = self.exit_codes()
        for rank, pid in self.pids().items():
            if codes[rank] is None:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def kill(self) -> None:
        """End all of them at once, with everything that they have started."""
        codes = self.exit_codes()
        for rank, pid in self.pids().items():
            if not _kill_group(pid) and codes[rank] is None:
                # It has no group of its own: it is starting, or the system has none.
                with suppress(ProcessLookupError):
                    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def wait(self, seconds: float) -> bool:
        """Wait until all have ended, and tell whether they have."""
        deadline = time.monotonic() + seconds
        while any(code is None for code in self.exit_codes().values()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True


@dataclass(frozen=True)
class Cause:
    """The failure that came first.

    Attributes:
        rank: Of which rank, on this machine.
        step: The step that it worked on, None before the first.
        kind: Why it ended.
        report: What to print; ends with the traceback.
    """

    rank: int
    step: int | None
    kind: FailureKind
    report: str

    def error(self) -> RankFailedError:
        """Return it as an exception."""
        return RankFailedError.of(self.report, self.rank, self.step)


class Supervisor:
    """Looks after the ranks of a machine.

    Args:
        job: Their job.
        processes: Those that were started.
        timeout: How long a rank may keep the others waiting, in seconds; said in the report of one that did.
    """

    def __init__(self, job: Job, processes: RankProcesses, timeout: float) -> None:
        self.job = job
        self.processes = processes
        self.timeout = timeout
        self.asked_to_stop = False  # SIGTERM was passed on: ranks that end by it have not failed
        self.own_rank_left = False  # rank 0 is in this process, and its script is over
        self._deaths: dict[int, tuple[float, int]] = {}

    def has_failure(self) -> bool:
        """Tell whether a rank has failed since the start."""
        now = time.time()
        for rank, code in self.processes.exit_codes().items():
            if code and rank not in self._deaths:
                self._deaths[rank] = (now, code)
        failures = read_failures(self.job.folder)
        if any(failure.kind is not FailureKind.SIGTERM for failure in failures.values()):
            return True
        return any(not self._on_request(rank, failures) for rank in self._deaths)

    def _on_request(self, rank: int, failures: dict[int, Failure]) -> bool:
        code = self._deaths[rank][1]
        return code in _ON_REQUEST and (rank in failures or self.asked_to_stop)

    # -- the first failure

    def find_cause(self) -> Cause:
        """Find out which failure came first; takes a second where all known ones are consequences."""
        deadline = time.monotonic() + _SETTLING
        while True:
            self.has_failure()
            failures = read_failures(self.job.folder)
            cause = self._first_of(failures)
            if cause is not None:
                return cause
            waited = any(failure.kind is FailureKind.WAITED for failure in failures.values())
            # Who has waited for long has waited for something that nobody reports.
            if time.monotonic() >= deadline - (_SETTLING - _WAITED_SETTLING if waited else 0):
                break
            time.sleep(0.05)
        if waited:
            stalled = self._stalled(failures)
            if stalled is not None:
                return stalled
        left = self._left(failures)
        if left is not None:
            return left
        first = min(failures.values(), key=lambda failure: failure.time)
        return self._raised(first)

    def _first_of(self, failures: dict[int, Failure]) -> Cause | None:
        own = (FailureKind.ERROR, FailureKind.INTERRUPT)
        raised = sorted((f for f in failures.values() if f.kind in own), key=lambda failure: failure.time)
        died = sorted(
            (moment, rank)
            for rank, (moment, _) in self._deaths.items()
            if rank not in failures and not self._on_request(rank, failures)
        )
        # A consequence is always an exception: who dies without one at the same moment was first.
        if died and (not raised or died[0][0] <= raised[0].time + _SAME_MOMENT):
            return self._died(died[0][1])
        return self._raised(raised[0]) if raised else None

    def _raised(self, failure: Failure) -> Cause:
        step = self.job.step_of(failure.rank)
        what = {
            FailureKind.INTERRUPT: "was interrupted",
            FailureKind.LOST: "lost the connection to the others",
            FailureKind.WAITED: f"waited longer than {self.timeout:g} s for the others",
            FailureKind.SIGTERM: "was ended by SIGTERM",
            FailureKind.ERROR: "failed",
        }[failure.kind]
        head = self._head(failure.rank, failure.pid, what, step)
        return Cause(failure.rank, step, failure.kind, f"{head} Its traceback:\n\n{failure.traceback.rstrip()}")

    def _died(self, rank: int) -> Cause:
        code, step = self._deaths[rank][1], self.job.step_of(rank)
        pid = self.processes.pids()[rank]
        fault = _read(fault_path(self.job, rank))
        if code < 0:
            what = f"was killed by {_signal_name(-code)}"
            rest = "" if fault else " It left no traceback; the kernel does this when memory runs out (see `dmesg`)."
            if -code != signal.SIGKILL and not fault:
                rest = " It left no traceback."
        else:
            what = f"ended with exit status {code}"
            rest = " It raised no exception during the run: it called `os._exit`, or what it printed stands above."
        head = self._head(rank, pid, what, step)
        return Cause(rank, step, FailureKind.ERROR, f"{head}{rest}" + (f"\n\n{fault}" if fault else ""))

    def _stalled(self, failures: dict[int, Failure]) -> Cause | None:
        """Name the rank for which the others have waited, and where it stands."""
        codes = self.processes.exit_codes()
        waiting = [rank for rank, code in codes.items() if code is None and rank not in failures]
        if self.job.rank == 0 and 0 not in failures:
            waiting.append(0)
        return self.stall(min(waiting, key=lambda rank: (self._step(rank), rank))) if waiting else None

    def _step(self, rank: int) -> int:
        step = self.job.step_of(rank)
        return -1 if step is None else step

    def stall(self, rank: int) -> Cause:
        """Return the cause of a rank that keeps the others waiting."""
        step = self.job.step_of(rank)
        own = rank == self.job.rank
        pid = os.getpid() if own else self.processes.pids()[rank]
        stack = stack_of_main_thread() if own else self._stack(rank, pid)
        head = self._head(rank, pid, f"kept the others waiting for more than {self.timeout:g} s", step)
        return Cause(
            rank,
            step,
            FailureKind.ERROR,
            f"{head} That is the limit (`DDPStrategy(timeout=…)`). It stands here:\n\n"
            f"Traceback (most recent call last):\n{stack.rstrip()}\n"
            f"TimeoutError: rank {rank} did not come to where the other ranks waited for it",
        )

    def _stack(self, rank: int, pid: int) -> str:
        ask_for_stacks(self.job)
        path = stack_path(self.job, rank)
        deadline = time.monotonic() + 1.0
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        if path.exists():
            return _read(path)
        # It holds the interpreter's lock and cannot answer: the interpreter's own handler can.
        try:
            os.kill(pid, signal.SIGABRT)
        except ProcessLookupError:
            return "  (it has ended meanwhile)"
        deadline = time.monotonic() + 0.5
        while self.processes.exit_codes()[rank] is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return _read(fault_path(self.job, rank)) or "  (it does not answer)"

    def _left(self, failures: dict[int, Failure]) -> Cause | None:
        """Name a rank that ended well while others still needed it."""
        ended = [rank for rank, code in self.processes.exit_codes().items() if code == 0 and rank not in failures]
        if self.own_rank_left:
            ended.insert(0, self.job.rank)
        if not ended:
            return None
        rank = ended[0]
        step = self.job.step_of(rank)
        pid = os.getpid() if rank == self.job.rank else self.processes.pids()[rank]
        head = self._head(rank, pid, "ended while other ranks still needed it", step)
        return Cause(
            rank,
            step,
            FailureKind.ERROR,
            f"{head} Expected all ranks to make the same calls of the trainer: make them on each rank, and leave none "
            "of them early.",
        )

    def _head(self, rank: int, pid: int, what: str, step: int | None) -> str:
        where = "before its first step" if step is None else f"at step {step}"
        return f"Rank {rank} of {self.job.num_ranks} (process {pid}) {what} {where}."

    # -- the end

    def end_all(self, grace: float) -> None:
        """End all started ranks.

        Args:
            grace: Seconds in which those that know of the failure may end by themselves, their callbacks told.
        """
        began = time.monotonic()
        while (passed := time.monotonic() - began) < grace:
            failures = read_failures(self.job.folder)
            running = [rank for rank, code in self.processes.exit_codes().items() if code is None]
            if not running or (passed > _UNAWARE and not any(rank in failures for rank in running)):
                break
            time.sleep(0.02)
        self.processes.kill()
        self.processes.wait(5.0)


def _kill_group(group: int) -> bool:
    """End a process group, also when only what a dead rank has left behind is in it; tell whether there was one."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError, AttributeError):
        return False
    return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _read(path: os.PathLike[str]) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\n")
    except OSError:
        return ""
