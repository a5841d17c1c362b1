"""Moving a batch, however it is nested, to a device.

Batches come as tensors inside lists, tuples, mappings and dataclasses, mixed with names and numbers that stay where
they are; one function knows the shapes so that no loop has to.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, MutableSequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

__all__ = ["move_data_to_device"]

# On MPS a copy that does not wait can be read before it has arrived; to the CPU nothing would tell when it has.
_WAITING_DEVICE_TYPES = ("cpu", "mps")


def move_data_to_device(batch: Any, device: str | int | torch.device) -> Any:
    """Move everything in ``batch`` that can move to ``device``.

    Lists, tuples, named tuples, mappings and dataclasses (also frozen ones) are gone through and rebuilt in their own
    type; the given ones are not changed. Whatever has a method ``to`` is asked to move: tensors without waiting where
    the device allows it. Everything else stays what it is.

    Args:
        batch: A tensor or a nest of such things.
        device: Where to, for example ``"cuda:0"``.

    Returns:
        The same nest with its contents on the device. An object whose ``to`` returns None is taken to have moved
        itself, and kept.

    Example:
        >>> moved = move_data_to_device({"x": torch.zeros(2), "names": ["a", "b"]}, "cpu")
        >>> moved["x"].device.type, moved["names"]
        ('cpu', ['a', 'b'])
    """
    target = device if isinstance(device, torch.device) else torch.device(device)
    return _move(batch, target, target.type not in _WAITING_DEVICE_TYPES)


# One call for every element of every batch: positional, and the usual types first.
def _move(data: Any, device: torch.device, non_blocking: bool) -> Any:  # noqa: FBT001
    kind = type(data)
    if kind is Tensor:
        return data.to(device, non_blocking=non_blocking)
    if kind is tuple:
        return tuple([_move(item, device, non_blocking) for item in data])
    if kind is list:
        return [_move(item, device, non_blocking) for item in data]
    if kind is dict:
        return {key: _move(value, device, non_blocking) for key, value in data.items()}
    return _move_unusual(data, device, non_blocking)


def _move_unusual(data: Any, device: torch.device, non_blocking: bool) -> Any:  # noqa: FBT001
    if isinstance(data, Tensor):
        return data.to(device, non_blocking=non_blocking)
    if callable(getattr(type(data), "to", None)):
        moved = data.to(device)
        return data if moved is None else moved

    def move(item: Any) -> Any:
        return _move(item, device, non_blocking)

    if isinstance(data, tuple):
        return _move_tuple(data, move)
    if isinstance(data, Mapping):
        return _move_mapping(data, move)
    if isinstance(data, MutableSequence):
        return _move_sequence(data, move)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return _move_dataclass(data, move)
    return data


def _move_tuple(data: tuple[Any, ...], move: Callable[[Any], Any]) -> Any:
    kind: Any = type(data)
    items = [move(item) for item in data]
    return kind._make(items) if hasattr(kind, "_make") else kind(items)


def _move_mapping(data: Mapping[Any, Any], move: Callable[[Any], Any]) -> Any:
    kind: Any = type(data)
    if isinstance(data, dict):
        # A copy keeps what the constructor would not be told: the default factory, the attributes of a subclass.
        result = copy.copy(data)
        result.update({key: move(value) for key, value in data.items()})
        return result
    return kind({key: move(value) for key, value in data.items()})


def _move_sequence(data: MutableSequence[Any], move: Callable[[Any], Any]) -> Any:
    kind: Any = type(data)
    given = list(data)
    items = [move(item) for item in given]
    if isinstance(data, (list, deque)):
        result = copy.copy(data)
        for index, item in enumerate(items):
            result[index] = item
        return result
    # `bytearray` and `array.array` hold plain numbers: there is nothing in them that could move.
    if all(new is old for new, old in zip(items, given, strict=True)):
        return data
    return kind(items)


def _move_dataclass(data: Any, move: Callable[[Any], Any]) -> Any:
    result = copy.copy(data)
    for field in dataclasses.fields(data):
        # A field that was never set has nothing to move; `object.__setattr__` writes to frozen ones, too.
        if hasattr(data, field.name):
            object.__setattr__(result, field.name, move(getattr(data, field.name)))
    values = getattr(result, "__dict__", {})
    for name in [name for name in values if isinstance(getattr(type(data), name, None), cached_property)]:
        # It was computed from tensors that are elsewhere now.
        del values[name]
    return result
