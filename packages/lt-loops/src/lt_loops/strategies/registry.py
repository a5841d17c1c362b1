"""Strategies by name; other packages add theirs through the entry-point group ``lt.strategies``."""

from __future__ import annotations

from typing import Any

from lt_loops.registry import Registry
from lt_loops.strategies.single_device import SingleDeviceStrategy
from lt_loops.strategies.strategy import Strategy  # noqa: TC001 -- the annotation of a module variable is evaluated

__all__ = ["StrategyRegistry"]

StrategyRegistry: Registry[Strategy] = Registry("strategy", "lt.strategies")
StrategyRegistry.register("single_device", SingleDeviceStrategy, description="One process on one device")


def _ddp(**arguments: Any) -> Strategy:
    from lt_loops.strategies.ddp import DDPStrategy  # with all that several processes need

    return DDPStrategy(**arguments)


for _name, _method in (("ddp", "popen"), ("ddp_spawn", "spawn"), ("ddp_fork", "fork"), ("ddp_notebook", "fork")):
    StrategyRegistry.register(_name, _ddp, f"One process per device, started by {_method}", start_method=_method)
    for _search in (False, True):
        StrategyRegistry.register(
            f"{_name}_find_unused_parameters_{str(_search).lower()}",
            _ddp,
            f"{_name}, {'with' if _search else 'without'} a search for parameters that take no part in the loss",
            start_method=_method,
            find_unused_parameters=_search,
        )
