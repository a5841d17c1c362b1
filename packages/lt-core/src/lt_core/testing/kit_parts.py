"""What the kits run: a module with one weight whose numbers can be followed by hand, and its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lt_core.callback import Callback
from lt_core.module import LightningModule

__all__ = ["CountingCallback", "KitModule", "MakeTrainer", "StopAt", "kit_loader"]

MakeTrainer = Callable[..., Any]
"""Makes a trainer from keyword arguments: callbacks, logger, max_epochs, max_steps, limit_train_batches,
limit_val_batches, log_every_n_steps, default_root_dir. It must run no sanity check, and add no callback and no logger
of its own. The trainer has ``fit(model, train, val, ckpt_path=None)``."""


class KitModule(LightningModule):
    """Learns one weight; logs ``loss`` in training, ``val_loss`` and ``val_acc`` in validation.

    Args:
        lr: The learning rate.

    Example:
        >>> KitModule().weight
        Parameter containing:
        tensor([0.], requires_grad=True)
    """

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``[B]`` by the weight."""
        return x * self.weight

    def loss(self, batch: Any) -> Tensor:
        """Return the mean squared error ``[]`` of a batch of inputs ``[B]`` and targets ``[B]``."""
        x, y = batch
        return torch.nn.functional.mse_loss(self(x), y)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss, logged as ``loss``."""
        loss = self.loss(batch)
        self.log("loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log ``val_loss`` and ``val_acc``."""
        loss = self.loss(batch)
        self.log("val_loss", loss, prog_bar=True)
        self.log("val_acc", torch.exp(-loss))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log ``test_loss``."""
        self.log("test_loss", self.loss(batch))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the predictions ``[B]``."""
        return self(batch[0])  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        """Return SGD with momentum, so that a restart without the optimizer's state shows."""
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def kit_loader(samples: int = 7, batch_size: int = 4) -> DataLoader[tuple[Tensor, ...]]:
    """Return a loader of ``x`` and ``3 x``, whose last batch is short by default."""
    x = torch.linspace(-1.0, 2.0, samples)
    return DataLoader(TensorDataset(x, 3 * x), batch_size=batch_size)


class CountingCallback(Callback):
    """Counts training batches, and carries the count through checkpoints.

    Example:
        >>> CountingCallback().state_dict()
        {'batches': 0}
    """

    def __init__(self) -> None:
        self.batches = 0
        self.loaded: dict[str, Any] | None = None
        self.hook_calls = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.batches += 1

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loaded = state_dict
        self.batches = state_dict["batches"]

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self.hook_calls += 1


class StopAt(Callback):
    """Does something in one hook: raises an exception, or asks the trainer to stop.

    Args:
        hook: Where.
        error: What to raise; by default the trainer is asked to stop.

    Example:
        >>> StopAt("on_train_start", RuntimeError("no")).error
        RuntimeError('no')
    """

    def __init__(self, hook: str, error: BaseException | None = None) -> None:
        self.error = error
        self.exceptions: list[BaseException] = []
        setattr(self, hook, self._act)

    def _act(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        if self.error is not None:
            raise self.error
        trainer.should_stop = True

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.exceptions.append(exception)
