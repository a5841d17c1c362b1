"""Processes that torchrun, or another user of torchelastic, has started."""

from __future__ import annotations

import os

import torch

from lt_core.errors import MisconfigurationValueError
from lt_core.rank_zero import rank_zero_warn
from lt_loops.environments.base import KnowsItsRanks
from lt_loops.environments.slurm import is_task_of_slurm
from lt_loops.environments.variables import number_or, read_number

__all__ = ["TorchElasticEnvironment"]

_DEFAULT_PORT = 12910
_START = "start the script by `torchrun --nproc-per-node=… script.py`"


class TorchElasticEnvironment(KnowsItsRanks):
    """Reads what torchrun sets: ``RANK``, ``LOCAL_RANK``, ``GROUP_RANK``, ``WORLD_SIZE`` and the address of the store.

    Example:
        >>> TorchElasticEnvironment.detect()
        False
    """

    started_by = "torchrun"

    @property
    def main_address(self) -> str:
        if "MASTER_ADDR" not in os.environ:
            rank_zero_warn("The environment variable MASTER_ADDR does not exist: this machine (127.0.0.1) is taken.")
            os.environ["MASTER_ADDR"] = "127.0.0.1"
        return os.environ["MASTER_ADDR"]

    @property
    def main_port(self) -> int:
        port = number_or("MASTER_PORT", None)
        if port is None:
            rank_zero_warn(f"The environment variable MASTER_PORT does not exist: {_DEFAULT_PORT} is taken.")
            os.environ["MASTER_PORT"] = str(_DEFAULT_PORT)
            port = _DEFAULT_PORT
        return port

    @staticmethod
    def detect() -> bool:
        return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()

    def world_size(self) -> int:
        return read_number("WORLD_SIZE", self.started_by, _START)

    def global_rank(self) -> int:
        return read_number("RANK", self.started_by, _START)

    def local_rank(self) -> int:
        return read_number("LOCAL_RANK", self.started_by, _START)

    def node_rank(self) -> int:
        return number_or("GROUP_RANK", 0) or 0

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Check devices and machines against torchrun's numbers, and those against SLURM's.

        Raises:
            MisconfigurationValueError: They contradict each other.
        """
        world_size = self.world_size()
        _check_against_slurm()
        here = number_or("LOCAL_WORLD_SIZE", None)
        if num_devices * num_nodes != world_size:
            machines = number_or("GROUP_WORLD_SIZE", None) or 1
            devices = here if here is not None else max(world_size // machines, 1)
            raise MisconfigurationValueError(
                f"torchrun has started {world_size} processes (WORLD_SIZE), and `devices={num_devices}, "
                f"num_nodes={num_nodes}` ask for {num_devices * num_nodes}. Expected as many: write "
                f"`devices={devices}, num_nodes={machines}`, or call `torchrun --nnodes={num_nodes} "
                f"--nproc-per-node={num_devices}`."
            )
        if here is not None and here != num_devices:
            raise MisconfigurationValueError(
                f"torchrun has started {here} processes on this machine (LOCAL_WORLD_SIZE), and "
                f"`devices={num_devices}` asks for {num_devices}. Expected as many: write `devices={here}, "
                f"num_nodes={max(world_size // here, 1)}`."
            )


def _check_against_slurm() -> None:
    """SLURM may start one torchrun on each machine; started once for each process, each would be a run of its own."""
    agents = number_or("GROUP_WORLD_SIZE", None)
    tasks = number_or("SLURM_NTASKS", None)
    if agents is None or tasks is None or not is_task_of_slurm() or agents == tasks:
        return
    raise MisconfigurationValueError(
        f"SLURM has started {tasks} tasks (SLURM_NTASKS), and the torchrun that started this process knows of {agents} "
        "like it (GROUP_WORLD_SIZE). Expected one torchrun for each task, all of the same run: call `srun "
        "--ntasks-per-node=1 torchrun --nnodes=…`, or `srun python script.py` without torchrun; where each task is a "
        "run of its own, unset SLURM_NTASKS."
    )
