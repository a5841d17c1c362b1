"""Run a call in new processes, one for each rank, and bring back what rank 0 has: spawn, forkserver, and fork."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.elastic.multiprocessing import MultiprocessContext

from lt_core.errors import MisconfigurationException, SIGTERMException
from lt_core.state import TrainerStatus
from lt_loops.launchers.job import Job
from lt_loops.launchers.launcher import Launcher
from lt_loops.launchers.meeting import Meeting, threads_per_rank
from lt_loops.launchers.output import SharedOutput
from lt_loops.launchers.payload import Payload
from lt_loops.launchers.rank import run_rank
from lt_loops.launchers.results import Known, bring_back
from lt_loops.launchers.signals import SigtermRelay, kept_signals
from lt_loops.launchers.supervisor import Cause, RankProcesses, Supervisor

if TYPE_CHECKING:
    from lt_loops.launchers.call import Call
    from lt_loops.strategies.parallel import ParallelStrategy
    from lt_loops.trainer import Trainer

__all__ = ["ProcessLauncher"]

_STARTING = "LT_LAUNCH_STARTING"
_GRACE = 1.5  # seconds in which ranks may end by themselves when one has failed
_PERIOD = 0.1
_PRELOADED = ["torch", "torch.distributed", "lt_loops.trainer"]


class _Context(MultiprocessContext):
    """torchelastic's context, whose processes can be watched one by one."""

    @property
    def processes(self) -> list[Any]:
        return [] if self._pc is None else list(self._pc.processes)

    def close(self, death_sig: signal.Signals | None = None, timeout: int = 5) -> None:
        super().close(death_sig if death_sig is not None else signal.SIGKILL, timeout)


class _Processes(RankProcesses):
    def __init__(self, context: _Context) -> None:
        self._context = context

    def pids(self) -> dict[int, int]:
        return {rank: process.pid for rank, process in enumerate(self._context.processes)}

    def exit_codes(self) -> dict[int, int | None]:
        return {rank: process.exitcode for rank, process in enumerate(self._context.processes)}

    def sentinels(self) -> list[int]:
        return [process.sentinel for process in self._context.processes if process.exitcode is None]


