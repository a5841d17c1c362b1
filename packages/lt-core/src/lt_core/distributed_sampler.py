"""Samplers that deal indices, or whole batches of them, to the ranks.

All ranks draw the same order and each takes every n-th item of it. For training, the order is padded from its
beginning so that all ranks have equally many. For evaluation nothing is padded: each item goes to exactly one rank,
and ranks may have unequal numbers.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sized
from itertools import chain, cycle, islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DistributedSampler

from lt_core.errors import MisconfigurationTypeError
from lt_core.seed import isolate_rng

if TYPE_CHECKING:
    from torch.utils.data import Dataset

__all__ = ["DistributedSamplerWrapper", "UnrepeatedDistributedSampler", "UnrepeatedDistributedSamplerWrapper"]


class UnrepeatedDistributedSampler(DistributedSampler[Any]):
    """Deals the indices of a data set to the ranks: each index to exactly one, without padding.

    Rank ``r`` of ``n`` gets the indices ``r``, ``r + n``, ``r + 2n`` … of the order; ranks may differ by one index, and
    a rank may have none.

    Args:
        dataset: Has a length; ``range(n)`` for a length alone.
        num_replicas: How many ranks; by default those of the process group.
        rank: Which one this is, from 0; by default that of the process group.
        shuffle: Whether the order is shuffled, as a function of ``seed`` and the epoch (`set_epoch`).
        seed: Must be the same on all ranks.

    Example:
        >>> [list(UnrepeatedDistributedSampler(range(5), 3, rank, shuffle=False)) for rank in range(3)]
        [[0, 3], [1, 4], [2]]
    """

    def __init__(
        self,
        dataset: Sized | Dataset[Any],
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,  # noqa: FBT001, FBT002 -- in the order of torch's class
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle, seed)  # type: ignore[arg-type]
        self.total_size = len(self.dataset)  # type: ignore[arg-type]
        self.num_samples = len(self)

    def __iter__(self) -> Iterator[int]:
        order: Iterable[int] = range(self.total_size)
        if self.shuffle:
            order = _permutation(self.total_size, self.seed + self.epoch)
        return islice(order, self.rank, None, self.num_replicas)

    def __len__(self) -> int:
        return len(range(self.rank, self.total_size, self.num_replicas))


class DistributedSamplerWrapper(DistributedSampler[Any]):
    """Deals what another sampler yields to the ranks, in its order and padded so that all ranks have equally many.

    What is dealt may be indices, or the batches of a batch sampler. The order is drawn at the beginning of an epoch,
    with random generators that are seeded alike on all ranks by ``seed`` and the epoch; the global generators stay as
    they are. A sampler that keeps a generator of its own must seed it alike on all ranks. One without a length is
    dealt as it goes on, and only its beginning is drawn so.

    Attributes that this class does not have are those of the sampler.

    Args:
        sampler: Yields indices or batches of them. Where it has a length, no more than that is read.
        num_replicas: How many ranks; by default those of the process group.
        rank: Which one this is, from 0; by default that of the process group.
        shuffle: Whether to shuffle what the sampler yields.
        seed: Must be the same on all ranks.
        drop_last: Whether items at the end that do not make one for each rank are dropped instead of padded.

    Attributes:
        sampler: What is dealt.

    Raises:
        MisconfigurationTypeError: A sampler without a length is to be shuffled.

    Example:
        >>> [list(DistributedSamplerWrapper([7, 5, 6], 2, rank)) for rank in range(2)]
        [[7, 6], [5, 7]]
    """

    sampler: Any

    def __init__(
        self,
        sampler: Iterable[Any],
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = False,  # noqa: FBT001, FBT002 -- in the order of torch's class
        seed: int = 0,
        drop_last: bool = False,  # noqa: FBT001, FBT002 -- see above
    ) -> None:
        self.sampler = sampler
        length = self._length()
        if shuffle and length is None:
            raise MisconfigurationTypeError(
                f"`{type(self).__name__}(sampler, shuffle=True)` got a `{type(sampler).__name__}`, which has no length."
                " Expected a sampler with `__len__`, to shuffle the whole of it. Leave `shuffle` out, or shuffle in"
                " the sampler."
            )
        super().__init__(range(length or 0), num_replicas, rank, shuffle, seed, drop_last)  # type: ignore[arg-type]
        self.dataset = sampler  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        if name == "sampler" or name.startswith("__"):  # while this is copied or read from a file
            raise AttributeError(name)
        return getattr(self.sampler, name)

    def __iter__(self) -> Iterator[Any]:
        first: list[Any] = []
        group: list[Any] = []
        for item in self._order():
            if len(first) < self.num_replicas:
                first.append(item)
            group.append(item)
            if len(group) == self.num_replicas:
                yield group[self.rank]
                group = []
        if group and not self.drop_last:
            group.extend(islice(cycle(first), self.num_replicas - len(group)))
            yield group[self.rank]

    def __len__(self) -> int:
        length = self._known_length()
        return length // self.num_replicas if self.drop_last else -(-length // self.num_replicas)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: the order changes with it, and the samplers within are told."""
        super().set_epoch(epoch)
        inner, seen = self.sampler, {id(self)}
        while inner is not None and id(inner) not in seen:
            seen.add(id(inner))
            tell = getattr(inner, "set_epoch", None)
            if callable(tell):
                tell(epoch)
            inner = None if isinstance(inner, DistributedSamplerWrapper) else getattr(inner, "sampler", None)

    def _length(self) -> int | None:
        try:
            return len(self.sampler)
        except (TypeError, NotImplementedError):  # what Python and torch's samplers raise where there is no length
            return None

    def _known_length(self) -> int:
        length = self._length()
        if length is None:
            raise TypeError(f"object of type {type(self.sampler).__name__!r}, which is dealt to ranks, has no len()")
        return length

    def _order(self) -> Iterator[Any]:
        """Return what the sampler yields, the same on all ranks."""
        length = self._length()
        seed = self.seed + self.epoch
        with isolate_rng(include_cuda=False):
            _seed_cpu(seed)
            iterator = iter(self.sampler)
            drawn = list(islice(iterator, self.num_replicas if length is None else length))
        if length is None:
            return chain(drawn, iterator)
        return (drawn[index] for index in _permutation(len(drawn), seed)) if self.shuffle else iter(drawn)


