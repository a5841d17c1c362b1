"""The optimizer of a module that has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MockOptimizer"]


class MockOptimizer(Optimizer):
    """Runs the closure and changes nothing, for modules whose ``configure_optimizers`` returns None.

    So that loops need no case of their own for it: the steps of such a run are counted as those of others.

    Example:
        >>> MockOptimizer().step(lambda: 0.5)
        0.5
    """

    def __init__(self) -> None:
        super().__init__([torch.zeros(1)], {"lr": 0.0})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        # torch's own, for the one group of __init__; groups that are added later have no one to change them.
        if not self.param_groups:
            super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing was kept."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return None if closure is None else closure()

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 - torch's signature
        """There are no gradients."""

    def __repr__(self) -> str:
        return "No Optimizer"
