"""Deals the samples of torch's DataLoaders to the ranks, and knows how many batches each rank gets.

Training: each rank gets equally many, by padding, in the order that the user's sampler gives. Evaluation and
prediction: the batches are those of a single process, dealt in turn, each to exactly one rank; ranks may have unequal
numbers. What the user has divided already, or what cannot be divided from outside, is left alone.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from lt_core.distributed_sampler import DistributedSamplerWrapper, UnrepeatedDistributedSamplerWrapper
from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import WarningCache
from lt_loops.data.limits import limited_count, loader_size
from lt_loops.data.loader_copy import changed, with_sampler
from lt_loops.data.samplers import samplers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from lt_core.combined_loader import CombinedLoader
    from lt_loops.data.source import Prefix

__all__ = ["Ranks", "Share", "shard_loaders"]

_Number: TypeAlias = "int | float"

_hints = WarningCache()


@dataclass(frozen=True)
class Ranks:
    """The ranks that share the data.

    Attributes:
        size: How many there are.
        rank: Which one this is.
        gather: Returns what each rank passes, in their order.
    """

    size: int
    rank: int
    gather: Callable[[Any], list[Any]]


@dataclass(frozen=True)
class Share:
    """How many batches of a loader each rank has.

    Attributes:
        is_dealt: Whether they were dealt here; otherwise each rank has what its loader gives.
        is_even: Whether all ranks are known to have equally many in each epoch.
        total: In evaluation, the batches of all ranks together; infinite when unknown or not dealt.
        on_ranks: The batches of each rank; infinite where unknown.

    Example:
        >>> share = Share(is_dealt=True, is_even=False, total=5, on_ranks=(3, 2))
        >>> share.counts(1.0, "val"), share.counts(0.5, "val"), share.counts(2, "val")
        ((3, 2), (1, 1), (2, 2))
    """

    is_dealt: bool
    is_even: bool
    total: _Number
    on_ranks: tuple[_Number, ...]

    def counts(self, limit: _Number, prefix: str) -> tuple[_Number, ...]:
        """Return how many batches each rank reads.

        Args:
            limit: A count (int) for each rank, or a fraction (float) of the batches of all ranks together.
            prefix: The stage, for messages.

        Raises:
            MisconfigurationException: As `limited_count`; on all ranks alike.
        """
        if self.is_dealt and isinstance(limit, float) and self.total != math.inf:
            return _dealt(int(limited_count(self.total, limit, prefix)), len(self.on_ranks))
        return tuple(limited_count(size, limit, prefix) for size in self.on_ranks)


@dataclass(frozen=True)
class _Offer:
    """What a rank tells the others of a loader: how it is divided, and what is to be dealt or what there is."""

    way: str
    size: _Number
    kind: str


def shard_loaders(loaders: CombinedLoader, prefix: Prefix, ranks: Ranks, *, inject: bool) -> list[Share]:
    """Deal the samples of a stage's loaders to the ranks; to be called on all of them.

    Args:
        loaders: Whose members are replaced where they are dealt.
        prefix: The stage.
        ranks: Who shares.
        inject: Whether anything is dealt (``use_distributed_sampler``).

    Returns:
        Who has how much, for each loader.

    Raises:
        MisconfigurationException: The ranks' loaders do not fit together.
    """
    offers = [_offer(loader, prefix, inject=inject) for loader in loaders.flattened]
    seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
    gathered = ranks.gather((seed, offers))
    everybody = [theirs for _, theirs in gathered]
    _check_alike(everybody, prefix)
    seed = gathered[0][0]  # one order for all, also where each rank was seeded for itself
    cycles = loaders.mode == "max_size_cycle" and prefix != "train"
    longest = max((offer.size for offer in offers), default=0) if cycles else math.inf
    after, shares = [], []
    for index, (loader, offer) in enumerate(zip(loaders.flattened, offers, strict=True)):
        sizes = tuple(theirs[index].size for theirs in everybody)
        if offer.way != "dealt":
            _hint(loader, offer, prefix, ranks)
            is_even = offer.way == "padded" and len(set(sizes)) == 1
            shares.append(Share(is_dealt=False, is_even=is_even, total=math.inf, on_ranks=sizes))
        elif prefix == "train":
            loader = _dealt_for_training(loader, ranks, seed)  # noqa: PLW2901 -- the dealt one replaces the given one
            size = loader_size(loader)
            shares.append(Share(is_dealt=True, is_even=True, total=math.inf, on_ranks=(size,) * ranks.size))
        else:
            length = int(longest) if longest != math.inf and longest > offer.size else None
            loader = _dealt_for_evaluation(loader, ranks, seed, length)  # noqa: PLW2901 -- see above
            shares.append(
                Share(is_dealt=True, is_even=False, total=offer.size, on_ranks=_dealt(offer.size, ranks.size))
            )
        after.append(loader)
    if any(share.is_dealt for share in shares):
        loaders.flattened = after
    return shares


def _dealt(total: _Number, size: int) -> tuple[_Number, ...]:
    if total == math.inf:
        return (math.inf,) * size
    return tuple(len(range(rank, int(total), size)) for rank in range(size))


# -- what is dealt


def _offer(loader: Any, prefix: str, *, inject: bool) -> _Offer:
    kind = type(loader).__name__
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return _Offer("own", loader_size(loader), kind)
    for sampler in samplers_of(loader):
        if isinstance(sampler, DistributedSampler):
            return _Offer("padded" if type(sampler) is DistributedSampler else "own", loader_size(loader), kind)
    if not inject:
        return _Offer("own", loader_size(loader), kind)
    if prefix == "train" and _is_plain(loader.batch_sampler):
        return _Offer("dealt", loader_size(loader.sampler), kind)
    return _Offer("dealt", loader_size(_index_source(loader)), kind)


def _is_plain(batch_sampler: Any) -> bool:
    """Tell whether a batch sampler only groups what its sampler yields, so that either may be dealt."""
    return batch_sampler is None or type(batch_sampler) is BatchSampler


def _index_source(loader: DataLoader[Any]) -> Any:
    return loader.sampler if loader.batch_sampler is None else loader.batch_sampler


def _dealt_for_training(loader: DataLoader[Any], ranks: Ranks, seed: int) -> DataLoader[Any]:
    """Deal the samples; where a batch sampler of the user's makes the batches, deal these."""
    if not _is_plain(loader.batch_sampler):
        batches = DistributedSamplerWrapper(cast("Any", loader.batch_sampler), ranks.size, ranks.rank, seed=seed)
        return changed(loader, batch_sampler=batches)
    sampler = loader.sampler
    in_order = type(sampler) is SequentialSampler
    if in_order or _shuffles_all(sampler, loader.dataset):
        data = cast("Any", loader.dataset)
        return with_sampler(loader, DistributedSampler(data, ranks.size, ranks.rank, shuffle=not in_order, seed=seed))
    return with_sampler(loader, DistributedSamplerWrapper(sampler, ranks.size, ranks.rank, seed=seed))


