"""What makes `ModelCheckpoint` save: every n epochs, every n optimizer steps, or every so much time.

The three exclude each other, and the first is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lt_core.errors import MisconfigurationException

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["CheckpointTriggers", "check_selection"]


@dataclass(frozen=True)
class CheckpointTriggers:
    """The resolved triggers.

    Attributes:
        every_n_train_steps: Save after so many optimizer steps; 0 for never.
        every_n_epochs: Save after so many epochs; 0 for never.
        train_time_interval: Save after so much time of training, None for never.
    """

    every_n_train_steps: int
    every_n_epochs: int
    train_time_interval: timedelta | None

    @classmethod
    def resolve(
        cls, every_n_train_steps: int | None, every_n_epochs: int | None, train_time_interval: timedelta | None
    ) -> CheckpointTriggers:
        """Check what was given and fill in what was not.

        Raises:
            MisconfigurationException: A number is negative, or more than one trigger is set.

        Example:
            >>> CheckpointTriggers.resolve(None, None, None).every_n_epochs
            1
            >>> CheckpointTriggers.resolve(100, None, None).every_n_epochs
            0
        """
        nothing_given = every_n_train_steps is None and every_n_epochs is None and train_time_interval is None
        triggers = cls(every_n_train_steps or 0, 1 if nothing_given else every_n_epochs or 0, train_time_interval)
        for name in ("every_n_train_steps", "every_n_epochs"):
            if getattr(triggers, name) < 0:
                raise MisconfigurationException(
                    f"ModelCheckpoint got {name}={getattr(triggers, name)!r}; expected 1 or more, or 0 for never."
                    f" Write for example `{name}=1`."
                )
        if (triggers.every_n_train_steps >= 1) + (triggers.every_n_epochs >= 1) + (train_time_interval is not None) > 1:
            raise MisconfigurationException(
                f"ModelCheckpoint got every_n_train_steps={every_n_train_steps!r}, every_n_epochs={every_n_epochs!r}"
                f" and train_time_interval={train_time_interval!r}, which are mutually exclusive: expected one of them."
                " Use one callback for each way of saving."
            )
        return triggers


def check_selection(monitor: str | None, mode: str, save_top_k: int) -> None:
    """Check which files are to be kept.

    Raises:
        MisconfigurationException: ``mode`` or ``save_top_k`` is out of range, or the best k are wanted of nothing.
    """
    if mode not in ("min", "max"):
        raise MisconfigurationException(
            f"ModelCheckpoint got mode={mode!r}; expected 'min' (smaller is better) or 'max' (larger is better). Write"
            " for example `mode='max'` for an accuracy."
        )
    if save_top_k < -1:
        raise MisconfigurationException(
            f"ModelCheckpoint got save_top_k={save_top_k!r}; expected -1 for all, 0 for none, or how many to keep."
            " Write for example `save_top_k=1`."
        )
    if monitor is None and save_top_k not in (-1, 0, 1):
        raise MisconfigurationException(
            f"ModelCheckpoint got save_top_k={save_top_k!r} and monitor=None: there is nothing to rank the checkpoints"
            f" by. Expected a metric with save_top_k > 1. Write for example `monitor='val_loss',"
            f" save_top_k={save_top_k}`, or `save_top_k=-1` to keep all."
        )
