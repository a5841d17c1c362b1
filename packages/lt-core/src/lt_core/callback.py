"""The base class of everything non-essential: callbacks.

A callback overrides the hooks it wants; a hook nobody overrides is never called. Trainers find the callbacks that
play a part of their own (the checkpoint, the progress bar, …) by `role`, never by importing a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["Callback", "Checkpoint"]


class Callback:
    """Base class for callbacks: override the hooks you need.

    Attributes:
        role: The part this callback plays for a trainer (``"checkpoint"``, ``"progress_bar"``, ``"model_summary"``,
            ``"timer"``, ``"early_stopping"`` …), or None.
        monitors: Whether the callback acts on metrics at the end of a training epoch; such callbacks run after the
            module's own ``on_train_epoch_end``.

    Example:
        >>> class Greeter(Callback):
        ...     def on_train_start(self, trainer, pl_module):
        ...         print("training starts")
        >>> Greeter().state_key
        'Greeter'
    """

    role: ClassVar[str | None] = None
    monitors: ClassVar[bool] = False

    def uses_hook(self, name: str) -> bool:
        """Tell whether an overridden hook has anything to do in this configuration.

        Asked once per run, after `setup`. Returning False leaves the hook out of the precomputed call list, so that
        it costs nothing per batch.

        Args:
            name: The hook, for example ``"on_train_batch_end"``.
        """
        return True

    @property
    def state_key(self) -> str:
        """The key of this callback's state in a checkpoint; unique among callbacks that have state."""
        return self.__class__.__qualname__

    def _generate_state_key(self, **kwargs: Any) -> str:
        """Make a state key of the class name and the arguments that tell instances apart."""
        return f"{self.__class__.__qualname__}{kwargs!r}"

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive a restart; an empty dict is not stored."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """fit, validate, test or predict begins; ``stage`` names which."""

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """fit, validate, test or predict ends; ``stage`` names which."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit begins: the model is on its device, the optimizers exist."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit ends: the model has left its device."""

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation sanity check begins."""

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation sanity check ends."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training begins, after the sanity check."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training ends."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training epoch begins."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training epoch ends; epoch metrics logged here are still counted."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A training batch begins."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A training batch ends, after the optimizer step."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation loop begins."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation loop ends; its metrics are computed."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation epoch begins."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation epoch ends."""

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A validation batch begins."""

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A validation batch ends."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The test loop begins."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The test loop ends; its metrics are computed."""

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The test epoch begins."""

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The test epoch ends."""

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A test batch begins."""

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A test batch ends."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The prediction loop begins."""

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The prediction loop ends."""

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The prediction epoch begins."""

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The prediction epoch ends."""

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A prediction batch begins."""

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A prediction batch ends."""

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Called before ``loss.backward()``; the loss is scaled as it will be differentiated."""

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called after the backward pass, before the optimizer step; gradients may still be scaled."""

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Called before an optimizer step; gradients are unscaled, not clipped."""

    def on_before_zero_grad(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Called before gradients are set to zero."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The run is interrupted by ``exception``."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A checkpoint is about to be written; change it in place."""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """A checkpoint was read; called before states are restored."""


class Checkpoint(Callback):
    """Marks callbacks that write checkpoints; trainers run them last and ask them for ``"best"`` and ``"last"``.

    Attributes:
        best_model_path: Where the best checkpoint is, empty when there is none.
        last_model_path: Where the last checkpoint is, empty when there is none.
        dirpath: The folder that it writes to; None until a run has decided it.
    """

    role: ClassVar[str | None] = "checkpoint"
    monitors: ClassVar[bool] = True

    best_model_path: str = ""
    last_model_path: str = ""
    dirpath: str | Path | None = None

    def find_last_checkpoints(self, trainer: Trainer) -> set[str]:
        """Return the files that ``ckpt_path="last"`` may mean; the trainer takes the newest that exists.

        Args:
            trainer: Whose folders count, before any run.
        """
        return {self.last_model_path} if self.last_model_path else set()
