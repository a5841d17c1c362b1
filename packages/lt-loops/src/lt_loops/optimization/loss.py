"""What can be wrong with a loss, said in the user's terms, for automatic and manual optimisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lt_core.errors import LtError

__all__ = ["LossError", "loss_problem", "refuse_nan_loss"]


class LossError(LtError, RuntimeError):
    """A loss cannot be differentiated or is not a number."""


def loss_problem(loss: Any, where: str) -> str | None:
    """Say why ``loss`` has no backward pass, or None when that is not the reason.

    Args:
        loss: What was to be differentiated.
        where: Which loss it is, for the message, such as "The loss that `training_step` returned".

    Example:
        >>> loss_problem(torch.ones(2, requires_grad=True), "The loss")
        'The loss has the shape (2,). Expected a single number: reduce it, for example with `loss.mean()`.'
    """
    if not isinstance(loss, Tensor):
        return f"{where} is {loss!r}, a {type(loss).__name__}. Expected a tensor: do not take its `.item()`."
    if not loss.requires_grad:
        return (
            f"{where} does not require a gradient. Expected a value computed from the module's parameters: do not "
            "detach it, leave `torch.no_grad()`, and make sure that some parameter requires a gradient."
        )
    if loss.numel() != 1:
        return (
            f"{where} has the shape {tuple(loss.shape)}. Expected a single number: reduce it, for example with "
            "`loss.mean()`."
        )
    return None


def refuse_nan_loss(step: Callable[[Any, int], Any]) -> Callable[[Any, int], Any]:
    """Return a ``training_step`` that does not let a loss that is NaN pass.

    Autograd's anomaly detection looks at gradients only, and a loss can be NaN while its gradients are not. Looking
    costs a copy to the host at each batch, so this is for anomaly detection alone.

    Args:
        step: The ``training_step``.
    """

    def checked(batch: Any, batch_idx: int) -> Any:
        output = step(batch, batch_idx)
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if isinstance(loss, Tensor) and bool(torch.isnan(loss).any()):
            raise LossError(
                f"The loss that `training_step` returned for batch {batch_idx} is NaN, and `detect_anomaly=True` was "
                "asked for. Expected a number. If the error above this one names an operation, that one made it; "
                "otherwise look for NaN in the batch, the logarithm or root of a negative number, a division by zero."
            ) from _anomaly_of(loss)
        return output

    return checked


def _anomaly_of(loss: Tensor) -> RuntimeError | None:
    """Return autograd's error that names the operation whose gradient is NaN, None where it finds none."""
    if not loss.requires_grad:
        return None
    try:
        loss.sum().backward()
    except RuntimeError as error:
        return error
    return None
