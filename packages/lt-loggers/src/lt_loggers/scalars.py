"""What counts as one number, and its Python form.

Metrics come as Python numbers, NumPy scalars and tensors of one element. All backends get plain numbers, and what is
no number is refused by name before it reaches a file.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError

__all__ = ["scalar"]


def scalar(name: str, value: Any) -> float | int:
    """Return the number that ``value`` holds.

    Args:
        name: Under which it is logged, for the message.
        value: A Python or NumPy number (NaN and infinities included) or a tensor or array of one element.

    Raises:
        MisconfigurationValueError: ``value`` does not hold exactly one real number (a ``ValueError``).

    Example:
        >>> import torch
        >>> scalar("loss", torch.tensor(0.5))
        0.5
    """
    if type(value) in (float, int, bool):
        return value
    held = _single_item(value)
    if isinstance(held, int):
        return int(held)
    if isinstance(held, numbers.Real):
        return float(held)
    raise MisconfigurationValueError(
        f"The metric {name!r} was logged with the value {_shown(value)}. A logger takes one real number: int, float,"
        " NumPy scalar, or a tensor of one element. Log for example its mean, or write text and images through"
        " `logger.experiment`."
    )


def checked_metrics(logger: str, metrics: Any) -> Mapping[str, Any]:
    """Return ``metrics`` if it maps names to values.

    Raises:
        MisconfigurationTypeError: It does not.
    """
    if isinstance(metrics, Mapping) and all(type(name) is str or isinstance(name, str) for name in metrics):
        return metrics
    raise MisconfigurationTypeError(
        f"{logger}.log_metrics got {metrics!r}. It takes a mapping of names (strings) to numbers."
        ' Write for example `log_metrics({"loss": 0.5}, step=3)`.'
    )


def _single_item(value: Any) -> Any:
    """Return the one element of a tensor or array; other values as they are; None for several elements."""
    if isinstance(value, Tensor):
        return value.detach().item() if value.numel() == 1 else None
    # Only code that has imported NumPy can hand over one of its values.
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return value.item() if value.size == 1 else None
    return value


def _shown(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"of type {type(value).__name__} and shape {tuple(shape)}"
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} of type {type(value).__name__}"
