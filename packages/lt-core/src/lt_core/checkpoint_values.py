"""Which values of a checkpoint can be written, and which can be read back safely.

``torch.load(weights_only=True)`` refuses every class that it does not know. Whoever saves such a value learns of it
months later, when loading; here it is found while saving, with the place where the value sits.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["unsafe_values", "unwritable_values"]

# Everything that values' own code is known to raise while it is pickled or read back.
_ERRORS = (
    AttributeError,
    EOFError,
    ImportError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.PickleError,
)

_PLAIN = (bool, float, str, type(None), torch.dtype, torch.device)
_LONGEST_PLAIN_INT_BITS = 1024  # pickle writes longer ones in a form of its own


def unsafe_values(checkpoint: Mapping[Any, Any]) -> list[str]:
    """Name the values that cannot be read back with ``weights_only=True``.

    Tensors, numbers, text and the containers of them are known to be safe; anything else is written and read in
    memory, so the answer holds for the installed torch and for what ``torch.serialization.add_safe_globals`` has
    registered.

    Args:
        checkpoint: What is to be saved.

    Returns:
        Where they are, for example ``"hyper_parameters.loss_fn"`` or ``"optimizer_states[0].hook"``.

    Example:
        >>> unsafe_values({"state_dict": {"w": torch.zeros(1)}, "hyper_parameters": {"lr": 0.1, "pool": range(3)}})
        ['hyper_parameters.pool']
    """
    return list(_refused(checkpoint, "", _is_read_back, set()))


def unwritable_values(checkpoint: Mapping[Any, Any]) -> list[str]:
    """Name the values that cannot be pickled at all.

    Args:
        checkpoint: What is to be saved.

    Example:
        >>> unwritable_values({"hyper_parameters": {"lr": 0.1, "loss": lambda x: x}})
        ['hyper_parameters.loss']
    """
    return list(_refused(checkpoint, "", _is_written, set()))


def _refused(value: Any, place: str, is_fine: Callable[[Any], bool], above: set[int]) -> Iterator[str]:
    if _is_plain(value) or id(value) in above:
        return
    if type(value) not in _CONTAINERS:
        if not is_fine(value):
            yield place
        return
    above = above | {id(value)}
    for step, key, item in _children(value):
        if key is not None:
            yield from _refused(key, f"{place}{step}".lstrip("."), is_fine, above)
        yield from _refused(item, f"{place}{step}".lstrip("."), is_fine, above)


_CONTAINERS = {dict, OrderedDict, list, tuple}


def _children(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """Give for each item how it is reached, its key where that is not text, and the item."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str) and key:
                yield f".{key}", None, item
            else:
                yield f"[{key!r}]", key, item
        if isinstance(value, OrderedDict):
            # `state_dict()` keeps its versions as an attribute.
            for name, item in vars(value).items():
                yield f".{name}", None, item
    else:
        for index, item in enumerate(value):
            yield f"[{index}]", None, item


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is Tensor or kind is torch.nn.Parameter:
        return not (value.__dict__ or value.is_quantized or value.is_nested or value.layout is not torch.strided)
    if kind is int:
        return bool(value.bit_length() < _LONGEST_PLAIN_INT_BITS)
    return kind in _PLAIN


def _is_written(value: Any) -> bool:
    try:
        torch.save(value, io.BytesIO())
    except _ERRORS:
        return False
    return True


def _is_read_back(value: Any) -> bool:
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            # What torch has to say about a value it says when the file is written and read.
            warnings.simplefilter("ignore")
            torch.save(value, buffer)
            buffer.seek(0)
            # Safe by itself, and asked for exactly what the reader of the file would do.
            torch.load(buffer, map_location="cpu", weights_only=True)  # noqa: TID251
    except _ERRORS:
        return False
    return True
