"""Hold what the trainer was told against what the environment says, whichever environment it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lt_core.errors import MisconfigurationValueError

if TYPE_CHECKING:
    from lt_loops.environments.base import ClusterEnvironment

__all__ = ["check_topology", "name_of"]


def check_topology(environment: ClusterEnvironment, num_devices: int, num_nodes: int) -> None:
    """Tell the environment what the trainer counts, and check that the numbers fit together.

    Args:
        environment: Who started the processes.
        num_devices: Devices on each machine, one for each process.
        num_nodes: Machines.

    Raises:
        MisconfigurationValueError: They do not.
    """
    environment.validate_settings(num_devices, num_nodes)
    local, node = environment.local_rank(), environment.node_rank()
    who = name_of(environment)
    if not 0 <= local < num_devices:
        raise MisconfigurationValueError(
            f"This process is number {local} on its machine (local rank, said by {who}), and `devices={num_devices}` "
            f"gives each machine {num_devices}. Expected a number below: write `devices={local + 1}` or more, or start "
            f"{num_devices} {'process' if num_devices == 1 else 'processes'} on each machine."
        )
    if not 0 <= node < num_nodes:
        raise MisconfigurationValueError(
            f"This is machine number {node} (node rank, said by {who}), and `num_nodes={num_nodes}` counts "
            f"{num_nodes}. Expected a number below: write `num_nodes={node + 1}` or more, or set NODE_RANK to fit."
        )
    world_size = num_devices * num_nodes
    environment.set_world_size(world_size)
    environment.set_global_rank(node * num_devices + local)
    told, rank = environment.world_size(), environment.global_rank()
    if told != world_size:
        raise MisconfigurationValueError(
            f"There are {told} processes (world size, said by {who}), and `devices={num_devices}, "
            f"num_nodes={num_nodes}` ask for {world_size}. Expected as many: change the arguments, or start "
            f"{world_size} processes."
        )
    if not 0 <= rank < world_size:
        raise MisconfigurationValueError(
            f"This process is number {rank} of all (global rank, said by {who}), and there are {world_size}. Expected "
            f"a number below: start {world_size} processes, numbered from 0."
        )
    if world_size > 1 and environment.creates_processes_externally:
        _ = environment.main_port  # what is no port is told here


def name_of(environment: ClusterEnvironment) -> str:
    """Return who starts the processes, in words: ``"torchrun"``; the class's name where it does not say."""
    return environment.started_by or type(environment).__name__
