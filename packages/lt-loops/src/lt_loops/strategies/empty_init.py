"""Creating modules without filling their parameters, for weights that a checkpoint replaces anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["EmptyInit"]


class EmptyInit(TorchFunctionMode):
    """Makes every function of `torch.nn.init` return its tensor untouched.

    Example:
        >>> import torch
        >>> with EmptyInit():
        ...     layer = torch.nn.Linear(2, 2)
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
