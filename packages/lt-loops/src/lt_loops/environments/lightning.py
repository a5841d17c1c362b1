"""Processes that the trainer starts itself, or that a user started with the same variables."""

from __future__ import annotations

import os

from lt_core.errors import MisconfigurationValueError, MissingPackageError
from lt_loops.environments.base import ClusterEnvironment
from lt_loops.environments.free_port import find_free_port
from lt_loops.environments.mpi import mpi_size
from lt_loops.environments.variables import number_or

__all__ = ["LightningEnvironment"]

_LAUNCHED = "LT_LAUNCH_PID"  # our launchers leave it in the processes that they start


class LightningEnvironment(ClusterEnvironment):
    """Reads ``LOCAL_RANK``, ``NODE_RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``.

    A process with ``LOCAL_RANK`` was started by somebody else: by the trainer's own launcher, or by the user. On
    several machines without a scheduler, start the script once on each with ``NODE_RANK``, ``MASTER_ADDR`` and
    ``MASTER_PORT``; the trainer starts the machine's other processes.

    Example:
        >>> LightningEnvironment().main_address
        '127.0.0.1'
    """

    def __init__(self) -> None:
        self._global_rank = 0
        self._world_size = 1
        self._port: int | None = None

    @property
    def started_by(self) -> str:  # type: ignore[override]
        """The trainer, or whoever set ``LOCAL_RANK``."""
        return "LOCAL_RANK" if self.creates_processes_externally and _LAUNCHED not in os.environ else "the trainer"

    @property
    def creates_processes_externally(self) -> bool:
        return "LOCAL_RANK" in os.environ

    @property
    def main_address(self) -> str:
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """``MASTER_PORT``; where that is not set, a free port, which stays the same from then on."""
        port = number_or("MASTER_PORT", self._port)
        if port is None:
            port = self._port = find_free_port()
        return port

    @staticmethod
    def detect() -> bool:
        return True

    def world_size(self) -> int:
        return self._world_size

    def set_world_size(self, size: int) -> None:
        self._world_size = size

    def global_rank(self) -> int:
        return self._global_rank

    def set_global_rank(self, rank: int) -> None:
        self._global_rank = rank

    def local_rank(self) -> int:
        return number_or("LOCAL_RANK", 0) or 0

    def node_rank(self) -> int:
        return number_or("NODE_RANK", number_or("GROUP_RANK", 0)) or 0

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Check devices and machines against the variables that exist.

        Raises:
            MisconfigurationValueError: They contradict each other, or do not say enough.
            MissingPackageError: MPI started this process, and mpi4py is not there to ask it.
        """
        world_size = num_devices * num_nodes
        if not self.creates_processes_externally:
            _check_nobody_else_started(world_size, num_nodes)
        else:
            self._check_started(num_devices, world_size)
        if num_nodes > 1:
            _check_machines(num_nodes)

    def teardown(self) -> None:
        """Forget the port: the next run meets on another one."""
        self._port = None

    def _check_started(self, num_devices: int, world_size: int) -> None:
        """Somebody gave this process its number: then the other variables have to fit."""
        rank, given = number_or("RANK", None), number_or("WORLD_SIZE", None)
        if rank is not None and given is None:
            raise MisconfigurationValueError(
                f"The environment variable RANK is {rank}, and WORLD_SIZE does not exist. Expected both or none: set "
                f"WORLD_SIZE={world_size}, or unset RANK."
            )
        if given is not None and given != world_size:
            raise MisconfigurationValueError(
                f"The environment variable WORLD_SIZE is {given}, and `devices={num_devices}, "
                f"num_nodes={world_size // num_devices}` ask for {world_size} processes. Expected as many: change the "
                "arguments, or set WORLD_SIZE (and LOCAL_RANK of each process) to fit."
            )
        counted = self.node_rank() * num_devices + self.local_rank()
        if rank is not None and rank != counted:
            raise MisconfigurationValueError(
                f"The environment variable RANK is {rank}; with {num_devices} processes on each machine, NODE_RANK="
                f"{self.node_rank()} and LOCAL_RANK={self.local_rank()} it should be {counted}. Expected them to "
                "agree: unset RANK, or set NODE_RANK and LOCAL_RANK to fit."
            )
        if world_size > 1 and number_or("MASTER_PORT", None) is None:
            raise MisconfigurationValueError(
                f"The environment variable LOCAL_RANK is {self.local_rank()}: this process was started by somebody "
                "else, and MASTER_PORT, where it would meet the others, does not exist. Expected the same free port "
                "for all: set MASTER_PORT=29500, or unset LOCAL_RANK and let the trainer start the processes."
            )


def _check_nobody_else_started(world_size: int, num_nodes: int) -> None:
    started = mpi_size()
    if started > 1:
        raise MissingPackageError(
            f"`mpirun` has started {started} processes, and mpi4py, which knows their ranks, cannot be imported. "
            "Expected it to be installed. Run `pip install mpi4py`."
        )
    rank, given = number_or("RANK", None), number_or("WORLD_SIZE", None)
    if rank is not None and given is None:
        raise MisconfigurationValueError(
            f"The environment variable RANK is {rank}, and neither WORLD_SIZE nor LOCAL_RANK exists. Expected all of "
            "them or none: unset RANK to let the trainer start the processes, or start them by torchrun."
        )
    if given is None or given in (world_size, num_nodes):  # some schedulers count machines
        return
    who = f"RANK={rank} and WORLD_SIZE={given} say" if rank is not None else f"WORLD_SIZE={given} says"
    raise MisconfigurationValueError(
        f"The environment variables {who} that there are {given} processes, LOCAL_RANK does not exist, and the trainer "
        f"would start {world_size}. Expected somebody to start them all: start the script by torchrun, pass "
        f"`plugins=[KubeflowEnvironment()]` for one process on each of {given} machines, or unset WORLD_SIZE and RANK."
    )


def _check_machines(num_nodes: int) -> None:
    node = number_or("NODE_RANK", number_or("GROUP_RANK", None))
    missing = [
        name
        for name, there in (
            ("NODE_RANK", node is not None),
            ("MASTER_ADDR", "MASTER_ADDR" in os.environ or node == 0),
            ("MASTER_PORT", "MASTER_PORT" in os.environ),
        )
        if not there
    ]
    if missing:
        raise MisconfigurationValueError(
            f"`num_nodes={num_nodes}` asks for several machines, no cluster has started this process, and "
            f"{' and '.join(missing)} of the environment {'does' if len(missing) == 1 else 'do'} not exist. Expected "
            "to be told which machine this is and where to meet: start the script on each by `torchrun "
            f"--nnodes={num_nodes}` or `srun`, set NODE_RANK, MASTER_ADDR and MASTER_PORT, or leave `num_nodes` out."
        )
