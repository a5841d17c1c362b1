"""The batch size of a batch whose structure is the user's: told by its tensors, or asked for, never guessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from lt_core.errors import MisconfigurationException

__all__ = ["batch_size_of"]


def _tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, (str, bytes)):
        return
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif is_dataclass(batch) and not isinstance(batch, type):
        for field in fields(batch):
            yield from _tensors(getattr(batch, field.name))
    elif isinstance(batch, Iterable):
        for value in batch:
            yield from _tensors(value)


def batch_size_of(batch: Any, name: str = "…") -> int:
    """Return the length of the first dimension that all tensors of a batch share.

    Args:
        batch: A tensor, or any nesting of mappings, iterables and dataclasses that holds tensors. Scalars (``[]``)
            do not vote, and count as a batch of one when there is nothing else.
        name: The key that is being logged, for the message.

    Raises:
        MisconfigurationException: The tensors disagree, or there is none.

    Example:
        >>> import torch
        >>> batch_size_of({"x": torch.zeros(4, 3), "y": torch.zeros(4)})
        4
    """
    if isinstance(batch, torch.Tensor):
        return batch.size(0) if batch.ndim else 1
    sizes: dict[int, None] = {}
    found = False
    for tensor in _tensors(batch):
        found = True
        if tensor.ndim:
            sizes[tensor.size(0)] = None
    if len(sizes) == 1:
        return next(iter(sizes))
    if found and not sizes:
        return 1
    reason = f"its tensors have the first dimensions {sorted(sizes)}"
    if not found:
        reason = f"the batch, a {type(batch).__name__}, holds no tensor"
    raise MisconfigurationException(
        f"The batch size cannot be told from the batch: {reason}. An epoch mean is weighted by batch size, so pass it: "
        f"`self.log({name!r}, value, batch_size=…)`."
    )
