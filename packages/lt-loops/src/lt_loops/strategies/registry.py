"""Strategies by name; other packages add theirs through the entry-point group ``lt.strategies``."""

from __future__ import annotations

from lt_loops.registry import Registry
from lt_loops.strategies.single_device import SingleDeviceStrategy
from lt_loops.strategies.strategy import Strategy  # noqa: TC001 -- the annotation of a module variable is evaluated

__all__ = ["StrategyRegistry"]

StrategyRegistry: Registry[Strategy] = Registry("strategy", "lt.strategies")
StrategyRegistry.register("single_device", SingleDeviceStrategy, description="One process on one device")
