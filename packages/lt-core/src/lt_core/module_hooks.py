"""The hooks of a `LightningModule` beside its steps: what each does when nobody overrides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_core.protocols import TrainerProtocol

__all__ = ["ModelHooks"]


class ModelHooks:
    """The module's hooks around fit, evaluation, optimisation and checkpoints; all do nothing unless stated."""

    if TYPE_CHECKING:

        @property
        def trainer(self) -> TrainerProtocol: ...

        def zero_grad(self, set_to_none: bool = True) -> None: ...  # noqa: FBT001, FBT002 -- nn.Module's signature

    def on_fit_start(self) -> None:
        """Fit begins: the model is on its device, the optimizers exist."""

    def on_fit_end(self) -> None:
        """Fit ends: the model has left its device."""

    def on_train_start(self) -> None:
        """Training begins, after the sanity check."""

    def on_train_end(self) -> None:
        """Training ends."""

    def on_train_epoch_start(self) -> None:
        """A training epoch begins."""

    def on_train_epoch_end(self) -> None:
        """A training epoch ends; what is logged here is published with the epoch."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """A training batch begins; return -1 to skip the rest of the epoch."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A training batch ends, after the optimizer step."""

    def on_validation_start(self) -> None:
        """The validation loop begins."""

    def on_validation_end(self) -> None:
        """The validation loop ends; its metrics are published."""

    def on_validation_epoch_start(self) -> None:
        """The validation epoch begins."""

    def on_validation_epoch_end(self) -> None:
        """The validation epoch ends; what is logged here is published with the epoch."""

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A validation batch begins."""

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A validation batch ends."""

    def on_test_start(self) -> None:
        """The test loop begins."""

    def on_test_end(self) -> None:
        """The test loop ends; its metrics are published."""

    def on_test_epoch_start(self) -> None:
        """The test epoch begins."""

    def on_test_epoch_end(self) -> None:
        """The test epoch ends; what is logged here is published with the epoch."""

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A test batch begins."""

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A test batch ends."""

    def on_predict_start(self) -> None:
        """The prediction loop begins."""

    def on_predict_end(self) -> None:
        """The prediction loop ends."""

    def on_predict_epoch_start(self) -> None:
        """The prediction epoch begins."""

    def on_predict_epoch_end(self) -> None:
        """The prediction epoch ends."""

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A prediction batch begins."""

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """A prediction batch ends."""

    def on_validation_model_zero_grad(self) -> None:
        """Free gradients before validation inside fit; by default ``self.zero_grad()``."""
        self.zero_grad()

    def on_validation_model_eval(self) -> None:
        """Put the model in evaluation mode; by default ``trainer.model.eval()``."""
        self.trainer.model.eval()

    def on_validation_model_train(self) -> None:
        """Put the model back; when not overridden, each submodule gets back the mode it had."""
        self.trainer.model.train()

    def on_test_model_eval(self) -> None:
        """Put the model in evaluation mode; by default ``trainer.model.eval()``."""
        self.trainer.model.eval()

    def on_test_model_train(self) -> None:
        """Put the model back; when not overridden, each submodule gets back the mode it had."""
        self.trainer.model.train()

    def on_predict_model_eval(self) -> None:
        """Put the model in evaluation mode; by default ``trainer.model.eval()``."""
        self.trainer.model.eval()

    def on_before_zero_grad(self, optimizer: Optimizer) -> None:
        """Gradients are about to be set to zero."""

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Set gradients to zero; by default ``optimizer.zero_grad()``."""
        optimizer.zero_grad()

    def on_before_backward(self, loss: Tensor) -> None:
        """The backward pass is about to begin; the loss is scaled as it will be differentiated."""

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass; by default ``loss.backward(*args, **kwargs)``."""
        loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call]

    def on_after_backward(self) -> None:
        """The backward pass has ended; gradients may still be scaled."""

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """The optimizer is about to step; gradients are unscaled and not clipped yet."""

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step the optimizer; an override must run the closure, which holds forward, zero_grad and backward."""
        optimizer.step(closure=optimizer_closure)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint is about to be written; change it in place."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint was read; called before states are restored."""

    def configure_callbacks(self) -> Any:
        """Return a callback or several that this module brings along; one of the same class replaces the trainer's."""
        return []

    def configure_model(self) -> None:
        """Create big layers on their final device and dtype; may be called several times."""

    def configure_sharded_model(self) -> None:
        """Do as `configure_model`, under its old name."""

    def configure_optimizers(self) -> Any:
        """Return the optimizers and schedulers.

        An optimizer; a list of them; two lists (optimizers, schedulers); a dict with ``optimizer`` and
        ``lr_scheduler``; or None to train without.
        """
        return None

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a scheduler; by default ``scheduler.step()``, with the metric where it monitors one."""
        if metric is None:
            scheduler.step()
        else:
            scheduler.step(metric)
