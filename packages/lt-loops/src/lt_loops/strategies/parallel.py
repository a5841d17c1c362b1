"""Several processes: ranks, the process group, and the collectives that loops, callbacks and users call."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lt_core.errors import MisconfigurationValueError
from lt_core.rank_zero import rank_zero_only
from lt_loops.environments import ClusterEnvironment, detect_environment
from lt_loops.environments.topology import check_topology
from lt_loops.ranks.board import RankBoard
from lt_loops.ranks.exchange import ProcessGroupExchange
from lt_loops.strategies.checks import check_parallel
from lt_loops.strategies.preflight import preflight
from lt_loops.strategies.process_group import choose_backend, connect_store, join_process_group
from lt_loops.strategies.reduce_ops import reduce_op_of
from lt_loops.strategies.strategy import Strategy
from lt_loops.strategies.uneven import refuse_if_uneven

if TYPE_CHECKING:
    from lt_core.log import Exchange
    from lt_loops.accelerators import Accelerator
    from lt_loops.checkpoint_io import CheckpointIO
    from lt_loops.precision import Precision

__all__ = ["ParallelStrategy"]

_FOREVER = timedelta(days=3650)


class ParallelStrategy(Strategy):
    """Base of the strategies with one process for each device.

    Args:
        accelerator: The kind of device; a trainer fills it in when left out.
        parallel_devices: This machine's devices, one for each process; a trainer fills them in when left out.
        cluster_environment: Who started the processes; found out when left out.
        checkpoint_io: Reads and writes checkpoint files.
        precision_plugin: The arithmetic.
        process_group_backend: ``"nccl"``, ``"gloo"``, …; by default the one that fits the device.
        timeout: How long a process may wait for the others before the run counts as stalled.

    Attributes:
        parallel_devices: This machine's devices.
        timeout: How long a process may wait for the others.
    """

    parallel_devices: list[torch.device]
    timeout: timedelta

    def __init__(
        self,
        accelerator: Accelerator | None = None,
        parallel_devices: list[torch.device] | None = None,
        cluster_environment: ClusterEnvironment | None = None,
        checkpoint_io: CheckpointIO | None = None,
        precision_plugin: Precision | None = None,
        process_group_backend: str | None = None,
        timeout: timedelta | None = None,
    ) -> None:
        super().__init__(accelerator, checkpoint_io, precision_plugin)
        self.parallel_devices = list(parallel_devices) if parallel_devices is not None else [torch.device("cpu")]
        self._was_given_devices = parallel_devices is not None
        self.timeout = timeout if timeout is not None else timedelta(minutes=30)
        self._cluster_environment = cluster_environment
        self._backend = process_group_backend
        self._store: dist.Store | None = None
        self._waits = 0

    # -- ranks and devices

    @property
    def cluster_environment(self) -> ClusterEnvironment:
        """Who started the processes."""
        if self._cluster_environment is None:
            self._cluster_environment = detect_environment()
        return self._cluster_environment

    @cluster_environment.setter
    def cluster_environment(self, environment: ClusterEnvironment) -> None:
        self._cluster_environment = environment

    @property
    def has_devices(self) -> bool:
        """Whether it was made with devices of its own."""
        return self._was_given_devices

    def use_devices(self, devices: list[torch.device]) -> None:
        """Take this machine's devices, one for each process.

        Raises:
            MisconfigurationValueError: It was made with others.
        """
        if self._was_given_devices and devices != self.parallel_devices:
            raise MisconfigurationValueError(
                f"`Trainer(devices=…)` means {[str(device) for device in devices]}, and its strategy was made with "
                f"`parallel_devices={[str(device) for device in self.parallel_devices]}`. Expected one of them: leave "
                "`devices` out."
            )
        self.parallel_devices = list(devices)

    @property
    def num_processes(self) -> int:
        """How many processes run on this machine."""
        return len(self.parallel_devices)

    @property
    def process_group_backend(self) -> str:
        """The process group's backend."""
        return choose_backend(self._backend, self.parallel_devices[0])

    @property
    def root_device(self) -> torch.device:
        """The device of this process."""
        return self.parallel_devices[min(self.local_rank, self.num_processes - 1)]

    @property
    def global_rank(self) -> int:
        """The number of this process among all."""
        environment = self.cluster_environment  # a scheduler may number processes its own way, and ignores this
        environment.set_global_rank(environment.node_rank() * self.num_processes + environment.local_rank())
        return environment.global_rank()

    @property
    def local_rank(self) -> int:
        """The number of this process on its machine."""
        return self.cluster_environment.local_rank()

    @property
    def node_rank(self) -> int:
        """The number of this machine."""
        return self.cluster_environment.node_rank()

    @property
    def world_size(self) -> int:
        """How many processes there are in all."""
        return self.num_nodes * self.num_processes

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """What a distributed sampler is made with."""
        return {"num_replicas": self.world_size, "rank": self.global_rank}

    @property
    def exchange(self) -> Exchange | None:
        """Combines logged values of all ranks; None where there is one."""
        return ProcessGroupExchange(self) if self.world_size > 1 else None

    def check(self, *, chosen_freely: bool) -> None:
        """Check devices, machines, notebook and environment against each other."""
        check_parallel(self)

    # -- a run

    def setup_environment(self) -> None:
        """Join the process group, unless that was done by an earlier run."""
        super().setup_environment()
        if self._store is not None:
            return
        environment = self.cluster_environment
        check_topology(environment, self.num_processes, self.num_nodes)
        rank_zero_only.rank = self.global_rank
        self._store = store = connect_store(environment, self.timeout)
        if not dist.is_initialized():
            preflight(self, store)
            join_process_group(store, environment, self.process_group_backend, self.timeout)
        self._make_board()

    def _make_board(self) -> None:
        """Share memory with the other processes of this machine, where all processes are on this one."""
        if self.num_nodes > 1 or self.world_size == 1:
            return
        path = os.environ.get("LT_RANK_BOARD")
        if path is None:
            path = cast("str", self.broadcast(RankBoard.create(self.num_processes) if self.local_rank == 0 else None))
            self.board = RankBoard(path, self.local_rank)
            self.barrier("board")
            if self.local_rank == 0:
                os.remove(path)  # the memory lives as long as somebody holds it
        else:
            self.board = RankBoard(path, self.local_rank)

    # -- collectives

    def barrier(self, name: str | None = None) -> None:
        """Wait for all processes; ``prepare_data`` may take as long as it likes."""
        refuse_if_uneven("barrier", self.uneven_batches)
        if not dist.is_initialized():
            return
        if name == "prepare_data":
            self._wait_without_limit(name)
        elif self.root_device.type == "cuda":
            dist.barrier(device_ids=[self.root_device.index or 0])
        else:
            dist.barrier()

    def _wait_without_limit(self, name: str) -> None:
        store = self._store
        if store is None:
            return
        self._waits += 1
        key = f"{name}/{self._waits}"
        store.set(f"{key}/{self.global_rank}", "here")
        store.wait([f"{key}/{rank}" for rank in range(self.world_size)], _FOREVER)

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return the object of process ``src`` on every process; it is pickled."""
        refuse_if_uneven("broadcast", self.uneven_batches)
        if not dist.is_initialized():
            return obj
        objects = [obj if self.global_rank == src else None]
        dist.broadcast_object_list(objects, src, device=self._collective_device)
        return objects[0]

    def gather_objects(self, obj: Any) -> list[Any]:
        """Return the objects of all processes, in the order of ranks; they are pickled."""
        refuse_if_uneven("gather_objects", self.uneven_batches)
        if not dist.is_initialized():
            return [obj]
        objects: list[Any] = [None] * self.world_size
        dist.all_gather_object(objects, obj)
        return objects

    @property
    def _collective_device(self) -> torch.device:
        return self.root_device if self.process_group_backend == "nccl" else torch.device("cpu")

    def all_gather(self, tensor: Tensor, group: Any = None, *, sync_grads: bool = False) -> Tensor:
        """Return the tensors ``[…]`` of all processes as ``[world_size, …]``."""
        refuse_if_uneven("all_gather", self.uneven_batches)
        if not dist.is_initialized():
            return tensor
        tensor = tensor.contiguous()
        if sync_grads:
            from torch.distributed.nn.functional import all_gather

            return torch.stack(all_gather(tensor, group if group is not None else dist.group.WORLD))
        gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
        dist.all_gather(gathered, tensor.detach(), group=group)
        return torch.stack(gathered)

    def reduce(self, tensor: Any, group: Any = None, reduce_op: str | None = "mean") -> Any:
        """Combine a tensor over processes; anything else is returned unchanged.

        Args:
            tensor: ``[…]``; it is not changed.
            group: The process group; by default all processes.
            reduce_op: ``"mean"`` (also ``"avg"`` or None), ``"sum"``, ``"min"``, ``"max"``, ``"product"`` or a
                `torch.distributed.ReduceOp`.
        """
        refuse_if_uneven("reduce", self.uneven_batches)
        if not isinstance(tensor, Tensor) or not dist.is_initialized():
            return tensor
        operation, averages = reduce_op_of(reduce_op)
        result = tensor.detach().clone()
        if averages and not (result.is_floating_point() or result.is_complex()):
            result = result.to(torch.get_default_dtype())
        dist.all_reduce(result, op=operation, group=group)
        return result / dist.get_world_size(group) if averages else result

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:  # noqa: A002, FBT001, FBT002 -- API
        """Agree on a decision: ``all`` processes must want it, or any."""
        refuse_if_uneven("reduce_boolean_decision", self.uneven_batches)
        if not dist.is_initialized():
            return decision
        votes = torch.tensor(int(decision), device=self._collective_device)
        dist.all_reduce(votes)
        return int(votes) == self.world_size if all else int(votes) > 0

    def combine_gradients(self, module: nn.Module) -> None:
        """Average the gradients over ranks, after backward passes within `no_sync` that nothing has followed."""
        for parameter in module.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.world_size
