"""Let a module's step run within the ``forward`` of a wrapper, so that what the wrapper does around it happens."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["through_wrapper"]


def through_wrapper(wrapper: nn.Module, module: nn.Module, name: str) -> Callable[..., Any]:
    """Return a function that runs a method of ``module`` as the wrapper's forward pass.

    Args:
        wrapper: Calls ``module.forward`` within its own ``forward``.
        module: The wrapped module; within the method its ``forward`` is its own again.
        name: The method.

    Example:
        >>> class Model(nn.Module):
        ...     def forward(self, x): return x + 1
        ...     def training_step(self, batch): return 10 * self(batch)
        >>> model = Model()
        >>> step = through_wrapper(nn.Sequential(model), model, "training_step")
        >>> step(1)
        20
    """
    method = getattr(module, name)
    attributes = module.__dict__  # nn.Module's own assignment looks for parameters first

    @functools.wraps(method)
    def step(*args: Any, **kwargs: Any) -> Any:
        own = attributes.get("forward")

        def forward(*inner: Any, **named: Any) -> Any:
            restore()
            return method(*inner, **named)

        def restore() -> None:
            if own is None:
                attributes.pop("forward", None)
            else:
                attributes["forward"] = own

        attributes["forward"] = forward
        try:
            return wrapper(*args, **kwargs)
        finally:
            restore()

    return step
