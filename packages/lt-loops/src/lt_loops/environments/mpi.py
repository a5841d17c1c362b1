"""Processes that ``mpirun`` or ``mpiexec`` has started; asked through mpi4py, which is optional."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec
from typing import Any

from lt_core.errors import MissingPackageError
from lt_loops.environments.base import KnowsItsRanks
from lt_loops.environments.free_port import find_free_port

__all__ = ["MPIEnvironment", "mpi_size"]

# Of Open MPI; of MPICH, Intel MPI and others with Hydra; of MVAPICH.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


class MPIEnvironment(KnowsItsRanks):
    """Asks MPI for ranks and machines; rank 0 picks the port.

    Raises:
        MissingPackageError: mpi4py is not installed, or finds no MPI library.
    """

    started_by = "MPI"

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py found no MPI library
            raise MissingPackageError(
                f"`MPIEnvironment` asks MPI through mpi4py, which could not be imported: {error}. Expected it and an "
                "MPI library to be installed. Run `pip install mpi4py`."
            ) from error
        self._world: Any = MPI.COMM_WORLD
        hosts: list[str] = self._world.allgather(socket.gethostname())
        machines = list(dict.fromkeys(hosts))  # the machine of rank 0 is the first
        rank = self._world.Get_rank()
        self._node_rank = machines.index(hosts[rank])
        self._local_rank = hosts[:rank].count(hosts[rank])
        self._main_address = hosts[0]
        self._main_port: int = self._world.bcast(find_free_port() if rank == 0 else None, root=0)

    @property
    def main_address(self) -> str:
        return self._main_address

    @property
    def main_port(self) -> int:
        return self._main_port

    @staticmethod
    def detect() -> bool:
        """Whether MPI has started several processes; mpi4py, which starts MPI up, is imported only then."""
        if mpi_size() <= 1 or find_spec("mpi4py") is None:
            return False
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError):
            return False
        size: int = MPI.COMM_WORLD.Get_size()
        return size > 1

    def world_size(self) -> int:
        size: int = self._world.Get_size()
        return size

    def global_rank(self) -> int:
        rank: int = self._world.Get_rank()
        return rank

    def local_rank(self) -> int:
        return self._local_rank

    def node_rank(self) -> int:
        return self._node_rank


def mpi_size() -> int:
    """Return how many processes ``mpirun`` has started, by what it leaves in the environment; 1 where it did not."""
    found = [os.environ[name] for name in _SIZES if name in os.environ]
    return int(found[0]) if found and found[0].isdecimal() else 1
