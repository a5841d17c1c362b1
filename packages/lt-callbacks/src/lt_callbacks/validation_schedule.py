"""When validation runs, as callbacks that act on validation metrics need to know it.

A checkpoint or a stop that depends on a validation metric must wait for the validation that is about to run, and must
not wait for one that will not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["has_validation", "validates_once_per_epoch", "validation_follows", "validation_is_due_in_epoch"]


def has_validation(trainer: Trainer) -> bool:
    """Tell whether the run validates at all; known once the loaders are."""
    return bool(trainer.enable_validation) and sum(trainer.num_val_batches) > 0


def validates_once_per_epoch(trainer: Trainer) -> bool:
    """Tell whether validation runs once after each training epoch: the default settings.

    The whole number 1 means "after each batch", the float 1.0 "after the whole epoch"; a time is neither.
    """
    interval = trainer.val_check_interval
    return isinstance(interval, float) and interval == 1.0 and trainer.check_val_every_n_epoch == 1


def validation_is_due_in_epoch(trainer: Trainer) -> bool:
    """Tell whether the running epoch is one of those that validate."""
    every = trainer.check_val_every_n_epoch
    return every is None or (trainer.current_epoch + 1) % every == 0


def validation_follows(trainer: Trainer, batch_idx: int) -> bool:
    """Tell whether validation is sure to run right after a training batch.

    Args:
        trainer: The trainer, in its ``on_train_batch_end``.
        batch_idx: The index of the batch in its epoch.
    """
    if not has_validation(trainer) or not validation_is_due_in_epoch(trainer):
        return False
    after = trainer.val_check_batch
    if after is None or trainer.check_val_every_n_epoch is None:
        return False
    return bool(trainer.is_last_batch) if math.isinf(after) else (batch_idx + 1) % int(after) == 0
