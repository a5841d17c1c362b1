"""How a model is spread over devices, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops import SingleDeviceStrategy, Strategy
from lt_loops.strategies import DDPStrategy, ParallelStrategy, StrategyRegistry

__all__ = ["DDPStrategy", "ParallelStrategy", "SingleDeviceStrategy", "Strategy", "StrategyRegistry"]
