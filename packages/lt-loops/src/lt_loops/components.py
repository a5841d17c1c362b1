"""From the Trainer's arguments to a strategy with its accelerator, precision and checkpoint files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lt_core.errors import MisconfigurationException, MisconfigurationValueError
from lt_loops.accelerators import resolve_accelerator, resolve_devices
from lt_loops.checkpoint_io import CheckpointIO
from lt_loops.environments.base import ClusterEnvironment
from lt_loops.interactive import is_interactive
from lt_loops.precision import Precision, resolve_precision
from lt_loops.strategies import SingleDeviceStrategy, Strategy
from lt_loops.strategies.layer_sync import LayerSync
from lt_loops.strategies.names import strategy_of_name

__all__ = ["resolve_components"]


def resolve_components(
    accelerator: Any, strategy: Any, devices: Any, precision: Any, plugins: Any, num_nodes: int = 1
) -> Strategy:
    """Return the strategy that these arguments of the Trainer mean.

    Args:
        accelerator: A name or an accelerator.
        strategy: A name or a strategy.
        devices: How many devices, or which.
        precision: A name, or None.
        plugins: A plugin or several.
        num_nodes: How many machines.

    Raises:
        MisconfigurationException: Arguments contradict each other, or ask for what there is not.
    """
    precisions, checkpoint_ios, environments, layer_syncs = _sort_plugins(plugins)
    num_nodes = num_nodes if isinstance(num_nodes, int) and num_nodes > 0 else 1  # what is no number is told elsewhere
    if precisions and precision is not None:
        raise MisconfigurationValueError(
            f"`Trainer(precision={precision!r}, plugins=[{precisions[0]!r}])` sets the precision twice. Expected one "
            "of them."
        )
    if isinstance(strategy, Strategy):
        resolved = _complete(strategy, accelerator, devices)
    else:
        resolved = _choose(strategy, accelerator, devices, num_nodes)
    resolved.num_nodes = num_nodes
    if environments:
        resolved.cluster_environment = environments[0]
    if layer_syncs:
        _take_layer_sync(resolved, layer_syncs[0])
    resolved.check(chosen_freely=strategy == "auto" and devices == "auto")
    if precisions:
        resolved.precision_plugin = precisions[0]
    elif precision is not None or not isinstance(strategy, Strategy):
        resolved.precision_plugin = resolve_precision(precision, resolved.root_device.type)
    if checkpoint_ios:
        resolved.checkpoint_io = checkpoint_ios[0]
    return resolved


def _complete(strategy: Strategy, accelerator: Any, devices: Any) -> Strategy:
    """Give a strategy object the accelerator and devices that it does not have."""
    chosen = resolve_accelerator(accelerator) if strategy.accelerator is None or accelerator != "auto" else None
    if strategy.accelerator is None:
        strategy.accelerator = chosen
    elif chosen is not None and type(chosen) is not type(strategy.accelerator):
        raise MisconfigurationValueError(
            f"`Trainer(accelerator={accelerator!r})` contradicts its strategy, which has "
            f"{type(strategy.accelerator).__name__}. Expected one of them: leave `accelerator` out."
        )
    if strategy.accelerator is None or (devices == "auto" and strategy.has_devices):
        return strategy
    found = resolve_devices(strategy.accelerator, devices)
    strategy.use_devices(found)
    return strategy


def _choose(strategy: Any, accelerator: Any, devices: Any, num_nodes: int) -> Strategy:
    """Make the strategy of a name, or the one that fits the devices."""
    chosen = resolve_accelerator(accelerator)
    found = resolve_devices(chosen, devices)
    if strategy == "auto" and len(found) == 1 and num_nodes == 1:
        return SingleDeviceStrategy(found[0], accelerator=chosen)
    name = strategy
    if strategy == "auto":
        name = "ddp_notebook" if is_interactive() else "ddp"
    resolved = strategy_of_name(name)
    resolved.accelerator = chosen
    resolved.use_devices(found)
    return resolved


def _environment_of_name(name: str) -> ClusterEnvironment:
    from lt_loops.environments import EnvironmentRegistry

    return EnvironmentRegistry.get(name)


def _take_layer_sync(strategy: Strategy, layer_sync: LayerSync) -> None:
    if not strategy.takes_layer_sync:
        raise MisconfigurationValueError(
            f"`Trainer(plugins=[{layer_sync!r}])` got layers that see the batches of all processes, and the strategy "
            f'`{type(strategy).__name__}` does not put them in. Expected one that does: pass `strategy="ddp"`.'
        )
    strategy.layer_sync = layer_sync


def _sort_plugins(
    plugins: Any,
) -> tuple[list[Precision], list[CheckpointIO], list[ClusterEnvironment], list[LayerSync]]:
    several = isinstance(plugins, Iterable) and not isinstance(plugins, str)
    given = [] if plugins is None else list(plugins) if several else [plugins]
    listed = [_environment_of_name(plugin) if isinstance(plugin, str) else plugin for plugin in given]
    precisions = [plugin for plugin in listed if isinstance(plugin, Precision)]
    checkpoint_ios = [plugin for plugin in listed if isinstance(plugin, CheckpointIO)]
    environments = [plugin for plugin in listed if isinstance(plugin, ClusterEnvironment)]
    layer_syncs = [plugin for plugin in listed if isinstance(plugin, LayerSync)]
    for plugin in listed:
        if not isinstance(plugin, (Precision, CheckpointIO, ClusterEnvironment, LayerSync)):
            raise MisconfigurationException(
                f"`Trainer(plugins=…)` got {plugin!r}, a {type(plugin).__name__}. Expected a `Precision`, a "
                "`CheckpointIO`, a `ClusterEnvironment` (or its name) or a `LayerSync`."
            )
    for kind in (precisions, checkpoint_ios, environments, layer_syncs):
        if len(kind) > 1:
            raise MisconfigurationException(
                f"`Trainer(plugins=…)` got several plugins of a kind: {kind}. Expected one at most."
            )
    return precisions, checkpoint_ios, environments, layer_syncs
