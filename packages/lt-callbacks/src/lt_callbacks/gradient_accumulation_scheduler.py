"""Changes the number of batches per optimizer step from epoch to epoch.

Small effective batches early and large ones later is a cheap substitute for a learning rate schedule (Smith et al.,
"Don't Decay the Learning Rate, Increase the Batch Size", arXiv:1711.00489).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_callbacks.problems import MisconfigurationRuntimeError
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["GradientAccumulationScheduler"]


class GradientAccumulationScheduler(Callback):
    """Accumulate gradients over a number of batches that depends on the epoch.

    Args:
        scheduling: From which epoch on (counted from 0) how many batches make one optimizer step. Before the first
            given epoch it is one batch.

    Raises:
        TypeError: ``scheduling`` is empty.
        MisconfigurationException: An epoch is negative, a number of batches is not positive, or one is no whole number.

    Example:
        >>> schedule = GradientAccumulationScheduler({4: 2})
        >>> schedule.get_accumulate_grad_batches(3), schedule.get_accumulate_grad_batches(4)
        (1, 2)
    """

    def __init__(self, scheduling: dict[int, int]) -> None:
        super().__init__()
        advice = "Write for example `{0: 1, 4: 2}` for two batches per step from epoch 4 on."
        if not scheduling:
            raise MisconfigurationTypeError(
                f"GradientAccumulationScheduler got scheduling={scheduling!r}; expected at least one epoch. {advice}"
            )
        if any(not isinstance(epoch, int) or epoch < 0 for epoch in scheduling):
            raise MisconfigurationException(
                f"GradientAccumulationScheduler got the epochs {list(scheduling)!r}; expected whole numbers from 0."
                f" {advice}"
            )
        if any(not isinstance(batches, int) or batches < 1 for batches in scheduling.values()):
            raise MisconfigurationException(
                f"GradientAccumulationScheduler got the numbers of batches {list(scheduling.values())!r}; expected"
                f" whole numbers from 1. {advice}"
            )
        self.scheduling = {0: 1, **scheduling}
        self.epochs = sorted(self.scheduling)
        self._set_by_us = 1

    def going_to_accumulate_grad_batches(self) -> bool:
        """Tell whether any epoch accumulates."""
        return any(batches > 1 for batches in self.scheduling.values())

    def get_accumulate_grad_batches(self, epoch: int) -> int:
        """Return how many batches make one optimizer step in an epoch."""
        return self.scheduling[max(start for start in self.epochs if start <= epoch)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the rest of the run leaves room for a schedule."""
        if not pl_module.automatic_optimization:
            raise MisconfigurationRuntimeError(
                "GradientAccumulationScheduler was used with manual optimization (`automatic_optimization=False`),"
                " where the module decides when to step. Expected automatic optimization. Remove the callback, or count"
                " the batches in `training_step`."
            )
        if getattr(trainer.strategy, "handles_gradient_accumulation", False):
            raise MisconfigurationRuntimeError(
                f"GradientAccumulationScheduler was used with `{type(trainer.strategy).__name__}`, which accumulates by"
                " itself and cannot change that between epochs. Remove the callback, or use another strategy."
            )
        if trainer.accumulate_grad_batches not in (1, self._set_by_us):
            raise MisconfigurationValueError(
                f"The trainer has accumulate_grad_batches={trainer.accumulate_grad_batches!r} and a"
                " GradientAccumulationScheduler; expected one of the two. Remove the argument or the callback."
            )
        self._warn_if_hooks_are_skipped(pl_module)
        # A run that is resumed within an epoch does not begin that epoch anew.
        self._set(trainer)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Set the number of batches of this epoch."""
        self._set(trainer)

    def _set(self, trainer: Trainer) -> None:
        self._set_by_us = self.get_accumulate_grad_batches(trainer.current_epoch)
        trainer.accumulate_grad_batches = self._set_by_us

    def _warn_if_hooks_are_skipped(self, pl_module: LightningModule) -> None:
        from lt_core.hooks import is_overridden
        from lt_core.module import LightningModule

        overridden = [
            name
            for name in ("optimizer_step", "optimizer_zero_grad")
            if is_overridden(name, pl_module, LightningModule)
        ]
        if overridden and self.going_to_accumulate_grad_batches():
            rank_zero_warn(
                f"`{type(pl_module).__name__}` overrides {', '.join(overridden)}, which is called once per optimizer"
                " step and not once per batch while gradients are accumulated."
            )
