"""The list states of metric objects on ranks that had no data for them.

A torchmetrics metric that keeps its inputs in lists gathers them over ranks when it computes. A rank with an empty list
must take part with an empty tensor, and this has to have the type and the number of dimensions that the others have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lt_core.log.exchange import Exchange, Key

__all__ = ["lend_list_states"]

_Kinds = dict[str, tuple[torch.dtype, tuple[int, ...]]]


def lend_list_states(exchange: Exchange, metrics: dict[Key, Any]) -> list[Callable[[], None]]:
    """Give the metrics that have empty lists an empty tensor like those of the other ranks.

    Args:
        exchange: Talks to the other ranks; all of them call this with the same keys.
        metrics: The metrics that some rank has not used.

    Returns:
        What to call when the metrics are computed: then the lists are empty again.
    """
    described = exchange.gather_objects({key: _kinds(metric) for key, metric in metrics.items()})
    give_back: list[Callable[[], None]] = []
    for key, metric in metrics.items():
        known: _Kinds = {}
        for theirs in described:
            known = {**theirs[key], **known}
        for name, (dtype, shape) in known.items():
            if getattr(metric, name) == []:
                device = getattr(metric, "device", torch.device("cpu"))
                setattr(metric, name, [torch.empty((0, *shape), dtype=dtype, device=device)])
                give_back.append(partial(setattr, metric, name, []))
    return give_back


def _kinds(metric: Any) -> _Kinds:
    """Return the type and the shape without the first dimension of each list state that holds something."""
    states = getattr(metric, "metric_state", None)
    return {
        name: (value[0].dtype, tuple(value[0].shape[1:]))
        for name, value in (states if isinstance(states, dict) else {}).items()
        if isinstance(value, list) and value and isinstance(value[0], Tensor)
    }
