"""Loaders for data sets, in the shape in which the data sets were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lt_core.errors import MisconfigurationTypeError

__all__ = ["dataset_loaders"]


def dataset_loaders(datasets: Any, *, batch_size: int, num_workers: int, shuffle: bool = False) -> Any:
    """Make a ``DataLoader`` of each data set.

    Args:
        datasets: A data set, or lists, tuples and mappings of them, nested as you like. Whatever has ``__getitem__``
            and ``__len__`` and is none of these collections counts as a data set.
        batch_size: Samples in a batch, from 1.
        num_workers: Worker processes of each loader; 0 reads in this process.
        shuffle: Whether samples come in a new random order each time; iterable data sets keep their own order.

    Returns:
        The loaders in the shape of ``datasets``. Batches are put into pinned memory where there is an accelerator.

    Raises:
        MisconfigurationTypeError: Something among the data sets is none.

    Example:
        >>> loaders = dataset_loaders({"a": range(4), "b": range(2)}, batch_size=2, num_workers=0)
        >>> {name: len(loader) for name, loader in loaders.items()}
        {'a': 2, 'b': 1}
    """
    if isinstance(datasets, (list, tuple, Mapping)):
        items = list(datasets.values()) if isinstance(datasets, Mapping) else list(datasets)
        made = [
            dataset_loaders(item, batch_size=batch_size, num_workers=num_workers, shuffle=shuffle) for item in items
        ]
        return _like(datasets, made)
    if not _is_dataset(datasets):
        raise MisconfigurationTypeError(
            f"A data set was expected and {datasets!r} was found. A data set is a torch.utils.data.Dataset or has"
            " `__getitem__` and `__len__`. For a list of samples write `torch.utils.data.TensorDataset(...)` or a small"
            " Dataset class around it."
        )
    return DataLoader(
        datasets,
        batch_size=batch_size,
        shuffle=shuffle and not isinstance(datasets, IterableDataset),
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
    )


def _is_dataset(value: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return False
    return isinstance(value, Dataset) or (hasattr(value, "__getitem__") and hasattr(value, "__len__"))


def _like(collection: Any, items: list[Any]) -> Any:
    if isinstance(collection, Mapping):
        return dict(zip(collection, items, strict=True))
    if isinstance(collection, tuple) and hasattr(collection, "_fields"):
        return type(collection)(*items)
    return tuple(items) if isinstance(collection, tuple) else items