class ProcessLauncher(Launcher):
    """Runs each call in processes of its own, one for each rank; this process only waits.

    Args:
        strategy: Whose ranks.
        start_method: ``"spawn"`` and ``"forkserver"`` begin with a fresh interpreter; ``"fork"`` with a copy of this
            process, which is quick, needs no pickling, and cannot be used once a CUDA device was touched.
    """

    def __init__(self, strategy: ParallelStrategy, start_method: str) -> None:
        self.is_interactive_compatible = start_method == "fork"
        self._strategy = strategy
        self._start_method = start_method

    def takes_over(self) -> bool:
        """Whether the processes have to be started before a call can run."""
        return "LOCAL_RANK" not in os.environ

    def launch(self, trainer: Trainer, call: Call) -> Any:
        """Run ``call`` on all ranks.

        Returns:
            What the call returned on rank 0.

        Raises:
            RankFailedError: A rank failed; the message ends with its traceback.
            UnpicklableError: Something cannot be sent to the ranks; it is named.
            MisconfigurationException: The processes cannot be started this way.
        """
        self._check()
        strategy = self._strategy
        job = Job.create(-1, strategy.num_processes)
        try:
            known = Known(trainer, call)
            meeting = Meeting(strategy, job)
            context = self._start(job, meeting, Payload(trainer, call))
            supervisor = Supervisor(job, _Processes(context), strategy.timeout.total_seconds())
            try:
                job.tell_port(meeting.open())
                self._wait(trainer, context, supervisor)
            finally:
                supervisor.processes.kill()
            return bring_back(trainer, call, known, (job.folder / "results").read_bytes())
        finally:
            job.remove()

    def _check(self) -> None:
        if self._start_method == "fork" and torch.cuda.is_initialized():
            raise MisconfigurationException(
                f"`{self._strategy.strategy_name}` copies this process for each rank (fork), and CUDA was used in it "
                "already, which a copy cannot use again. Expected an untouched device: restart the kernel and call no "
                '`torch.cuda` function and no `.cuda()` before `fit`, or pass `strategy="ddp_spawn"`.'
            )
        if self._start_method not in multiprocessing.get_all_start_methods():
            raise MisconfigurationException(
                f"`start_method={self._start_method!r}` does not exist on this system. Expected one of "
                f"{multiprocessing.get_all_start_methods()}."
            )
        starter, _, folder = os.environ.get(_STARTING, "").partition(":")
        if starter and int(starter) != os.getpid() and Path(folder).exists():
            _refuse_import(Path(folder))

    def _start(self, job: Job, meeting: Meeting, payload: Payload) -> _Context:
        threads = threads_per_rank(job.num_ranks, forked=self._start_method == "fork")
        ranks = range(job.num_ranks)
        # A fork server has the environment of the moment when it was started.
        environments = {rank: {**os.environ, **meeting.environment(rank, threads)} for rank in ranks}
        if self._start_method == "forkserver":
            multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", *_PRELOADED])
        context = _Context(
            name="lt",
            entrypoint=run_rank,
            args={rank: (rank, payload, self._start_method) for rank in ranks},
            envs=environments,
            start_method=self._start_method,
            logs_specs=SharedOutput(),
        )
        os.environ[_STARTING] = f"{os.getpid()}:{job.folder}"
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            with kept_signals():
                context.start()
        except BaseException:
            context.close()
            _check_not_refused(job)
            raise
        finally:
            del os.environ[_STARTING]
        return context

    # -- until they have ended

    def _wait(self, trainer: Trainer, context: _Context, supervisor: Supervisor) -> None:
        processes = supervisor.processes
        relay = SigtermRelay(lambda: self._pass_sigterm_on(supervisor), waits=True)
        relay.install()
        try:
            self._watch(context, supervisor)
        except KeyboardInterrupt:
            trainer.state.status = TrainerStatus.INTERRUPTED
            processes.signal(signal.SIGINT)
            supervisor.end_all(_GRACE)
            raise
        except BaseException:
            trainer.state.status = TrainerStatus.INTERRUPTED
            raise
        finally:
            relay.remove()

    def _pass_sigterm_on(self, supervisor: Supervisor) -> None:
        supervisor.asked_to_stop = True
        supervisor.processes.signal(signal.SIGTERM)

    def _watch(self, context: _Context, supervisor: Supervisor) -> None:
        processes = supervisor.processes
        job = supervisor.job
        while True:
            if supervisor.has_failure():
                self._fail(supervisor, supervisor.find_cause())
            codes = processes.exit_codes()
            if all(code is not None for code in codes.values()) and any(codes.values()):
                raise SIGTERMException
            # Where one has failed torchelastic would end the others in its own way: it looks when all are done.
            if all((job.folder / f"done-{rank}").exists() for rank in codes):
                ended = context.wait(0)
                if ended is not None and not ended.is_failed():
                    return
            late = _stalled_at_end(job, supervisor.timeout)
            if late is not None:
                self._fail(supervisor, supervisor.stall(late))
            wait([process.sentinel for process in context.processes], _PERIOD)

    def _fail(self, supervisor: Supervisor, cause: Cause) -> None:
        """End all ranks and raise what the first failing one raised, as the cause of an error with its traceback."""
        supervisor.end_all(_GRACE)
        _check_not_refused(supervisor.job)
        try:
            original = pickle.loads((supervisor.job.folder / f"error-{cause.rank}").read_bytes())
        except Exception:  # noqa: BLE001 -- an exception's own way of being pickled may raise anything
            original = None
        raise cause.error() from original


def _stalled_at_end(job: Job, timeout: float) -> int | None:
    """Return a rank that goes on for longer than ``timeout`` after rank 0 is done; None while there is none."""
    try:
        since = (job.folder / "done-0").stat().st_mtime
    except OSError:
        return None
    if time.time() - since < timeout:
        return None
    late = [rank for rank in range(job.num_ranks) if not (job.folder / f"done-{rank}").exists()]
    return late[0] if late else None


def _check_not_refused(job: Job) -> None:
    """Raise here what a rank has refused while it was importing the script.

    Raises:
        MisconfigurationException: It did.
    """
    refused = job.folder / "refused"
    if refused.exists():
        raise MisconfigurationException(refused.read_text(encoding="utf-8"))


def _refuse_import(folder: Path) -> None:
    """Say that the script runs the trainer when a rank imports it.

    Raises:
        MisconfigurationException: Always.
    """
    message = (
        "The script calls the trainer when it is imported, and each rank imports it to find the classes it defines, so "
        "ranks would start ranks without end. Expected the call in the main process only: put it under "
        '`if __name__ == "__main__":`, or pass `strategy="ddp"`.'
    )
    with suppress(OSError):
        (folder / "refused").write_text(message, encoding="utf-8")
    sys.exit(1)
