"""Strategies: how processes and devices work together."""

from lt_loops.strategies.ddp import DDPStrategy as DDPStrategy
from lt_loops.strategies.parallel import ParallelStrategy as ParallelStrategy
from lt_loops.strategies.registry import StrategyRegistry as StrategyRegistry
from lt_loops.strategies.single_device import SingleDeviceStrategy as SingleDeviceStrategy
from lt_loops.strategies.strategy import Strategy as Strategy

__all__ = ["DDPStrategy", "ParallelStrategy", "SingleDeviceStrategy", "Strategy", "StrategyRegistry"]
