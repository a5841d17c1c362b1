"""How many batches are read of each loader, and after how many of them validation runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from lt_core.combined_loader import CombinedLoader
from lt_core.errors import MisconfigurationException, MisconfigurationValueError
from lt_core.rank_zero import PossibleUserWarning, rank_zero_warn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["batch_counts", "check_log_interval", "check_val_batches", "limited_count", "loader_size"]

_Number: TypeAlias = "int | float"


def loader_size(loader: Any) -> _Number:
    """Return how many batches a loader has; infinite where it cannot tell.

    Example:
        >>> loader_size([1, 2, 3]), loader_size(iter([1, 2, 3]))
        (3, inf)
    """
    if isinstance(loader, CombinedLoader):
        return loader.num_batches  # which, unlike its length, is there before it is started
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # what torch's loaders and samplers raise where there is no length
        return math.inf


def limited_count(size: _Number, limit: _Number, prefix: str) -> _Number:
    """Return how many batches of a loader are read.

    Args:
        size: How many it has, infinite when unknown.
        limit: A count (int) or a fraction (float).
        prefix: The stage, for messages.

    Raises:
        MisconfigurationException: A fraction of an unknown size was asked for, or one so small that nothing is left.

    Example:
        >>> limited_count(10, 0.25, "val"), limited_count(10, 3, "val"), limited_count(math.inf, 1.0, "val")
        (2, 3, inf)
    """
    argument = f"limit_{prefix}_batches"
    if isinstance(limit, int):
        return min(size, limit)
    if limit == 1.0 or limit == 0.0:
        return size if limit else 0
    if size == math.inf:
        raise MisconfigurationException(
            f"`{argument}={limit!r}` is a fraction of a loader that has no length (as with an `IterableDataset`)."
            f" Expected a number of batches, or 1.0 for all. Write, for example, `{argument}=100`."
        )
    count = int(size * limit)
    if count == 0 and size > 0:
        raise MisconfigurationException(
            f"`{argument}={limit!r}` of a loader with {size} batches is less than one batch. Expected at least"
            f" {1 / size}, or a number of batches. Write `{argument}={1 / size}` or `{argument}=1`; 0 switches the"
            " stage off."
        )
    return count


def batch_counts(loaders: Iterable[Any], limit: _Number, prefix: str) -> list[_Number]:
    """Return how many batches of each loader are read; a loader without any is warned of.

    Example:
        >>> batch_counts([[1, 2, 3, 4], [5, 6]], 0.5, "test")
        [2, 1]
    """
    counts = []
    for index, loader in enumerate(loaders):
        size = loader_size(loader)
        if size == 0 and limit:
            rank_zero_warn(
                f"The {prefix} loader number {index} ({type(loader).__name__}) has no batches: nothing is read of it."
                " Expected at least one; check the data set's length, the sampler, and `drop_last` with a batch size"
                " that is larger than the data set."
            )
        counts.append(limited_count(size, limit, prefix))
    return counts


def check_val_batches(
    val_check_interval: _Number | None,
    num_training_batches: _Number,
    *,
    is_sized: bool,
    check_val_every_n_epoch: int | None,
    limit_val_batches: _Number,
) -> int | None:
    """Return after how many training batches validation runs.

    Args:
        val_check_interval: A count (int), a fraction of the epoch's batches (float), or None when it goes by time.
        num_training_batches: Batches per epoch, after limits; infinite when unknown.
        is_sized: Whether the training loader has a length.
        check_val_every_n_epoch: None when batches are counted across epochs.
        limit_val_batches: 0 when nothing is validated.

    Returns:
        A number of batches; None when validation goes by time, and when it runs at the end of an epoch of unknown
        length.

    Raises:
        MisconfigurationException: The interval is longer than the epoch, or a fraction of an unknown length.

    Example:
        >>> check_val_batches(0.25, 10, is_sized=True, check_val_every_n_epoch=1, limit_val_batches=1.0)
        2
    """
    if val_check_interval is None:
        return None
    if isinstance(val_check_interval, int):
        too_long = val_check_interval > num_training_batches and check_val_every_n_epoch is not None
        if too_long and limit_val_batches > 0:
            raise MisconfigurationValueError(
                f"`val_check_interval={val_check_interval}` is more than the {num_training_batches} training batches of"
                f" an epoch, so validation would never run. Expected at most {num_training_batches}. Write"
                f" `val_check_interval={num_training_batches}`, `check_val_every_n_epoch=None` to count batches across"
                " epochs, or `limit_val_batches=0` not to validate."
            )
        return val_check_interval
    if is_sized:
        return max(1, int(num_training_batches * val_check_interval))
    if val_check_interval == 1.0:
        return None
    raise MisconfigurationException(
        f"`val_check_interval={val_check_interval!r}` is a fraction of a training loader that has no length (as with an"
        " `IterableDataset`). Expected a number of batches, a duration, or 1.0 for the end of the epoch. Write, for"
        " example, `val_check_interval=1000`."
    )


def check_log_interval(num_training_batches: _Number, log_every_n_steps: int) -> None:
    """Warn when an epoch is shorter than the interval at which rows are logged.

    Args:
        num_training_batches: Batches per epoch.
        log_every_n_steps: The interval; 0 for never.
    """
    if 0 < num_training_batches < log_every_n_steps:
        rank_zero_warn(
            f"`log_every_n_steps={log_every_n_steps}` is more than the {num_training_batches} training batches of an"
            f" epoch: most epochs log no step. To see more, write `log_every_n_steps={num_training_batches}` or less.",
            category=PossibleUserWarning,
        )
