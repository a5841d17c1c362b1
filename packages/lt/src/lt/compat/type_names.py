"""Names of types that old modules import for their annotations; only old code and this room's table need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch

from lt.utilities.types import STEP_OUTPUT

__all__ = ["EPOCH_OUTPUT", "Optimizable"]

# What the steps of an epoch returned, as `training_epoch_end(outputs)` received it.
EPOCH_OUTPUT: TypeAlias = list[STEP_OUTPUT]

# Private in Lightning, and imported by packages that build on it.
_PATH: TypeAlias = str | Path
_DEVICE: TypeAlias = torch.device | str | int
_MAP_LOCATION_TYPE: TypeAlias = (
    _DEVICE
    | Callable[[torch.UntypedStorage, str], torch.UntypedStorage | None]
    | dict[torch.device | str | int, torch.device | str | int]
    | None
)
_EVALUATE_OUTPUT: TypeAlias = list[Mapping[str, float]]
_PREDICT_OUTPUT: TypeAlias = list[Any] | list[list[Any]]


class Optimizable(Protocol):
    """What can stand in for an optimizer.

    Example:
        >>> import torch
        >>> def lr(optimizer: Optimizable) -> float:
        ...     return optimizer.param_groups[0]["lr"]
        >>> lr(torch.optim.SGD([torch.zeros(1)], lr=0.5))
        0.5
    """

    param_groups: list[dict[Any, Any]]
    defaults: dict[Any, Any]
    state: Any

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...
