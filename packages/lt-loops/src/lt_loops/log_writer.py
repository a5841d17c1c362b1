"""Rows on their way to the loggers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lt_core.log.reading import read_scalars

__all__ = ["LogWriter"]


class LogWriter:
    """Turns published metrics into one row per call, with one copy from the device, and hands it to every logger.

    Args:
        loggers: Where rows go.
    """

    __slots__ = ("_loggers",)

    def __init__(self, loggers: list[Any]) -> None:
        self._loggers = loggers

    def write(self, metrics: dict[str, Tensor], step: int, epoch: int | None = None) -> None:
        """Write a row; an empty one is not written.

        A metric named ``step`` takes the place of the x-axis; else the epoch is added as ``epoch``.

        Args:
            metrics: Scalar tensors ``[]`` by name.
            step: The x-axis.
            epoch: The running epoch, None to leave it out.
        """
        if not self._loggers or not metrics:
            return
        row = read_scalars(metrics)
        if "step" in row:
            step = int(row.pop("step"))
        elif epoch is not None:
            row.setdefault("epoch", epoch)
        for logger in self._loggers:
            logger.log_metrics(row, step)
            logger.save()
