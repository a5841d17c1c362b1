"""What a module's ``configure_optimizers`` returned, in one form: a list of optimizers and a list of schedulers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lt_core.errors import MisconfigurationException, did_you_mean

__all__ = ["SchedulerConfig", "configured_optimizers"]


@dataclass
class SchedulerConfig:
    """A scheduler and when it is stepped.

    Attributes:
        scheduler: The scheduler.
        name: What monitors call it.
        interval: ``"epoch"`` or ``"step"``.
        frequency: After how many of those.
        reduce_on_plateau: Whether it wants a metric.
        monitor: The key of that metric.
        strict: Whether a missing metric is an error.
    """

    scheduler: Any
    name: str | None = None
    interval: str = "epoch"
    frequency: int = 1
    reduce_on_plateau: bool = False
    monitor: str | None = None
    strict: bool = True


_KEYS = tuple(field.name for field in fields(SchedulerConfig))


def configured_optimizers(returned: Any) -> tuple[list[Optimizer], list[SchedulerConfig]]:
    """Bring the return value of ``configure_optimizers`` into one form.

    Args:
        returned: None, an optimizer, a sequence of them, two sequences (optimizers, schedulers), a dict with
            ``optimizer`` and perhaps ``lr_scheduler``, or a sequence of such dicts.

    Raises:
        MisconfigurationException: It is none of these.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> optimizers, schedulers = configured_optimizers({"optimizer": sgd})
        >>> optimizers == [sgd], schedulers
        (True, [])
    """
    if returned is None:
        return [], []
    if isinstance(returned, (Optimizer, Mapping)):
        returned = [returned]
    if not isinstance(returned, Sequence) or isinstance(returned, str):
        raise _unknown(returned)
    if len(returned) == 2 and all(isinstance(part, Sequence) for part in returned):
        optimizers, schedulers = returned
        return list(optimizers), [_scheduler(scheduler) for scheduler in schedulers]
    optimizers, configs = [], []
    for entry in returned:
        if isinstance(entry, Optimizer):
            optimizers.append(entry)
        elif isinstance(entry, Mapping) and isinstance(entry.get("optimizer"), Optimizer):
            optimizers.append(entry["optimizer"])
            if entry.get("lr_scheduler") is not None:
                configs.append(_scheduler(entry["lr_scheduler"], entry.get("monitor")))
        else:
            raise _unknown(returned)
    return optimizers, configs


def _scheduler(given: Any, monitor: str | None = None) -> SchedulerConfig:
    if not isinstance(given, Mapping):
        given = {"scheduler": given}
    for key in given:
        if key not in _KEYS:
            raise MisconfigurationException(
                f"The scheduler of `configure_optimizers` has the entry {key!r}. Expected some of {list(_KEYS)}."
                f"{did_you_mean(key, _KEYS)}"
            )
    config = SchedulerConfig(**{"monitor": monitor, **given})
    if not isinstance(config.scheduler, (LRScheduler, ReduceLROnPlateau)):
        raise MisconfigurationException(
            f"`configure_optimizers` returned {config.scheduler!r} where a learning rate scheduler belongs. Expected "
            "one of `torch.optim.lr_scheduler`, or a dict with the entry `scheduler`."
        )
    config.reduce_on_plateau = config.reduce_on_plateau or isinstance(config.scheduler, ReduceLROnPlateau)
    return config


def _unknown(returned: Any) -> MisconfigurationException:
    return MisconfigurationException(
        f"`configure_optimizers` returned {returned!r}. Expected an optimizer, a list of them, two lists (optimizers, "
        "schedulers), a dict with `optimizer` and `lr_scheduler`, or None."
    )
