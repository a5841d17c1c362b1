"""Processes that SLURM has started: the tasks of a job step, by ``srun``."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from lt_core.errors import MisconfigurationException, MisconfigurationValueError
from lt_core.rank_zero import PossibleUserWarning, rank_zero_info, rank_zero_warn
from lt_loops.environments.base import KnowsItsRanks
from lt_loops.environments.variables import number_or, read_number

__all__ = ["SLURMEnvironment", "SlurmTasksError", "is_task_of_slurm"]

_DEFAULT_PORT = 12910
_FIRST_PORT = 15000  # the last four digits of the job's number are added
_START = "start the script by `srun python script.py`"
_INTERACTIVE = ("bash", "interactive")


class SlurmTasksError(MisconfigurationException, RuntimeError):
    """SLURM's tasks are not spread evenly over the machines, or it does not say how."""


class SLURMEnvironment(KnowsItsRanks):
    """Reads what ``srun`` sets: ``SLURM_NTASKS``, ``SLURM_PROCID``, ``SLURM_LOCALID``, ``SLURM_NODEID``.

    A job named ``bash`` or ``interactive``, and a batch script that calls Python without ``srun``, is no such process:
    there the trainer starts the processes itself.

    Args:
        auto_requeue: Whether the run saves its state and the job is put back into the queue when ``requeue_signal``
            comes (`sbatch --signal=USR1@90`).
        requeue_signal: Which signal announces the end of the job's time; by default SIGUSR1, where the system has it.

    Attributes:
        auto_requeue: As given.
        requeue_signal: The signal, or None.

    Raises:
        SlurmTasksError: Tasks were asked for with ``--ntasks`` and are not spread evenly over the machines.

    Example:
        >>> SLURMEnvironment.resolve_root_node_address("gpu-node[07-09,12],login1")
        'gpu-node07'
    """

    started_by = "SLURM"
    auto_requeue: bool
    requeue_signal: signal.Signals | None

    def __init__(self, auto_requeue: bool = True, requeue_signal: signal.Signals | None = None) -> None:  # noqa: FBT001, FBT002 -- the API we match
        self.auto_requeue = auto_requeue
        default: signal.Signals | None = getattr(signal, "SIGUSR1", None)
        self.requeue_signal = requeue_signal if requeue_signal is not None else default
        _check_spread()

    @property
    def main_address(self) -> str:
        address = os.environ.get("MASTER_ADDR")
        if address is None:
            nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "127.0.0.1")
            address = os.environ["MASTER_ADDR"] = self.resolve_root_node_address(nodes)
        return address

    @property
    def main_port(self) -> int:
        port = number_or("MASTER_PORT", None)
        if port is None:
            digits = re.findall(r"\d+", os.environ.get("SLURM_JOB_ID", ""))
            port = int(digits[-1][-4:]) + _FIRST_PORT if digits else _DEFAULT_PORT
            os.environ["MASTER_PORT"] = str(port)
        return port

    @staticmethod
    def detect() -> bool:
        """Whether this process is a task of a job step; warns where there is a ``srun`` that did not start it."""
        started = is_task_of_slurm()
        if not started and shutil.which("srun") is not None and os.environ.get("SLURM_JOB_NAME") not in _INTERACTIVE:
            line = " ".join(["srun", Path(sys.executable).name, *sys.argv])[:64]
            rank_zero_warn(
                "This machine has SLURM's `srun`, and this process was not started by it: the trainer starts the "
                f"processes itself, on this machine only. To use the job's tasks write `{line} …`.",
                category=PossibleUserWarning,
            )
        return started

    @staticmethod
    def job_name() -> str | None:
        """The job's name."""
        return os.environ.get("SLURM_JOB_NAME")

    @staticmethod
    def job_id() -> int | None:
        """The job's number; None in an interactive job, whose runs are many, and where there is none."""
        number = os.environ.get("SLURM_JOB_ID", "")
        return int(number) if number.isdecimal() and SLURMEnvironment.job_name() not in _INTERACTIVE else None

    def requeue(self) -> bool:
        """Put the job back into the queue, by ``scontrol requeue``; a job of an array by its place there.

        Returns:
            Whether SLURM took it; if not, a warning says why.
        """
        array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        job = os.environ.get("SLURM_JOB_ID", "") if array is None or task is None else f"{array}_{task}"
        try:
            done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        except OSError as error:
            problem = str(error)
        else:
            problem = done.stderr.strip() or f"exit status {done.returncode}" if done.returncode else ""
        if problem:
            rank_zero_warn(
                f"`scontrol requeue {job}` did not work: {problem}. The run's state is saved; expected the job to be "
                "put back into the queue: submit it again, or pass `SLURMEnvironment(auto_requeue=False)`."
            )
            return False
        rank_zero_info(f"The job {job} is back in the queue.")
        return True

    def world_size(self) -> int:
        return read_number("SLURM_NTASKS", self.started_by, _START)

    def global_rank(self) -> int:
        return read_number("SLURM_PROCID", self.started_by, _START)

    def local_rank(self) -> int:
        return read_number("SLURM_LOCALID", self.started_by, _START)

    def node_rank(self) -> int:
        return read_number("SLURM_NODEID", self.started_by, _START)

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Check devices and machines against the job's tasks.

        Raises:
            MisconfigurationValueError: They contradict each other.
        """
        if self.job_name() in _INTERACTIVE:
            return
        here = number_or("SLURM_NTASKS_PER_NODE", None)
        if here is not None and here != num_devices:
            raise MisconfigurationValueError(
                f"SLURM has started {here} tasks on each machine (`--ntasks-per-node={here}`), and "
                f"`devices={num_devices}` asks for {num_devices}. Expected as many: write `devices={here}`, or call "
                f"`srun --ntasks-per-node={num_devices}`. Each task has to see all of its machine's devices."
            )
        machines = number_or("SLURM_STEP_NUM_NODES", number_or("SLURM_NNODES", None))
        if machines is not None and machines != num_nodes:
            raise MisconfigurationValueError(
                f"SLURM has started tasks on {machines} machines (`--nodes={machines}`), and `num_nodes={num_nodes}` "
                f"asks for {num_nodes}. Expected as many: write `num_nodes={machines}`, or call `srun "
                f"--nodes={num_nodes}`."
            )
        tasks = self.world_size()
        if tasks != num_devices * num_nodes:
            raise MisconfigurationValueError(
                f"SLURM has started {tasks} tasks (`--ntasks={tasks}`), and `devices={num_devices}, "
                f"num_nodes={num_nodes}` ask for {num_devices * num_nodes}. Expected as many: call `srun "
                f"--nodes={num_nodes} --ntasks-per-node={num_devices}`."
            )
        _check_against_others("WORLD_SIZE", "SLURM_NTASKS")
        _check_against_others("RANK", "SLURM_PROCID")

    @staticmethod
    def resolve_root_node_address(nodes: str) -> str:
        """Return the first machine of a list as SLURM writes it.

        Args:
            nodes: Names, separated by commas or blanks; ``host[5-9,12]`` stands for several.
        """
        first = re.match(r"(?:[^\s,\[]|\[[^\]]*\])*", nodes.strip())
        return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first.group() if first is not None else nodes)


def is_task_of_slurm() -> bool:
    """Tell whether this process is a task that ``srun`` started, in a job that is not interactive."""
    if "SLURM_NTASKS" not in os.environ or os.environ.get("SLURM_JOB_NAME") in _INTERACTIVE:
        return False
    # A batch script sees the job's variables without being one of its tasks.
    in_batch_script = os.environ.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_ID" not in os.environ
    return not in_batch_script


def _check_spread() -> None:
    """With ``--ntasks`` alone SLURM spreads the tasks as it likes; where it was even all is well."""
    tasks = number_or("SLURM_NTASKS", 1) or 1
    if tasks <= 1 or "SLURM_NTASKS_PER_NODE" in os.environ:
        return
    spread = os.environ.get("SLURM_STEP_TASKS_PER_NODE") or os.environ.get("SLURM_TASKS_PER_NODE")
    if spread is not None and "," not in spread:
        return
    raise SlurmTasksError(
        f"SLURM was asked for `--ntasks={tasks}`, and spread the tasks over the machines as {spread or 'it liked'}. "
        f"Expected the same number on each machine: write `--ntasks-per-node={tasks}` (for one machine) instead."
    )


def _check_against_others(name: str, slurm: str) -> None:
    other, ours = number_or(name, None), number_or(slurm, None)
    if other is None or ours is None or other == ours:
        return
    raise MisconfigurationValueError(
        f"SLURM says {slurm}={ours}, and the environment variable {name} is {other}. Expected them to agree: unset "
        f"{name}, or start the processes by torchrun (`srun --ntasks-per-node=1 torchrun …`)."
    )
