"""The samplers of a loader, however deep they are wrapped, and telling them which epoch begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["samplers_of", "set_epoch"]


def set_epoch(loaders: Iterable[Any], epoch: int) -> None:
    """Tell the samplers of the loaders which epoch begins, where they want to know.

    Args:
        loaders: Any iterables.
        epoch: Counted from 0.

    Example:
        >>> from torch.utils.data import DataLoader, DistributedSampler
        >>> sampler = DistributedSampler([1, 2], num_replicas=1, rank=0)
        >>> set_epoch([DataLoader([1, 2], sampler=sampler)], 3)
        >>> sampler.epoch
        3
    """
    for loader in loaders:
        for sampler in samplers_of(loader):
            tell = getattr(sampler, "set_epoch", None)
            if callable(tell):
                tell(epoch)


def samplers_of(loader: Any) -> list[Any]:
    """Return the samplers of a loader, each once: its sampler, its batch sampler, and those within.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> loader = DataLoader([1, 2], batch_size=2)
        >>> [type(sampler).__name__ for sampler in samplers_of(loader)]
        ['SequentialSampler', 'BatchSampler']
    """
    found: dict[int, Any] = {}
    for outer in (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)):
        sampler = outer
        while sampler is not None and id(sampler) not in found:
            found[id(sampler)] = sampler
            sampler = getattr(sampler, "sampler", None)
    return list(found.values())
