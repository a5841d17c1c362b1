"""How logged values travel between the processes of a process group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from lt_loops.strategies.strategy import Strategy

__all__ = ["ProcessGroupExchange"]


class ProcessGroupExchange:
    """The collectives behind logged values; see `lt_core.log.Exchange`.

    Args:
        strategy: Whose processes.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    @property
    def rank(self) -> int:
        """The number of this process among all."""
        return self._strategy.global_rank

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self._strategy.world_size

    def gather_numbers(self, numbers: Sequence[float]) -> list[list[float]]:
        """Return the rows of all ranks in their order, with one collective; the rows are equally long."""
        if not dist.is_initialized():
            return [list(numbers)]
        row = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        rows = torch.empty((self.world_size, len(numbers)), dtype=torch.float64, device=self._device)
        dist.all_gather(list(rows.unbind(0)), row)
        gathered: list[list[float]] = rows.tolist()
        return gathered

    def gather_objects(self, obj: Any) -> list[Any]:
        """Return the objects of all ranks, in their order; they are pickled."""
        return self._strategy.gather_objects(obj)

    def members(self, group: Any) -> tuple[int, ...]:
        """Return the ranks of a process group."""
        return tuple(dist.get_process_group_ranks(group))

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if dist.get_backend() == dist.Backend.GLOO else self._strategy.root_device
