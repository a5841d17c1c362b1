"""How a module's steps are called: with the arguments that they name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from lt_core.errors import LtError, MisconfigurationException

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StepSignatureError", "check_dataloader_idx", "resolve_step"]


class StepSignatureError(LtError, RuntimeError):
    """A step or batch hook does not take the arguments that its loaders call for."""


def _positional(function: Callable[..., Any]) -> tuple[list[inspect.Parameter], bool]:
    """Return the positional parameters and whether there is a ``*args``."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    variadic = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    return [parameter for parameter in parameters if parameter.kind in kinds], variadic


def resolve_step(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return what is called as ``step(batch, batch_idx[, dataloader_idx])`` for a step that may name fewer.

    A step that takes them is returned itself, so that nothing stands between the loop and the user's code.

    Args:
        function: The step.
        name: Its name, for messages.

    Raises:
        MisconfigurationException: The step wants the ``dataloader_iter`` instead of a batch.

    Example:
        >>> resolve_step(lambda batch: batch + 1, "training_step")(1, 0)
        2
    """
    parameters, variadic = _positional(function)
    names = [parameter.name for parameter in parameters]
    if "dataloader_iter" in names:
        raise MisconfigurationException(
            f"`{name}` takes `dataloader_iter`. Expected a batch: write `def {name}(self, batch, batch_idx)`; to fetch "
            "batches yourself, give the trainer an iterable that yields what you need."
        )
    if variadic or len(parameters) >= 2:
        keyword_only = inspect.signature(function).parameters.get("batch_idx")
        if keyword_only is not None and keyword_only.kind is inspect.Parameter.KEYWORD_ONLY:
            return lambda batch, batch_idx, *rest: function(batch, *rest, batch_idx=batch_idx)
        if len(parameters) == 2 and names[1] == "dataloader_idx" and not variadic:
            return lambda batch, batch_idx, *rest: function(batch, *rest)
        return function
    return lambda batch, *rest: function(batch)


def check_dataloader_idx(function: Callable[..., Any] | None, name: str, owner: object, *, several: bool) -> None:
    """Check that a step or batch hook of an evaluation takes ``dataloader_idx`` exactly when it gets one.

    Args:
        function: The overriding method, None when nobody overrides it.
        name: Its name.
        owner: Whose it is, for the message.
        several: Whether there are several loaders.

    Raises:
        StepSignatureError: It lacks the argument, or demands it although there is one loader.
    """
    if function is None:
        return
    parameters, variadic = _positional(function)
    shown = f"`{type(owner).__name__}.{name}`"
    found = next((parameter for parameter in parameters if parameter.name == "dataloader_idx"), None)
    if several and found is None and not variadic:
        raise StepSignatureError(
            f"There are several loaders, and {shown} does not take `dataloader_idx`. Expected it as the last argument: "
            f"write `def {name}(self, …, dataloader_idx=0)`."
        )
    if not several and found is not None and found.default is inspect.Parameter.empty:
        raise StepSignatureError(
            f"There is one loader, and {shown} demands `dataloader_idx`. Expected a default value: write "
            f"`def {name}(self, …, dataloader_idx=0)`, or leave the argument out."
        )