class UnrepeatedDistributedSamplerWrapper(DistributedSamplerWrapper):
    """Deals what another sampler yields to the ranks: each item to exactly one, in its order and without padding.

    Rank ``r`` of ``n`` gets the items ``r``, ``r + n``, ``r + 2n`` …; ranks may differ by one item, and a rank may have
    none. Over a batch sampler, each batch is one that a single process would have read.

    Args:
        sampler: Yields indices or batches of them. Where it has a length, no more than that is read.
        num_replicas: How many ranks; by default those of the process group.
        rank: Which one this is, from 0; by default that of the process group.
        shuffle: Whether to shuffle what the sampler yields.
        seed: Must be the same on all ranks.
        length: How many items are dealt in all; the sampler is begun again where it has fewer. By default its length.

    Example:
        >>> from torch.utils.data import BatchSampler
        >>> batches = BatchSampler(range(5), batch_size=2, drop_last=False)
        >>> [list(UnrepeatedDistributedSamplerWrapper(batches, 2, rank)) for rank in range(2)]
        [[[0, 1], [4]], [[2, 3]]]
    """

    def __init__(
        self,
        sampler: Iterable[Any],
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = False,  # noqa: FBT001, FBT002 -- in the order of torch's class
        seed: int = 0,
        length: int | None = None,
    ) -> None:
        super().__init__(sampler, num_replicas, rank, shuffle, seed)
        self._wanted = length
        if self._length() is not None:
            self.num_samples, self.total_size = len(self), self._known_length()

    def __iter__(self) -> Iterator[Any]:
        return islice(self._rounds(), self.rank, self._wanted, self.num_replicas)

    def _rounds(self) -> Iterator[Any]:
        again = True
        while again:
            again = False
            for item in self._order():
                yield item
                again = self._wanted is not None  # an empty sampler is not begun again

    def __len__(self) -> int:
        length = self._known_length()
        if self._wanted is not None:
            length = self._wanted if length else 0
        return len(range(self.rank, length, self.num_replicas))


def _permutation(length: int, seed: int) -> list[int]:
    permutation: list[int] = torch.randperm(length, generator=torch.Generator().manual_seed(seed)).tolist()
    return permutation


def _seed_cpu(seed: int) -> None:
    random.seed(seed)
    torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed the devices, too
    numpy = sys.modules.get("numpy")  # while nobody has imported it, nobody draws from it
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
