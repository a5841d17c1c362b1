"""What is changed on torch's DataLoaders before they are read, and what their settings give reason to say.

Other iterables are left alone.
"""

from __future__ import annotations

import copy
import functools
import multiprocessing
import os
from typing import TYPE_CHECKING, Any, cast

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
)

from lt_core.rank_zero import PossibleUserWarning, WarningCache, rank_zero_warn
from lt_core.seed import pl_worker_init_function
from lt_loops.data.loader_copy import changed, with_sampler

if TYPE_CHECKING:
    from collections.abc import Sized

    from lt_core.combined_loader import CombinedLoader
    from lt_loops.data.source import Prefix

__all__ = ["prepare_loaders"]

_hints = WarningCache()


def prepare_loaders(
    loaders: CombinedLoader, prefix: Prefix, *, overfit: bool = False, reloads: bool = False, rank: int = 0
) -> None:
    """Make the loaders of a stage ready to be read.

    * Overfitting: training and validation loaders that shuffle are replaced by ones that do not.
    * Prediction: the last, smaller batch is kept, whatever ``drop_last`` says, so that each sample is predicted.
    * ``seed_everything(workers=True)``: the workers get seeds of their own, unless the loader sees to it.

    Args:
        loaders: Whose members are replaced where they change; the loaders given by the user are not changed, but for
            their ``worker_init_fn``.
        prefix: The stage.
        overfit: Whether ``overfit_batches`` is on.
        reloads: Whether loaders are asked for anew every few epochs.
        rank: The global rank, for the workers' seeds.

    Raises:
        MisconfigurationTypeError: Shuffling has to be turned off and cannot be.
    """
    before = loaders.flattened
    after = []
    for loader in before:
        prepared = loader
        if isinstance(loader, DataLoader):
            if overfit and prefix in ("train", "val"):
                prepared = _without_shuffling(loader, prefix)
            if prefix == "predict":
                prepared = _without_dropping(loader)
            _seed_workers(prepared, rank)
            _say_what_is_odd(prepared, prefix, reloads=reloads)
        after.append(prepared)
    if any(new is not old for new, old in zip(after, before, strict=True)):
        loaders.flattened = after


def _without_shuffling(loader: DataLoader[Any], prefix: str) -> DataLoader[Any]:
    if isinstance(loader.dataset, IterableDataset):
        return loader
    batch_sampler = loader.batch_sampler
    # A loader with its own batch sampler has a sampler that it does not read.
    sampler = loader.sampler if batch_sampler is None else getattr(batch_sampler, "sampler", None)
    if isinstance(sampler, SequentialSampler):
        return loader
    in_order = (
        sampler.indices
        if isinstance(sampler, SubsetRandomSampler)
        else SequentialSampler(cast("Sized", loader.dataset))
    )
    unshuffled = with_sampler(loader, in_order)
    rank_zero_warn(
        f"`overfit_batches` is on and the {prefix} loader has a `{type(sampler).__name__}`: it is"
        " replaced by one that reads in order, so that the same batches come each epoch. Pass a loader with"
        " `shuffle=False` to say so yourself."
    )
    return unshuffled


def _without_dropping(loader: DataLoader[Any]) -> DataLoader[Any]:
    batch_sampler = loader.batch_sampler
    if not isinstance(batch_sampler, BatchSampler) or not getattr(batch_sampler, "drop_last", False):
        return loader
    batched = copy.copy(batch_sampler)
    batched.drop_last = False
    return changed(loader, batch_sampler=batched, drop_last=False)


def _seed_workers(loader: DataLoader[Any], rank: int) -> None:
    if os.environ.get("PL_SEED_WORKERS", "0") == "1" and loader.worker_init_fn is None:
        loader.worker_init_fn = functools.partial(pl_worker_init_function, rank=rank)


def _say_what_is_odd(loader: DataLoader[Any], prefix: str, *, reloads: bool) -> None:
    if prefix != "train" and _shuffles(loader):
        rank_zero_warn(
            f"The {prefix} loader shuffles: the order of its results differs from run to run. Expected a fixed order."
            " Write `shuffle=False`.",
            category=PossibleUserWarning,
        )
    if loader.persistent_workers and loader.pin_memory and reloads:
        rank_zero_warn(
            f"The {prefix} loader has `persistent_workers=True` and `pin_memory=True`, and"
            " `reload_dataloaders_every_n_epochs` replaces it while its workers still pin memory, which is known to"
            " hang or crash. Write `pin_memory=False` or do not reload.",
            category=PossibleUserWarning,
        )
    _say_about_workers(loader, prefix)


def _shuffles(loader: DataLoader[Any]) -> bool:
    samplers = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    return any(isinstance(sampler, RandomSampler) for sampler in samplers)


def _say_about_workers(loader: DataLoader[Any], prefix: str) -> None:
    context = loader.multiprocessing_context
    method = multiprocessing.get_start_method(allow_none=True) if context is None else context.get_start_method()
    if loader.num_workers > 0 and method == "spawn" and not loader.persistent_workers:
        _hints.info(
            f"The workers of the {prefix} loader are spawned anew each epoch: `persistent_workers=True` keeps them."
        )
    spare = _cpus() - 1
    if loader.num_workers == 0 and spare > 1 and not _hints:
        _hints.info(
            f"The {prefix} loader has no workers. Where reading data takes long, `num_workers` (here up to {spare})"
            " lets it go on beside training."
        )


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on all systems
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
