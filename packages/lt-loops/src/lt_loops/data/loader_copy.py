"""Copies of torch's DataLoaders that differ in where their indices come from."""

from __future__ import annotations

import copy
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from lt_core.errors import MisconfigurationTypeError

__all__ = ["changed", "with_sampler"]


def changed(loader: DataLoader[Any], **changes: Any) -> DataLoader[Any]:
    """Return a copy of a loader, of the same class, in which some attributes differ.

    A copy keeps what a constructor call could not: the attributes of subclasses, whatever their arguments are, and
    everything that was set later. torch forbids assignment because a loader's parts depend on each other; the callers
    change them together. The running iterator, if any, belongs to the original.

    Args:
        loader: Stays as it is.
        changes: The attributes that differ.

    Example:
        >>> loader = DataLoader([1, 2, 3])
        >>> [batch.item() for batch in changed(loader, batch_sampler=[[2], [0]])]
        [3, 1]
    """
    clone = copy.copy(loader)
    for name, value in {**changes, "_iterator": None}.items():
        object.__setattr__(clone, name, value)
    return clone


def with_sampler(loader: DataLoader[Any], sampler: Any) -> DataLoader[Any]:
    """Return a loader like ``loader``, of the same class, that reads in another order.

    Args:
        loader: Stays as it is.
        sampler: Yields indices; batched as before.

    Raises:
        MisconfigurationTypeError: The loader has a batch sampler that does not take its indices from a sampler.

    Example:
        >>> loader = with_sampler(DataLoader([1, 2, 3, 4], batch_size=2, shuffle=True), [3, 2, 1, 0])
        >>> [batch.tolist() for batch in loader]
        [[4, 3], [2, 1]]
    """
    changes = {"sampler": sampler}
    batch_sampler = loader.batch_sampler
    if batch_sampler is not None:
        if not isinstance(batch_sampler, BatchSampler) or not hasattr(batch_sampler, "sampler"):
            raise MisconfigurationTypeError(
                f"The order of a loader has to change, and its batch sampler `{type(batch_sampler).__name__}` makes the"
                " order itself. Expected a subclass of `torch.utils.data.BatchSampler` that reads its attribute"
                " `sampler`. Pass a loader that is in the wanted order, or derive the batch sampler from it."
            )
        batched = copy.copy(batch_sampler)
        batched.sampler = sampler
        changes["batch_sampler"] = batched
    return changed(loader, **changes)
