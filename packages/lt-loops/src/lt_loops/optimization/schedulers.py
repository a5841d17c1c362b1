"""When each learning rate scheduler steps.

Who is due when is sorted out once, into four tuples, so that a loop skips the empty ones without a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationException, did_you_mean
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from torch import nn

    from lt_core.scheduler_config import LRSchedulerConfig

__all__ = ["SchedulerStepper"]

_Metrics = Callable[[], Mapping[str, Any]]
_Entry = tuple[int, "LRSchedulerConfig"]


class SchedulerStepper:
    """Steps schedulers: by optimizer step or by epoch, with a metric or without.

    A scheduler with frequency n steps where the number of the batch within its epoch, or of the epoch, counted from
    1, is divisible by n.

    Args:
        configs: The schedulers; empty in manual optimisation.
        module: The module, named in messages.
        overridden: The module's own ``lr_scheduler_step(scheduler, metric)``, None where it has none.

    Attributes:
        has_step: Whether any scheduler steps with the optimizer.
        has_epoch: Whether any steps at the end of an epoch.
        has_plateau_step: Whether any steps with the optimizer and takes a metric.
        has_plateau_epoch: Whether any steps at the end of an epoch and takes a metric.
        steps: How many steps were taken, over all schedulers.

    Example:
        >>> import torch
        >>> from lt_core.scheduler_config import LRSchedulerConfig
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> halve = LRSchedulerConfig(torch.optim.lr_scheduler.StepLR(sgd, 1, gamma=0.5), interval="step", frequency=2)
        >>> stepper = SchedulerStepper([halve], torch.nn.Linear(1, 1), None)
        >>> for batch_idx in range(4):
        ...     sgd.step()
        ...     stepper.on_window(batch_idx)
        >>> sgd.param_groups[0]["lr"]
        0.25
    """

    has_step: bool
    has_epoch: bool
    has_plateau_step: bool
    has_plateau_epoch: bool
    steps: int

    def __init__(
        self,
        configs: Sequence[LRSchedulerConfig],
        module: nn.Module,
        overridden: Callable[[Any, Any], Any] | None,
    ) -> None:
        self._name = type(module).__name__
        self._overridden = overridden
        self._step = _select(configs, "step", plateau=False)
        self._epoch = _select(configs, "epoch", plateau=False)
        self._plateau_step = _select(configs, "step", plateau=True)
        self._plateau_epoch = _select(configs, "epoch", plateau=True)
        self.has_step = bool(self._step)
        self.has_epoch = bool(self._epoch)
        self.has_plateau_step = bool(self._plateau_step)
        self.has_plateau_epoch = bool(self._plateau_epoch)
        self.steps = 0

    def on_window(self, batch_idx: int) -> None:
        """Step those that go by optimizer steps; called for each batch that closes an accumulation window.

        Args:
            batch_idx: The batch's number within the epoch.
        """
        self._step_due(self._step, batch_idx)

    def on_last_batch(self, epoch: int) -> None:
        """Step those that go by epochs; called after the last batch of an epoch."""
        self._step_due(self._epoch, epoch)

    def plateau_step(self, batch_idx: int, metrics: _Metrics) -> None:
        """Step those that go by optimizer steps and take a metric.

        Args:
            batch_idx: The batch's number within the epoch.
            metrics: Returns what was logged; called only if a scheduler is due.

        Raises:
            MisconfigurationException: A monitored metric was not logged.
        """
        self._step_with_metrics(self._plateau_step, batch_idx, metrics)

    def plateau_epoch(self, epoch: int, metrics: _Metrics) -> None:
        """Step those that go by epochs and take a metric; called when the epoch's metrics are there."""
        self._step_with_metrics(self._plateau_epoch, epoch, metrics)

    def _step_due(self, entries: tuple[_Entry, ...], index: int) -> None:
        for _, config in entries:
            if _is_due(config, index):
                self._step_one(config.scheduler, None)

    def _step_with_metrics(self, entries: tuple[_Entry, ...], index: int, metrics: _Metrics) -> None:
        due = [config for _, config in entries if _is_due(config, index)]
        if not due:
            return
        logged = metrics()
        for config in due:
            name = str(config.monitor)
            if name in logged:
                self._step_one(config.scheduler, logged[name])
            else:
                self._missing(config, logged)

    def _step_one(self, scheduler: Any, metric: Any) -> None:
        self.steps += 1
        if self._overridden is not None:
            self._overridden(scheduler, metric)
        elif metric is None:
            scheduler.step()
        else:
            scheduler.step(metric)

    def _missing(self, config: LRSchedulerConfig, logged: Mapping[str, Any]) -> None:
        names = ", ".join(f"`{name}`" for name in sorted(logged)) or "nothing"
        found = (
            f"The scheduler `{type(config.scheduler).__name__}` monitors `{config.monitor}`, which `{self._name}` has"
            f" not logged by now. Logged so far: {names}.{did_you_mean(str(config.monitor), logged)}"
        )
        if config.strict:
            raise MisconfigurationException(
                f'{found} Expected a logged name: log it with `self.log("{config.monitor}", …)`, change `monitor`, or'
                ' set "strict": False to leave out steps without it.'
            )
        rank_zero_warn(f"{found} The step is left out.", category=RuntimeWarning)


def _select(configs: Sequence[LRSchedulerConfig], interval: str, *, plateau: bool) -> tuple[_Entry, ...]:
    return tuple(
        (index, config)
        for index, config in enumerate(configs)
        if config.interval == interval and config.reduce_on_plateau == plateau
    )


def _is_due(config: LRSchedulerConfig, index: int) -> bool:
    return (index + 1) % config.frequency == 0
