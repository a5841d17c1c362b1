"""Casting the floating point tensors of a batch, however it is nested.

Labels, masks and lengths are whole numbers and must stay so: only floating point tensors change.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["cast_floats"]


def cast_floats(data: Any, dtype: torch.dtype) -> Any:
    """Return ``data`` with its floating point tensors in ``dtype``.

    Lists, tuples, named tuples, mappings and dataclasses are gone through and rebuilt in their own type; the given
    ones are not changed. All else stays what it is.

    Args:
        data: A tensor ``[…]`` or a nest of such things.
        dtype: A floating point type.

    Example:
        >>> batch = cast_floats({"x": torch.ones(1), "y": torch.tensor([1])}, torch.float64)
        >>> batch["x"].dtype, batch["y"].dtype
        (torch.float64, torch.int64)
    """
    if isinstance(data, Tensor):
        return data.to(dtype) if data.is_floating_point() else data

    def cast(item: Any) -> Any:
        return cast_floats(item, dtype)

    if isinstance(data, tuple):
        return _cast_tuple(data, cast)
    if isinstance(data, list):
        result = copy.copy(data)
        result[:] = [cast(item) for item in data]
        return result
    if isinstance(data, Mapping):
        return _cast_mapping(data, cast)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return _cast_dataclass(data, cast)
    return data


def _cast_tuple(data: tuple[Any, ...], cast: Callable[[Any], Any]) -> Any:
    kind: Any = type(data)
    items = [cast(item) for item in data]
    return kind._make(items) if hasattr(kind, "_make") else kind(items)


def _cast_mapping(data: Mapping[Any, Any], cast: Callable[[Any], Any]) -> Any:
    items = {key: cast(value) for key, value in data.items()}
    kind: Any = type(data)
    if isinstance(data, dict):
        # A copy keeps what the constructor would not be told: the default factory, the attributes of a subclass.
        result = copy.copy(data)
        result.update(items)
        return result
    return kind(items)


def _cast_dataclass(data: Any, cast: Callable[[Any], Any]) -> Any:
    result = copy.copy(data)
    for field in dataclasses.fields(data):
        # A field that was never set has nothing to cast; `object.__setattr__` writes to frozen ones, too.
        if hasattr(data, field.name):
            object.__setattr__(result, field.name, cast(getattr(data, field.name)))
    return result