def _shuffles_all(sampler: Any, dataset: Any) -> bool:
    return (
        type(sampler) is RandomSampler
        and sampler.generator is None
        and not sampler.replacement
        and sampler.num_samples == len(cast("Sized", dataset))
    )


def _dealt_for_evaluation(loader: DataLoader[Any], ranks: Ranks, seed: int, length: int | None) -> DataLoader[Any]:
    """Deal the batches."""
    source = _index_source(loader)
    dealt = UnrepeatedDistributedSamplerWrapper(source, ranks.size, ranks.rank, seed=seed, length=length)
    return changed(loader, **{"sampler" if source is loader.sampler else "batch_sampler": dealt})


# -- what there is to say


def _check_alike(everybody: list[list[_Offer]], prefix: str) -> None:
    numbers = [len(theirs) for theirs in everybody]
    if len(set(numbers)) > 1:
        raise MisconfigurationException(
            f"The ranks have {_listed(numbers)} {prefix} loaders. Expected as many on each rank, or they would wait for"
            f" each other: return the same number of loaders from `{prefix}_dataloader` everywhere."
        )
    for index, offers in enumerate(zip(*everybody, strict=True)):
        ways = [offer.way for offer in offers]
        sizes = [offer.size for offer in offers]
        if len({way == "dealt" for way in ways}) > 1:
            raise MisconfigurationException(
                f"The {prefix} loader number {index} is a {_listed([offer.kind for offer in offers])} on the ranks, and"
                " is to be divided here on some of them only. Expected the same kind of loader with the same kind of"
                f" sampler everywhere. Return it from `{prefix}_dataloader`, or pass"
                " `Trainer(use_distributed_sampler=False)` and divide the data yourself."
            )
        if ways[0] == "dealt" and len(set(sizes)) > 1:
            raise MisconfigurationException(
                f"The {prefix} loader number {index} has {_listed(sizes)} samples or batches on the ranks, and is to be"
                " divided among them. Expected the same data on each rank, of which each takes its part. If each rank"
                " has its own data already, pass `Trainer(use_distributed_sampler=False)`."
            )


def _listed(values: list[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _hint(loader: Any, offer: _Offer, prefix: str, ranks: Ranks) -> None:
    if offer.way == "padded":
        samples = len(loader.dataset)
        if prefix != "train" and samples % ranks.size:
            _hints.warn(
                f"The {prefix} loader has a `DistributedSampler` of yours, which repeats samples where {samples} do not"
                f" go into {ranks.size} ranks: results count them twice. For exact results leave the sampler out, or"
                " use `lt_core.distributed_sampler.UnrepeatedDistributedSampler`."
            )
        return
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        return  # the user wanted to divide it, and can
    what = f"`{type(loader.dataset).__name__}`" if isinstance(loader, DataLoader) else f"a `{type(loader).__name__}`"
    _hints.info(
        f"The {prefix} loader reads {what}, which cannot be divided from outside: each of the {ranks.size} ranks reads"
        " all that it gives. If it does not divide its data itself, let `__iter__` give every n-th sample only:"
        " `itertools.islice(samples, torch.distributed.get_rank(), None, torch.distributed.get_world_size())`."
    )
