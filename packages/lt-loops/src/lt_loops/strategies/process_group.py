"""Meeting the other processes: the store where they exchange first words, and torch's process group."""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from lt_core.errors import MisconfigurationException

if TYPE_CHECKING:
    from datetime import timedelta

    from lt_loops.environments import ClusterEnvironment

__all__ = ["choose_backend", "connect_store", "join_process_group"]

_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE"


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
        timeout: How long to try to connect, and how long each later wait may take.
    """
    hosted = os.environ.get(_AGENT_STORE) == "True"
    store = dist.TCPStore(
        environment.main_address,
        environment.main_port,
        None,
        is_master=environment.global_rank() == 0 and not hosted,
        timeout=timeout,
        wait_for_workers=False,
    )
    # After a restart by torchelastic the store is the same: each attempt has names of its own.
    return dist.PrefixStore(f"lt/attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


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
