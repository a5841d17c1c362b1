"""Start the script again for each further rank of this machine; this process goes on as the first of them."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import torch

from lt_loops.launchers.command import script_command
from lt_loops.launchers.failing import settle_with
from lt_loops.launchers.hydra import hydra_arguments, original_folder
from lt_loops.launchers.job import Job, enter_job
from lt_loops.launchers.launcher import Launcher
from lt_loops.launchers.meeting import Meeting, threads_per_rank
from lt_loops.launchers.monitor import ScriptMonitor
from lt_loops.launchers.signals import SigtermRelay, kept_signals
from lt_loops.launchers.supervisor import RankProcesses, Supervisor

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import SubprocessContext

    from lt_loops.launchers.call import Call
    from lt_loops.strategies.parallel import ParallelStrategy
    from lt_loops.trainer import Trainer

__all__ = ["ScriptLauncher"]


class _Scripts(RankProcesses):
    """The processes of torchelastic's context; local rank 1 is its first."""

    def __init__(self, context: SubprocessContext) -> None:
        self._handlers = {number + 1: handler for number, handler in context.subprocess_handlers.items()}

    def pids(self) -> dict[int, int]:
        return {rank: handler.proc.pid for rank, handler in self._handlers.items()}

    def exit_codes(self) -> dict[int, int | None]:
        return {rank: handler.proc.poll() for rank, handler in self._handlers.items()}


class ScriptLauncher(Launcher):
    """Runs the script again for each further rank; values come back natively, as this process is rank 0.

    Args:
        strategy: Whose ranks.
    """

    is_interactive_compatible = False

    def __init__(self, strategy: ParallelStrategy) -> None:
        self._strategy = strategy
        self._started = False
        self._meeting: Meeting | None = None

    def takes_over(self) -> bool:
        """Whether the processes have to be started before a call can run."""
        return not self._started and "LOCAL_RANK" not in os.environ

    def launch(self, trainer: Trainer, call: Call) -> Any:
        """Start the others and run ``call`` here, as rank 0.

        Returns:
            What the call returned here.

        Raises:
            MisconfigurationException: There is no script that could be started again.
        """
        self._start()
        return call(trainer)

    def _start(self) -> None:
        strategy = self._strategy
        num_ranks = strategy.num_processes
        command = script_command() if num_ranks > 1 else []
        threads = threads_per_rank(num_ranks)
        job = Job.create(0, num_ranks)
        try:
            self._meeting = Meeting(strategy, job)
            self._meeting.open()
            environments = {rank: self._meeting.environment(rank, threads) for rank in range(num_ranks)}
            supervisor = None if num_ranks == 1 else self._start_scripts(job, command, environments)
        except BaseException:
            job.remove()
            raise
        self._started = True
        os.environ.update(environments[0])
        enter_job(job)
        job.note_temporary_folder()
        if threads is not None:
            torch.set_num_threads(int(threads))
        if supervisor is None:
            atexit.register(job.remove)
            return
        monitor = ScriptMonitor(supervisor)
        settle_with(monitor)
        _hook_into_exit(monitor)
        SigtermRelay(lambda: _pass_sigterm_on(supervisor), waits=False).install()
        monitor.start()

    def _start_scripts(self, job: Job, command: list[str], environments: dict[int, dict[str, str]]) -> Supervisor:
        from torch.distributed.elastic.multiprocessing import start_processes

        from lt_loops.launchers.output import SharedOutput

        others = range(1, job.num_ranks)
        with kept_signals(), original_folder():
            context: Any = start_processes(
                name="lt",
                entrypoint=sys.executable,
                args={rank - 1: (*command, *hydra_arguments(rank)) for rank in others},
                envs={rank - 1: environments[rank] for rank in others},
                logs_specs=SharedOutput(),
                start_method="subprocess",
            )
        return Supervisor(job, _Scripts(context), self._strategy.timeout.total_seconds())


def _pass_sigterm_on(supervisor: Supervisor) -> None:
    supervisor.asked_to_stop = True
    supervisor.processes.signal(signal.SIGTERM)


def _hook_into_exit(monitor: ScriptMonitor) -> None:
    before = sys.excepthook

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not monitor.note_uncaught(error):
            before(kind, error, trace)

    sys.excepthook = uncaught
    atexit.register(monitor.at_exit)
