"""A logged torchmetrics ``Metric``: the metric keeps its own state, the slot only knows how to read it.

torchmetrics is no dependency: anything with ``update``, ``compute`` and ``reset`` counts as a metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lt_core.errors import MisconfigurationException, MisconfigurationValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lt_core.log.options import LogOptions, RawOptions

__all__ = ["MetricSlot", "is_metric", "named_metrics"]


_METHODS = ("update", "compute", "reset")


def is_metric(value: object) -> bool:
    """Tell whether ``value`` behaves like a torchmetrics ``Metric``."""
    return isinstance(value, nn.Module) and all(callable(getattr(value, name, None)) for name in _METHODS)


def named_metrics(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the metrics among the submodules of ``module`` with their names."""
    return ((name, child) for name, child in module.named_modules() if is_metric(child))


class MetricSlot:
    """One logged metric object.

    Args:
        name: The key as it was given.
        options: The resolved options.
        raw: The arguments as they were given.
        dataloader_idx: The evaluation loader, None when there is only one.
        metric: The metric.
        attribute: Its name among the module's submodules.
    """

    __slots__ = ("_fresh", "attribute", "dataloader_idx", "metric", "name", "options", "raw")

    def __init__(
        self,
        name: str,
        options: LogOptions,
        raw: RawOptions | None,
        dataloader_idx: int | None,
        metric: Any,
        attribute: str,
    ) -> None:
        self.name = name
        self.options = options
        self.raw = raw
        self.dataloader_idx = dataloader_idx
        self.metric = metric
        self.attribute = attribute
        self._fresh = False

    @property
    def weighted(self) -> bool:
        """A metric weights its values itself."""
        return False

    def add(self, value: Any, weight: float) -> None:
        """Note that the metric was logged; its state is its own."""
        if value is not self.metric:
            raise MisconfigurationException(
                f"`self.log({self.name!r}, …)` got another object than the metric that was logged under this key "
                "before. Expected one metric object per key: log the other one under another key."
            )
        self._fresh = True

    def last(self, device: torch.device) -> Tensor | None:
        """Return the value of the last ``metric(…)`` call, None when only ``update`` was called."""
        if not self._fresh:
            return None
        value = getattr(self.metric, "_forward_cache", None)
        return self._checked(value) if value is not None else None

    @property
    def is_fresh(self) -> bool:
        """Whether the metric was logged since the last reset."""
        return self._fresh

    def value_over_ranks(self) -> Tensor:
        """Return ``metric.compute()``, in which a distributed metric talks to the other ranks: all must call it."""
        return self._checked(self.metric.compute())

    def epoch_value(self) -> Tensor | None:
        """Return ``metric.compute()``, None when nothing was logged since the last reset."""
        return self._checked(self.metric.compute()) if self._fresh else None

    def _checked(self, value: Any) -> Tensor:
        if isinstance(value, Tensor) and value.numel() == 1:
            # A copy: the result may be the very state that the metric goes on to change.
            return value.detach().clone().reshape(())
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise MisconfigurationValueError(
            f"The metric {type(self.metric).__name__} logged as {self.name!r} computed {shape}. Expected a tensor with "
            "one element: log the parts of its result one by one with `self.log_dict(…)`."
        )

    def reset(self) -> None:
        """Reset the metric for the next epoch."""
        self.metric.reset()
        self._fresh = False

    def state_dict(self) -> dict[str, Any]:
        """Return whether the metric was logged, and the states that torchmetrics leaves out of the module's own.

        A metric that keeps its values in buffers is saved with the module.
        """
        states = getattr(self.metric, "metric_state", None)
        return {
            "attribute": self.attribute,
            "fresh": self._fresh,
            "states": _copied(states) if isinstance(states, dict) else None,
            "updates": getattr(self.metric, _UPDATES, None),
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take back what `state_dict` returned."""
        self._fresh = bool(state["fresh"])
        if state["states"] is None:
            return
        for name, value in _copied(state["states"], device).items():
            setattr(self.metric, name, value)
        if state["updates"] is not None:
            setattr(self.metric, _UPDATES, state["updates"])


_UPDATES = "_update_count"
"""Where torchmetrics counts updates, by which it weights the states that are means; it offers no setter."""


def _copied(states: dict[str, Any], device: torch.device | None = None) -> dict[str, Any]:
    """Return the states, tensors or lists of tensors, as copies."""

    def copy(value: Any) -> Any:
        return torch.clone(value.detach()).to(device) if isinstance(value, Tensor) else value

    return {
        name: [copy(each) for each in value] if isinstance(value, list) else copy(value)
        for name, value in states.items()
    }


def find_metric_attribute(module: nn.Module, metric: nn.Module, name: str, metric_attribute: str | None) -> str:
    """Return under which name ``metric`` hangs in ``module``, so that it can be reset and restored.

    Raises:
        MisconfigurationException: It hangs nowhere, or ``metric_attribute`` names something else.
    """
    if metric_attribute is not None:
        found = dict(module.named_modules()).get(metric_attribute)
        if found is metric:
            return metric_attribute
        names = [known for known, _ in named_metrics(module)]
        raise MisconfigurationException(
            f"`self.log({name!r}, metric_attribute={metric_attribute!r})`: the module has no such metric, or another "
            f"one was logged. Expected the name of the logged object, one of {names}."
        )
    for path, child in module.named_modules():
        if child is metric:
            return str(path)
    raise MisconfigurationException(
        f"`self.log({name!r}, …)` got the metric {type(metric).__name__}, which is no attribute of "
        f"{type(module).__name__}. Expected one that is: write `self.my_metric = {type(metric).__name__}(…)` in "
        "`__init__` (or name it with metric_attribute=), so that it moves between devices and is reset with the epoch."
    )
