"""What has been published so far: a trainer's three metric dictionaries, read from the sink when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lt_core.log.reading import read_scalars

if TYPE_CHECKING:
    from lt_core.log.sink import LogSink, Metrics

__all__ = ["MetricsBoard"]


class MetricsBoard:
    """Keeps the last published values and brings them up to date at each look.

    Args:
        sink: Where values are logged.

    Example:
        >>> from lt_core.log.sink import LogSink
        >>> MetricsBoard(LogSink()).callback_metrics
        {}
    """

    __slots__ = ("_bar", "_callback", "_logged", "_sink")

    def __init__(self, sink: LogSink) -> None:
        self._sink = sink
        self._callback: dict[str, Tensor] = {}
        self._logged: dict[str, Tensor] = {}
        self._bar: dict[str, Tensor] = {}

    @property
    def sink(self) -> LogSink:
        """Where values are logged."""
        return self._sink

    def publish(self) -> dict[str, Tensor]:
        """Take over what the sink holds now.

        Returns:
            The part that goes to the loggers.
        """
        return self._take(self._sink.read(self._sink.dataloader_idx))

    def publish_shared(self, module: nn.Module) -> dict[str, Tensor]:
        """Take over what the sink holds now, with step values combined over ranks; every rank calls it.

        Args:
            module: The module that is run.

        Returns:
            The part that goes to the loggers.
        """
        return self._take(self._sink.read_shared(module))

    def _take(self, metrics: Metrics) -> dict[str, Tensor]:
        self._callback.update(metrics.callback)
        self._logged.update(metrics.logger)
        self._bar.update(metrics.progress_bar)
        return metrics.logger

    def metrics_for_all(self) -> dict[str, Tensor]:
        """Return `callback_metrics`, with several ranks those of rank 0, for decisions that must be the same.

        With several ranks every rank calls it.
        """
        metrics = self.callback_metrics
        exchange = self._sink.exchange
        if exchange is None:
            return metrics
        numbers = exchange.gather_objects(read_scalars(metrics) if exchange.rank == 0 else None)[0]
        return {
            name: torch.tensor(number, device=self._sink.device, dtype=_dtype_of(metrics.get(name)))
            for name, number in numbers.items()
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return what callbacks can read, for a checkpoint."""
        return {name: value.detach().clone() for name, value in self._callback.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        self._callback.update(state)

    def restore_published(self, callback: dict[str, Tensor], logged: dict[str, Tensor], bar: dict[str, float]) -> None:
        """Take over what another process has published, in the place of what was published here."""
        self._callback, self._logged = dict(callback), dict(logged)
        self._bar = {name: torch.as_tensor(value) for name, value in bar.items()}

    def reset(self) -> None:
        """Forget everything."""
        self._callback.clear()
        self._logged.clear()
        self._bar.clear()

    def to_cpu(self) -> None:
        """Move all values to the CPU, as at the end of a run."""
        for metrics in (self._callback, self._logged, self._bar):
            for name, value in metrics.items():
                metrics[name] = value.cpu()

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """Everything logged, under plain and forked names."""
        self.publish()
        return self._callback

    @callback_metrics.setter
    def callback_metrics(self, values: dict[str, Tensor]) -> None:
        self._callback = values

    @property
    def logged_metrics(self) -> dict[str, Tensor]:
        """What goes to loggers."""
        self.publish()
        return self._logged

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """What goes to the progress bar, read in one copy."""
        self.publish()
        return read_scalars(self._bar)


def _dtype_of(value: Tensor | None) -> torch.dtype:
    return torch.get_default_dtype() if value is None else value.dtype
