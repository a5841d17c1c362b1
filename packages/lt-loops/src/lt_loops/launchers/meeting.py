"""Where the ranks meet: the launching process hosts the store, on a port that the kernel picks.

A port that is looked for first and bound later may be taken in between; this one is bound when its number is told.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch.distributed as dist

from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import rank_zero_info

if TYPE_CHECKING:
    from lt_loops.launchers.job import Job
    from lt_loops.strategies.parallel import ParallelStrategy

__all__ = ["Meeting", "threads_per_rank"]

_LOOPBACK = "127.0.0.1"


class Meeting:
    """The store of a run, and what each rank's environment says about it.

    Args:
        strategy: Knows how many ranks there are, and the address where there are several machines.
        job: The job on this machine.
    """

    def __init__(self, strategy: ParallelStrategy, job: Job) -> None:
        self._job = job
        self._node_rank = strategy.node_rank
        self._world_size = strategy.num_nodes * strategy.num_processes
        self._is_alone = strategy.num_nodes == 1
        environment = strategy.cluster_environment
        self._address = _LOOPBACK if self._is_alone else environment.main_address
        self._port = 0 if self._is_alone else environment.main_port
        self._store: dist.TCPStore | None = None

    def open(self) -> int:
        """Host the store, where this machine is the one that does.

        A process must not be forked afterwards: the store's thread may hold a lock at that moment, for ever.

        Returns:
            The port.

        Raises:
            MisconfigurationException: With several machines, the port that was agreed on cannot be bound.
        """
        if self._node_rank == 0:
            try:
                self._store = dist.TCPStore(self._address, self._port, None, is_master=True, wait_for_workers=False)
            except RuntimeError as error:
                raise MisconfigurationException(
                    f"The port MASTER_PORT={self._port} of this machine cannot be bound ({error}). Expected a free one "
                    "on which all machines meet: set MASTER_PORT to another number, on all machines."
                ) from error
            self._port = int(self._store.port)
        return self._port

    def environment(self, rank: int, threads: str | None) -> dict[str, str]:
        """Return the variables of a rank of this machine.

        Args:
            rank: Its number on this machine.
            threads: ``OMP_NUM_THREADS``, None to leave it as it is.
        """
        variables = {
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(self._job.num_ranks),
            "NODE_RANK": str(self._node_rank),
            "WORLD_SIZE": str(self._world_size),
            "MASTER_ADDR": self._address,
            "MASTER_PORT": str(self._port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            **self._job.environment(),
        }
        if self._world_size != self._job.num_ranks:
            del variables["LT_RANK_BOARD"]  # ranks of other machines cannot see it
        if threads is not None:
            variables["OMP_NUM_THREADS"] = threads
        return variables


def threads_per_rank(num_ranks: int, *, forked: bool = False) -> str | None:
    """Return how many threads each rank shall compute with, None where the user has said it or there is one rank.

    Each process would otherwise take all cores, and together they would take each other's.

    Args:
        num_ranks: How many ranks there are on this machine.
        forked: Whether they are copies of this process, in which OpenMP may have threads already: a copy has none of
            them and can compute with one thread only.
    """
    if forked:
        rank_zero_info(
            f"Each of {num_ranks} ranks computes with one thread on the CPU, as a copy of this process must; "
            '`strategy="ddp_spawn"` uses all cores.'
        )
        return "1"
    if num_ranks == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // num_ranks)
    rank_zero_info(
        f"Each of {num_ranks} ranks computes with {threads} of {cores} cores (OMP_NUM_THREADS={threads}); set "
        "OMP_NUM_THREADS to choose otherwise."
    )
    return str(threads)
