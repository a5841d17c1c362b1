"""What can be said about several processes before any of them starts: devices, notebooks, who starts them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import rank_zero_info, rank_zero_warn
from lt_loops.environments import detect_environment
from lt_loops.environments.topology import check_topology, name_of
from lt_loops.interactive import is_interactive

if TYPE_CHECKING:
    from lt_loops.strategies.parallel import ParallelStrategy

__all__ = ["check_parallel", "warn_of_processes_that_ignore_each_other"]


def check_parallel(strategy: ParallelStrategy) -> None:
    """Check a strategy with several processes, as far as one of them can.

    Raises:
        MisconfigurationException: Devices, machines, notebook and environment do not fit together.
    """
    devices = strategy.parallel_devices
    twice = sorted({str(device) for device in devices if device.type != "cpu" and devices.count(device) > 1})
    if twice:
        raise MisconfigurationException(
            f"`{type(strategy).__name__}(parallel_devices=…)` names {', '.join(twice)} more than once. Expected each "
            "device once: every process needs its own."
        )
    if devices[0].type == "mps":
        raise MisconfigurationException(
            f"`Trainer(strategy={strategy.strategy_name!r})` got the Apple GPU, of which a machine has one, and "
            "through which processes cannot exchange gradients. Expected one process: leave `strategy` out, or write "
            '`accelerator="cpu"`.'
        )
    environment = strategy.cluster_environment
    check_topology(environment, strategy.num_processes, strategy.num_nodes)
    if not environment.creates_processes_externally:
        _check_notebook(strategy)
        _tell_of_few_cores(len(devices) if devices[0].type == "cpu" else 0)


def _check_notebook(strategy: ParallelStrategy) -> None:
    if not is_interactive():
        return
    launcher = strategy.launcher
    if launcher is None or launcher.is_interactive_compatible:
        return
    raise MisconfigurationException(
        f"`Trainer(strategy={strategy.strategy_name!r})` would start the script again for each process, and in a "
        'notebook or console there is none. Expected one that forks: write `strategy="ddp_notebook"`, or leave '
        "`strategy` out."
    )


def _tell_of_few_cores(processes: int) -> None:
    cores = os.cpu_count() or 1
    if processes > cores:
        rank_zero_info(
            f"`devices={processes}` processes share the {cores} cores of this machine: more than `devices={cores}` are "
            "not faster."
        )


def warn_of_processes_that_ignore_each_other() -> None:
    """Warn where somebody has started several processes and the trainer was left to take one device in each."""
    environment = detect_environment()
    if not environment.creates_processes_externally or environment.world_size() <= 1:
        return
    size = environment.world_size()
    rank_zero_warn(
        f"{name_of(environment)} has started {size} processes, and each of them trains alone on one device, since "
        f"`devices` was left out. To train together write `devices={size}` (per machine); write `devices=1` if this is "
        "meant."
    )
