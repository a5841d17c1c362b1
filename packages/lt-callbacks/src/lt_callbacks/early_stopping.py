"""Ends training when a metric no longer improves.

Training on after the validation metric has stopped improving costs time and overfits; the callback watches one logged
metric and asks the trainer to stop. Its state is part of checkpoints, so a resumed run stops at the same check as an
unbroken one.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lt_callbacks.problems import MisconfigurationRuntimeError, describe_missing_metric
from lt_callbacks.validation_schedule import has_validation, validates_once_per_epoch
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.rank_zero import rank_prefixed_message, rank_zero_info, rank_zero_warn
from lt_core.state import TrainerFn

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["EarlyStopping", "EarlyStoppingReason"]

_log = logging.getLogger(__name__)


class EarlyStoppingReason(Enum):
    """Why `EarlyStopping` ended a run."""

    NOT_STOPPED = 0
    STOPPING_THRESHOLD = 1
    DIVERGENCE_THRESHOLD = 2
    PATIENCE_EXHAUSTED = 3
    NON_FINITE_METRIC = 4


class EarlyStopping(Callback):
    """Stop training when a logged metric stops improving.

    Args:
        monitor: The name of the logged metric.
        min_delta: A change counts as an improvement only if it is larger than this.
        patience: The number of checks without improvement after which training stops; 0 stops at the first one. Checks
            are counted, not epochs: with ``check_val_every_n_epoch=10`` a patience of 3 is 30 epochs.
        verbose: Whether to report improvements and the reason for stopping.
        mode: ``"min"`` when smaller is better, ``"max"`` when larger is better.
        strict: Whether a metric that was never logged is an error; otherwise the check is skipped.
        check_finite: Whether NaN or infinity stops training at once.
        stopping_threshold: Stop as soon as the metric is better than this; None for no such limit.
        divergence_threshold: Stop as soon as the metric is worse than this; None for no such limit.
        check_on_train_epoch_end: True checks at the end of training epochs, False at the end of validation. None (the
            default) checks at the end of training epochs when validation runs exactly once in each of them, or never,
            and otherwise at the end of validation.
        log_rank_zero_only: Whether reports come from the first process only.

    Attributes:
        wait_count: The number of checks since the last improvement.
        best_score: The best value so far.
        stopped_epoch: The epoch in which training was stopped, 0 if it was not.
        stopping_reason: Why training was stopped.
        stopping_reason_message: The same, in words.

    Raises:
        MisconfigurationException: ``mode`` is neither ``"min"`` nor ``"max"``, or ``patience`` is negative.
        RuntimeError: At a check, the metric was never logged and ``strict`` is on.

    Example:
        >>> stopping = EarlyStopping("val_loss", patience=5)
        >>> stopping.stopping_reason
        <EarlyStoppingReason.NOT_STOPPED: 0>
    """

    role: ClassVar[str | None] = "early_stopping"
    monitors: ClassVar[bool] = True

    mode_dict: ClassVar[dict[str, Callable[..., Tensor]]] = {"min": torch.lt, "max": torch.gt}
    order_dict: ClassVar[dict[str, str]] = {"min": "<", "max": ">"}

    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
        mode: str = "min",
        strict: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        check_finite: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,  # noqa: FBT001 - the position is part of the public API
        log_rank_zero_only: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
    ) -> None:
        super().__init__()
        _check_arguments(monitor, patience, mode, self.mode_dict)
        self.monitor = monitor
        self.min_delta = min_delta if mode == "max" else -min_delta
        self.patience = patience
        self.verbose = verbose
        self.mode = mode
        self.strict = strict
        self.check_finite = check_finite
        self.stopping_threshold = stopping_threshold
        self.divergence_threshold = divergence_threshold
        self.log_rank_zero_only = log_rank_zero_only
        self.wait_count = 0
        self.stopped_epoch = 0
        self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
        self.stopping_reason_message: str | None = None
        self.best_score: Tensor = torch.tensor(torch.inf if mode == "min" else -torch.inf)
        self._check_on_train_epoch_end = check_on_train_epoch_end
        self._chose_when_to_check = check_on_train_epoch_end is not None

    @property
    def state_key(self) -> str:
        """The metric and the mode tell several instances apart."""
        return self._generate_state_key(monitor=self.monitor, mode=self.mode)

    @property
    def monitor_op(self) -> Callable[..., Tensor]:
        """The comparison that says "better": ``torch.lt`` or ``torch.gt``."""
        return self.mode_dict[self.mode]

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, the best value and the reason."""
        return {
            "wait_count": self.wait_count,
            "stopped_epoch": self.stopped_epoch,
            "best_score": self.best_score,
            "patience": self.patience,
            "stopping_reason": self.stopping_reason.value,
            "stopping_reason_message": self.stopping_reason_message,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back the counters, the best value and the reason; the patience stays what the constructor was given."""
        self.wait_count = state_dict["wait_count"]
        self.stopped_epoch = state_dict["stopped_epoch"]
        self.best_score = torch.as_tensor(state_dict["best_score"])
        saved = state_dict.get("patience", self.patience)
        if saved != self.patience:
            rank_zero_info(
                f"EarlyStopping goes on with patience={self.patience}; the checkpoint was written with"
                f" patience={saved}."
            )
        self.stopping_reason = EarlyStoppingReason(state_dict.get("stopping_reason", 0))
        self.stopping_reason_message = state_dict.get("stopping_reason_message")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose when to check, if the constructor left it open."""
        if not self._chose_when_to_check:
            self._check_on_train_epoch_end = validates_once_per_epoch(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, when checks belong to the end of training epochs."""
        if self._should_skip_check(trainer):
            return
        if self._check_on_train_epoch_end or (not self._chose_when_to_check and not has_validation(trainer)):
            self._run_early_stopping_check(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, when checks belong to the end of validation."""
        if self._check_on_train_epoch_end or self._should_skip_check(trainer):
            return
        self._run_early_stopping_check(trainer)

    def _should_skip_check(self, trainer: Trainer) -> bool:
        return trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking

    def _validate_condition_metric(self, logs: dict[str, Tensor]) -> bool:
        """Tell whether the metric was logged; raise if it was not and must have been."""
        if self.monitor in logs:
            return True
        message = describe_missing_metric(f"EarlyStopping(monitor={self.monitor!r})", self.monitor, logs)
        if self.strict:
            raise MisconfigurationRuntimeError(message)
        if self.verbose:
            rank_zero_warn(message, category=RuntimeWarning)
        return False

    def _run_early_stopping_check(self, trainer: Trainer) -> None:
        """Look at the metric once and tell the trainer to stop when it is time."""
        if trainer.fast_dev_run:
            return
        logs = trainer.callback_metrics
        if not self._validate_condition_metric(logs):
            return
        # A copy: a metric that is a running buffer changes after this check.
        current = torch.as_tensor(logs[self.monitor]).detach().clone().squeeze()
        is_mine, reason = self._evaluate_stopping_criteria(current)
        should_stop = trainer.strategy.reduce_boolean_decision(is_mine, all=False)
        trainer.should_stop = trainer.should_stop or should_stop
        if should_stop:
            self.stopped_epoch = trainer.current_epoch
            self.stopping_reason_message = reason
            if trainer.world_size > 1:
                self._share_reason(trainer, is_mine=is_mine)
        if reason and self.verbose:
            self._log_info(trainer, reason, self.log_rank_zero_only)

    def _share_reason(self, trainer: Trainer, *, is_mine: bool) -> None:
        """Let every process know why the run stops, also those whose own value was no reason."""
        own = self.stopping_reason.value if is_mine else EarlyStoppingReason.NOT_STOPPED.value
        strategy = trainer.strategy
        shared = strategy.reduce(torch.tensor(own, device=strategy.root_device), reduce_op="max")
        if not is_mine:
            self.stopping_reason = EarlyStoppingReason(int(shared))
            self.stopping_reason_message = (
                f"{self.monitor} stopped the run on another process ({self.stopping_reason.name.lower()})."
            )

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        """Decide on one value; return the decision and its reason."""
        at_once = self._reason_to_stop_at_once(current)
        if at_once is not None:
            self.stopping_reason, message = at_once
            return True, f"{message} Training will stop."
        if self.monitor_op(current - self.min_delta, self.best_score.to(current.device)):
            message = self._improvement_message(current)
            self.best_score = current
            self.wait_count = 0
            return False, message
        self.wait_count += 1
        if self.wait_count < self.patience:
            return False, None
        self.stopping_reason = EarlyStoppingReason.PATIENCE_EXHAUSTED
        return True, (
            f"{self.monitor} did not improve in the last {self.wait_count} checks; the best value was"
            f" {self.best_score:.3f}. Training will stop."
        )

    def _reason_to_stop_at_once(self, current: Tensor) -> tuple[EarlyStoppingReason, str] | None:
        """Return the reason that needs no patience, if there is one."""
        if self.check_finite and not torch.isfinite(current):
            message = f"{self.monitor} is {current}, not a finite number; the best value was {self.best_score:.3f}."
            return EarlyStoppingReason.NON_FINITE_METRIC, message
        order = self.order_dict[self.mode]
        if self.stopping_threshold is not None and self.monitor_op(current, self.stopping_threshold):
            message = f"{self.monitor} has reached the stopping threshold: {current} {order} {self.stopping_threshold}."
            return EarlyStoppingReason.STOPPING_THRESHOLD, message
        if self.divergence_threshold is not None and self.monitor_op(-current, -self.divergence_threshold):
            order = self.order_dict["max" if self.mode == "min" else "min"]
            message = (
                f"{self.monitor} has passed the divergence threshold: {current} {order} {self.divergence_threshold}."
            )
            return EarlyStoppingReason.DIVERGENCE_THRESHOLD, message
        return None

    def _improvement_message(self, current: Tensor) -> str:
        """Say by how much the metric has improved."""
        if not torch.isfinite(self.best_score):
            return f"{self.monitor} has its first best value: {current:.3f}."
        gain = abs(self.best_score.to(current.device) - current)
        return (
            f"{self.monitor} improved by {gain:.3f} (at least min_delta={abs(self.min_delta)} was asked for);"
            f" the new best value is {current:.3f}."
        )

    @staticmethod
    def _log_info(trainer: Trainer, message: str, log_rank_zero_only: bool) -> None:  # noqa: FBT001 - kept for overrides
        rank = trainer.global_rank if trainer.world_size > 1 else None
        if rank is None or rank == 0:
            rank_zero_info(rank_prefixed_message(message, rank))
        elif not log_rank_zero_only:
            _log.info(rank_prefixed_message(message, rank))


def _check_arguments(monitor: object, patience: int, mode: str, modes: dict[str, Any]) -> None:
    """Refuse what cannot work, before any training."""
    if not isinstance(monitor, str) or not monitor:
        raise MisconfigurationTypeError(
            f"EarlyStopping got monitor={monitor!r}; it needs the name of a logged metric. Write for example"
            " `EarlyStopping('val_loss')`."
        )
    if mode not in modes:
        raise MisconfigurationException(
            f"EarlyStopping got mode={mode!r}; expected 'min' (smaller is better) or 'max' (larger is better). Write"
            " for example `mode='min'`."
        )
    if patience < 0:
        raise MisconfigurationValueError(
            f"EarlyStopping got patience={patience!r}; expected 0 or more checks without improvement. Write for"
            " example `patience=3`."
        )
