"""Meeting the other processes: the store where they exchange first words, and torch's process group."""

from __future__ import annotations

import atexit
import itertools
import os
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from lt_core.errors import MisconfigurationException
from lt_loops.ranks.meet import open_store, seconds_to_start

if TYPE_CHECKING:
    from datetime import timedelta

    from lt_loops.environments import ClusterEnvironment

__all__ = ["choose_backend", "connect_store", "join_process_group"]

_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"
_meetings = itertools.count()


def choose_backend(given: str | None, device: torch.device) -> str:
    """Return the process group's backend: the one asked for, else NCCL for GPUs and gloo for the CPU."""
    if given is not None:
        return given
    return "nccl" if device.type == "cuda" else "gloo"


def connect_store(environment: ClusterEnvironment, timeout: timedelta) -> dist.Store:
    """Return the store that all processes share.

    Rank 0 hosts it, unless the launcher does (torchrun's agent and our own launchers say so in the environment). It
    does not wait for the others: a process that counts the world differently is found by talking, not by a hang.

    Args:
        environment: Knows the address and this process's number.
        timeout: How long to try to connect at most; see `seconds_to_start`.

    Raises:
        HandshakeError: Nobody answers in time, or the port is in use.
    """
    hosted = os.environ.get(_AGENT_STORE) == "True"
    rank = environment.global_rank()
    store = open_store(
        environment.main_address,
        environment.main_port,
        seconds_to_start(timeout),
        rank=rank,
        hosts=rank == 0 and not hosted,
    )
    # The store is the same after a restart by torchelastic, and for each trainer of a script: names of their own.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"lt/attempt_{attempt}/meeting_{next(_meetings)}", store)


def join_process_group(store: dist.Store, environment: ClusterEnvironment, backend: str, timeout: timedelta) -> None:
    """Join torch's process group; it lives until the process ends.

    Raises:
        MisconfigurationException: torch was built without the backend.
    """
    name = backend.rsplit(":", maxsplit=1)[-1]
    available = {"nccl": dist.is_nccl_available, "gloo": dist.is_gloo_available, "mpi": dist.is_mpi_available}
    if name in available and not available[name]():
        raise MisconfigurationException(
            f"The process group's backend {backend!r} is not in this build of torch. Expected one of "
            f"{[each for each, there in available.items() if there()]}: pass `process_group_backend=…` to the strategy."
        )
    dist.init_process_group(
        backend,
        store=dist.PrefixStore("group", store),
        rank=environment.global_rank(),
        world_size=environment.world_size(),
        timeout=timeout,
    )
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
