"""Names for what hooks take and return, under the names that users of Lightning import in annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lt_core.scheduler_config import LRSchedulerConfig

__all__ = [
    "EVAL_DATALOADERS",
    "STEP_OUTPUT",
    "TRAIN_DATALOADERS",
    "LRSchedulerConfig",
    "LRSchedulerConfigType",
    "LRSchedulerTypeUnion",
    "OptimizerConfig",
    "OptimizerLRScheduler",
    "OptimizerLRSchedulerConfig",
]

# What a step returns: a loss, a mapping that holds it under "loss", or None to skip the step.
STEP_OUTPUT: TypeAlias = Tensor | Mapping[str, Any] | None
# Loaders of any kind, singly or in lists and mappings of them.
TRAIN_DATALOADERS: TypeAlias = Any
EVAL_DATALOADERS: TypeAlias = Any
LRSchedulerTypeUnion: TypeAlias = LRScheduler | ReduceLROnPlateau


class _SchedulerItself(TypedDict):
    scheduler: LRSchedulerTypeUnion


class LRSchedulerConfigType(_SchedulerItself, total=False):
    """A scheduler and when it steps, as `configure_optimizers` may return it.

    Every key but `scheduler` has a default: after each epoch, each time, with no monitored metric.
    """

    name: str | None
    interval: str
    frequency: int
    reduce_on_plateau: bool
    monitor: str | None
    strict: bool


class OptimizerConfig(TypedDict):
    """An optimizer alone, in the form that may hold a scheduler too."""

    optimizer: Optimizer


class OptimizerLRSchedulerConfig(OptimizerConfig, total=False):
    """An optimizer and its scheduler, as `configure_optimizers` may return them."""

    lr_scheduler: LRSchedulerTypeUnion | LRSchedulerConfigType
    monitor: str


# Everything that `configure_optimizers` may return.
OptimizerLRScheduler: TypeAlias = (
    Optimizer
    | OptimizerLRSchedulerConfig
    | Sequence[Optimizer]
    | Sequence[OptimizerLRSchedulerConfig]
    | tuple[Sequence[Optimizer], Sequence[LRSchedulerTypeUnion | LRSchedulerConfigType]]
    | None
)
