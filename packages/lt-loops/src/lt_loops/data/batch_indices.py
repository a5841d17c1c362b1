"""Tells which samples a batch was made of, for those who write predictions.

A batch has no memory of its indices. They pass by once: where the loader's batch sampler makes them, in this process,
some batches before the workers have read the samples.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

__all__ = ["IndexRecorder"]


class IndexRecorder:
    """Reads a loader and knows the indices of the batch that was read last.

    Args:
        loader: Any iterable; it stays as it is. Indices are known of a `DataLoader` with a batch sampler that keeps the
            order of its batches.

    Attributes:
        indices: Those of the batch that was read last; None where they cannot be known.

    Example:
        >>> recorder = IndexRecorder(DataLoader([5, 6, 7], batch_size=2))
        >>> [(batch.tolist(), recorder.indices) for batch in recorder]
        [([5, 6], [0, 1]), ([7], [2])]
    """

    indices: list[int] | None

    def __init__(self, loader: Any) -> None:
        self.indices = None
        self._ahead: deque[list[int]] | None = None
        self._loader = loader
        sampler = getattr(loader, "batch_sampler", None)
        if isinstance(loader, DataLoader) and sampler is not None and getattr(loader, "in_order", True):
            self._ahead = deque()
            clone = copy.copy(loader)
            # torch forbids the assignment because a loader's parts depend on each other; this one behaves as before.
            object.__setattr__(clone, "batch_sampler", _Recording(sampler, self._ahead))
            object.__setattr__(clone, "_iterator", None)  # a running iterator, if any, belongs to the original
            self._loader = clone

    def __iter__(self) -> Iterator[Any]:
        ahead = self._ahead
        if ahead is None:
            yield from self._loader
            return
        ahead.clear()
        for batch in self._loader:
            self.indices = ahead.popleft()
            yield batch


class _Recording:
    """A batch sampler that notes what it gives."""

    def __init__(self, sampler: Any, noted: deque[list[int]]) -> None:
        self.sampler = sampler
        self._noted = noted

    def __iter__(self) -> Iterator[Any]:
        for indices in self.sampler:
            self._noted.append(list(indices))
            yield indices

    def __len__(self) -> int:
        return len(self.sampler)
