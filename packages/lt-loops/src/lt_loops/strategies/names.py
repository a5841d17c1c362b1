"""From what the user wrote as ``strategy=`` to a strategy: registered names, and names of earlier versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_loops.strategies.registry import StrategyRegistry

if TYPE_CHECKING:
    from lt_loops.strategies.strategy import Strategy

__all__ = ["strategy_of_name"]

_SHARDED_OPTIMIZER = (
    'write `strategy="ddp"`, and wrap the optimizer in `torch.distributed.optim.ZeroRedundancyOptimizer` to shard its '
    "state"
)
_DDP = 'write `strategy="ddp"`'
# Strategies that Lightning had before 2.0.
_REMOVED = {
    "bagua": _DDP,
    "collaborative": _DDP,
    "colossalai": _DDP,
    "ddp2": 'write `strategy="ddp"`, with one process for each device',
    "ddp_cpu": 'write `accelerator="cpu", strategy="ddp_spawn"`',
    "ddp_fully_sharded": _SHARDED_OPTIMIZER,
    "ddp_sharded": _SHARDED_OPTIMIZER,
    "ddp_sharded_find_unused_parameters_false": _SHARDED_OPTIMIZER,
    "ddp_sharded_spawn": _SHARDED_OPTIMIZER,
    "ddp_sharded_spawn_find_unused_parameters_false": _SHARDED_OPTIMIZER,
    "dp": 'write `strategy="ddp"`, or `"ddp_notebook"` in a notebook; each process gets batches of its own',
    "fsdp_native": _SHARDED_OPTIMIZER,
    "hivemind": _DDP,
    "horovod": 'write `strategy="ddp"`, and start the script by `torchrun` or `mpirun`',
    "hpu_parallel": _DDP,
    "hpu_single": 'write `strategy="single_device"`',
    "ipu_strategy": _DDP,
}


def strategy_of_name(name: Any) -> Strategy:
    """Return a new strategy of a name.

    Args:
        name: A registered name, in any case.

    Raises:
        MisconfigurationValueError: There is none of this name, or not any more.
        MisconfigurationTypeError: It is no name.

    Example:
        >>> strategy_of_name("DDP_spawn").strategy_name
        'ddp_spawn'
    """
    if isinstance(name, type):
        raise MisconfigurationTypeError(
            f"`Trainer(strategy={name.__name__})` is a class. Expected a name or an instance: write "
            f"`strategy={name.__name__}()`."
        )
    if not isinstance(name, str):
        raise MisconfigurationTypeError(
            f"`Trainer(strategy={name!r})` is a {type(name).__name__}. Expected a name or a `Strategy`: write "
            '`strategy="auto"`.'
        )
    if name in StrategyRegistry:
        return StrategyRegistry.get(name)
    lower = name.lower()
    if lower in _REMOVED and lower not in StrategyRegistry:
        raise MisconfigurationValueError(
            f"`Trainer(strategy={name!r})` names a strategy that was removed in Lightning 2.0. Expected one of "
            f"{', '.join(StrategyRegistry.available())}: {_REMOVED[lower]}."
        )
    return StrategyRegistry.get(lower)
