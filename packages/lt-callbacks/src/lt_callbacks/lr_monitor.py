"""Logs the learning rates of all optimizers.

A schedule that does something else than one believes is among the most common reasons of a bad run, and is seen at
once in a curve.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from lt_callbacks.overriding import is_replaced
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.optim import Optimizer

    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["LearningRateMonitor"]

_ANY = "any"


class LearningRateMonitor(Callback):
    """Log the learning rate of each optimizer, and of each of its parameter groups.

    A rate is named by its scheduler's ``name``, else ``lr-<optimizer class>``, with ``-1``, ``-2`` … for further
    optimizers of a class, and ``/pg1``, ``/pg2`` … or ``/<name of the group>`` for parameter groups.

    Args:
        logging_interval: ``"step"`` logs each ``log_every_n_steps`` of the trainer, ``"epoch"`` at the start of each
            epoch. None logs each rate when its scheduler changes it, and a rate without scheduler at both.
        log_momentum: Whether to log ``<name>-momentum`` too: the momentum, or the first beta.
        log_weight_decay: Whether to log ``<name>-weight_decay`` too.

    Attributes:
        lrs: Everything logged so far, by name.

    Raises:
        MisconfigurationException: The interval is none of those; or, when training starts, there is no logger, or two
            parameter groups of an optimizer share a name.

    Example:
        >>> LearningRateMonitor(logging_interval="step").lrs
        {}
    """

    role: ClassVar[str | None] = "lr_monitor"

    def __init__(
        self,
        logging_interval: Literal["step", "epoch"] | None = None,
        log_momentum: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
        log_weight_decay: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
    ) -> None:
        super().__init__()
        if logging_interval not in (None, "step", "epoch"):
            raise MisconfigurationException(
                f"LearningRateMonitor got logging_interval={logging_interval!r}; expected 'step', 'epoch' or None."
                " Write `logging_interval='step'`."
            )
        self.logging_interval = logging_interval
        self.log_momentum = log_momentum
        self.log_weight_decay = log_weight_decay
        self.lrs: dict[str, list[float]] = {}
        self.last_momentum_values: dict[str, float | None] = {}
        self.last_weight_decay_values: dict[str, float | None] = {}
        self._last_window_logged = -1

    def uses_hook(self, name: str) -> bool:
        """Leave out the hook of the other interval."""
        idle = {"epoch": "on_train_batch_start", "step": "on_train_epoch_start"}.get(self.logging_interval or "")
        return name != idle or is_replaced(self, LearningRateMonitor, name)

    def on_train_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Check that there is something to log to, and find the names."""
        if not trainer.loggers:
            raise MisconfigurationException(
                "LearningRateMonitor has nowhere to log to: the trainer has no logger. Expected one. Write"
                " `Trainer(logger=True)`, or leave the callback out."
            )
        self._last_window_logged = -1
        optimizers = [optimizer for _, optimizer, _ in self._named(trainer)]
        if self.log_momentum and any(
            "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults for optimizer in optimizers
        ):
            rank_zero_warn(
                "LearningRateMonitor(log_momentum=True) found an optimizer without momentum; 0 is logged for it.",
                category=RuntimeWarning,
            )
        names = [name for names, _, _ in self._named(trainer) for name in names]
        self.lrs = {name: [] for name in names}
        self.last_momentum_values = {f"{name}-momentum": None for name in names}
        self.last_weight_decay_values = {f"{name}-weight_decay": None for name in names}

    def on_train_batch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Log the rates that change by step, when the trainer's interval is due."""
        if self.logging_interval == "epoch":
            return
        every, window = trainer.log_every_n_steps, trainer.num_logged_windows
        if every == 0 or (window + 1) % every or window == self._last_window_logged:
            return
        self._last_window_logged = window
        self._log(trainer, "step")

    def on_train_epoch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Log the rates that change by epoch."""
        if self.logging_interval != "step":
            self._log(trainer, "epoch")

    def _log(self, trainer: Trainer, interval: str) -> None:
        values: dict[str, float] = {}
        for names, optimizer, changes in self._named(trainer):
            if self.logging_interval is not None or changes in (interval, _ANY):
                values.update(self._values(optimizer, names))
        if not values:
            return
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.num_logged_windows)

    def _values(self, optimizer: Optimizer, names: list[str]) -> dict[str, float]:
        """Read one optimizer."""
        values: dict[str, float] = {}
        for group, name in zip(optimizer.param_groups, names, strict=True):
            values[name] = rate = float(group["lr"])
            self._history(name).append(rate)
            if self.log_momentum:
                momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0)
                values[f"{name}-momentum"] = self.last_momentum_values[f"{name}-momentum"] = float(momentum)
            if self.log_weight_decay:
                decay = float(group.get("weight_decay", 0))
                values[f"{name}-weight_decay"] = self.last_weight_decay_values[f"{name}-weight_decay"] = decay
        return values

    def _history(self, name: str) -> list[float]:
        """Return the list of a rate; the first group's goes on when an optimizer gets a second group."""
        if name not in self.lrs and name.endswith("/pg1") and name.removesuffix("/pg1") in self.lrs:
            self.lrs[name] = self.lrs.pop(name.removesuffix("/pg1"))
        return self.lrs.setdefault(name, [])

    def _named(self, trainer: Trainer) -> list[tuple[list[str], Optimizer, str]]:
        """Return each optimizer with the names of its groups and the interval at which its rate changes."""
        found: list[tuple[list[str], Optimizer, str]] = []
        seen: list[Optimizer] = []
        classes: Counter[type[Optimizer]] = Counter()
        scheduled = [
            (config.scheduler.optimizer, config.name, config.interval) for config in trainer.lr_scheduler_configs
        ]
        for optimizer, given, interval in [*scheduled, *((each, None, _ANY) for each in trainer.optimizers)]:
            if interval == _ANY and any(optimizer is other for other in seen):
                continue
            seen.append(optimizer)
            base = given
            if base is None:
                base = f"lr-{type(optimizer).__name__}"
                classes[type(optimizer)] += 1
                if classes[type(optimizer)] > 1:
                    base = f"{base}-{classes[type(optimizer)] - 1}"
            found.append((_group_names(base, optimizer.param_groups), optimizer, interval))
        return found


def _group_names(base: str, groups: list[dict[str, Any]]) -> list[str]:
    """Name the parameter groups of one optimizer."""
    if len(groups) == 1:
        name = groups[0].get("name")
        return [f"{base}/{name}" if name else base]
    names = [str(group.get("name", f"pg{index}")) for index, group in enumerate(groups, start=1)]
    repeated = _repeated(names)
    if repeated:
        raise MisconfigurationException(
            f"LearningRateMonitor found parameter groups of {base!r} that share the names {repeated}; expected a name"
            " of its own for each. Give each group another `name`, or none."
        )
    return [f"{base}/{name}" for name in names]


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
