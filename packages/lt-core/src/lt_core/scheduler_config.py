"""One learning rate scheduler with what a trainer has to know to step it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["LRSchedulerConfig"]


@dataclass
class LRSchedulerConfig:
    """When and how a scheduler steps.

    Attributes:
        scheduler: The scheduler: torch's, or any that the module's ``lr_scheduler_step`` knows how to step.
        name: How monitors call it; None for the name that they make up.
        interval: ``"epoch"`` or ``"step"`` (an optimizer step).
        frequency: It steps each that many epochs, or batches of an epoch.
        reduce_on_plateau: Whether it is stepped with a metric, after the metric was computed.
        monitor: The logged name of that metric.
        strict: Whether a missing metric is an error; otherwise the step is left out with a warning.
    """

    scheduler: Any
    name: str | None = None
    interval: str = "epoch"
    frequency: int = 1
    reduce_on_plateau: bool = False
    monitor: str | None = None
    strict: bool = True
