"""The optimizer that modules see: the user's own, with steps that the trainer knows about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lt_core.errors import MisconfigurationException

__all__ = ["LightningOptimizer", "toggled"]

Stepper = Callable[..., Any]


@contextmanager
def toggled(optimizer: Optimizer, others: list[Optimizer]) -> Iterator[None]:
    """Let only the parameters of ``optimizer`` require gradients; everything is put back, also after an exception.

    Args:
        optimizer: Whose parameters keep their setting.
        others: All optimizers of the module.
    """
    before = freeze_others(optimizer, others)
    try:
        yield
    finally:
        restore_requires_grad(before)


def _parameters(optimizer: Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def freeze_others(optimizer: Optimizer, others: list[Optimizer]) -> dict[nn.Parameter, bool]:
    """Switch off gradients for parameters that ``optimizer`` does not hold; return what was set before."""
    before = {parameter: parameter.requires_grad for other in others for parameter in _parameters(other)}
    own = set(_parameters(optimizer))
    for parameter in before:
        if parameter not in own:
            parameter.requires_grad = False
    return before


def restore_requires_grad(before: dict[nn.Parameter, bool]) -> None:
    """Undo `freeze_others`."""
    for parameter, requires_grad in before.items():
        parameter.requires_grad = requires_grad


@cache
def _wrapping(kind: type[Optimizer]) -> type[Any]:
    """Return the class of the wrappers of ``kind``; one for all, because making a class is slow."""
    return type("Lightning" + kind.__name__, (LightningOptimizer, kind), {})


class LightningOptimizer:
    """Wraps an optimizer so that a step runs through the trainer (precision, hooks, counting).

    It passes for the wrapped class: ``isinstance(wrapped, torch.optim.SGD)`` holds, and attributes are the wrapped
    optimizer's.

    Args:
        optimizer: The user's optimizer.
        stepper: Called as ``stepper(optimizer, closure, **kwargs)`` for each step; by default the
            optimizer steps itself.
        siblings: All raw optimizers of the module, for `toggle_model`.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> wrapped = LightningOptimizer(sgd)
        >>> isinstance(wrapped, torch.optim.SGD), type(wrapped).__name__, wrapped.optimizer is sgd
        (True, 'LightningSGD', True)
    """

    _OWN = frozenset({"_optimizer", "_stepper", "_siblings"})

    def __init__(
        self, optimizer: Optimizer, stepper: Stepper | None = None, siblings: list[Optimizer] | None = None
    ) -> None:
        kind: Any = type(optimizer)
        self.__class__ = _wrapping(kind)
        self._optimizer = optimizer
        self._stepper = stepper
        self._siblings = siblings if siblings is not None else [optimizer]

    @property
    def optimizer(self) -> Optimizer:
        """The wrapped optimizer."""
        return self._optimizer

    def __getattr__(self, name: str) -> Any:
        if name in LightningOptimizer._OWN:  # not set yet, as while unpickling
            raise AttributeError(name)
        return getattr(self._optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # A scheduler that is built on the wrapper replaces `step` by its own, which calls this class's.
        if name in LightningOptimizer._OWN or name in ("__class__", "step"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._optimizer, name, value)

    def __repr__(self) -> str:
        return f"Lightning{self._optimizer!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        return LightningOptimizer, (self._optimizer,)

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Take one step through the trainer.

        Args:
            closure: Computes the loss and its gradients; run inside the step.
            **kwargs: Passed to the wrapped optimizer's ``step``.

        Returns:
            What the wrapped step returns.

        Raises:
            MisconfigurationException: ``closure`` is not callable.
        """
        if closure is not None and not callable(closure):
            raise MisconfigurationException(
                f"`optimizer.step(closure={closure!r})`: the closure cannot be called. Expected a function without "
                "arguments that returns the loss, or nothing."
            )
        if self._stepper is not None:
            return self._stepper(self._optimizer, closure, **kwargs)
        return self._optimizer.step(**kwargs) if closure is None else self._optimizer.step(closure, **kwargs)

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 -- torch's signature
        """Set the gradients of the wrapped optimizer's parameters to zero."""
        self._optimizer.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the wrapped optimizer's state."""
        return self._optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the wrapped optimizer's state."""
        self._optimizer.load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group to the wrapped optimizer."""
        self._optimizer.add_param_group(param_group)

    @contextmanager
    def toggle_model(self, sync_grad: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002 -- the API we match
        """Let only this optimizer's parameters require gradients inside the context.

        Args:
            sync_grad: Whether gradients are combined over ranks; there is one rank here, so both values train alike.
        """
        with toggled(self._optimizer, self._siblings):
            yield
