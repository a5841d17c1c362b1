"""Strategies: how processes and devices work together.

Those with several processes are loaded when they are asked for: one device needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lt_loops.strategies.registry import StrategyRegistry as StrategyRegistry
from lt_loops.strategies.single_device import SingleDeviceStrategy as SingleDeviceStrategy
from lt_loops.strategies.strategy import Strategy as Strategy

if TYPE_CHECKING:
    from lt_loops.strategies.ddp import DDPStrategy as DDPStrategy
    from lt_loops.strategies.parallel import ParallelStrategy as ParallelStrategy

__all__ = ["DDPStrategy", "ParallelStrategy", "SingleDeviceStrategy", "Strategy", "StrategyRegistry"]

_HOMES = {"DDPStrategy": "lt_loops.strategies.ddp", "ParallelStrategy": "lt_loops.strategies.parallel"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
