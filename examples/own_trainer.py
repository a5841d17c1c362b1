"""A trainer of your own: what is left to write when the surroundings come from lt-core.

`LoopTrainer` brings everything around a loop: the hooks before and after it, one optimisation step with its hooks,
the log, the checkpoint, and what happens when something raises. What you write is the loop itself, below, in plain
Python that you can change. Any `LightningModule`, callback and logger works with it: the conformance kit in
`lt_core.testing`, which lt's own Trainer passes too, says so.

Run it with ``python examples/own_trainer.py``. It trains a small regression, stops early, keeps the best weights in a
checkpoint and writes ``metrics.csv``.
"""

from __future__ import annotations

import tempfile
from itertools import islice

import torch
from torch.utils.data import DataLoader, TensorDataset

from lt_callbacks import EarlyStopping, ModelCheckpoint
from lt_core import LightningModule, LoopTrainer, RunningStage, TrainerFn
from lt_core.hooks import is_overridden
from lt_loggers import CSVLogger


class OwnTrainer(LoopTrainer):
    def __init__(
        self, callbacks=None, logger=None, max_epochs=1, max_steps=-1, limit_train_batches=None,
        limit_val_batches=None, log_every_n_steps=50, default_root_dir=None,
    ):  # fmt: skip
        loggers = logger if isinstance(logger, list) else [logger] if logger else []
        super().__init__(callbacks, loggers, default_root_dir)
        self.max_epochs, self.max_steps, self.log_every_n_steps = max_epochs, max_steps, log_every_n_steps
        self.limit_train_batches, self.limit_val_batches = limit_train_batches, limit_val_batches

    def fit(self, model, train_dataloaders=None, val_dataloaders=None, ckpt_path=None):
        with self.run(TrainerFn.FITTING, model, ckpt_path=ckpt_path):
            self.train_dataloader = train_dataloaders or model.train_dataloader()
            self.val_dataloaders = val_dataloaders
            self.num_training_batches = self.count(self.train_dataloader, self.limit_train_batches)
            self.num_val_batches = [self.count(val_dataloaders, self.limit_val_batches)] if val_dataloaders else []
            can_validate = is_overridden("validation_step", model, LightningModule)
            self.enable_validation = can_validate and any(self.num_val_batches)
            with self.collecting(RunningStage.TRAINING):
                self.call("on_train_start")
                while not self.done():
                    self.train_epoch()
                self.call("on_train_end")

    def done(self):
        return self.should_stop or self.current_epoch == self.max_epochs or self.global_step == self.max_steps

    def train_epoch(self):
        self.call("on_train_epoch_start")
        for batch_idx, loaded in enumerate(islice(self.train_dataloader, self.num_training_batches)):
            self.is_last_batch = batch_idx + 1 == self.num_training_batches
            batch = self.batch_to_device(loaded)
            if self.call("on_train_batch_start", batch, batch_idx) == -1:
                break
            outputs = self.optimize(batch, batch_idx)
            self.call("on_train_batch_end", outputs, batch, batch_idx)
            self.log_step_row()
            if self.is_last_batch and self.enable_validation:
                self.validate()
            self.num_logged_windows += 1
            if self.done():
                break
        self.end_epoch("on_train_epoch_end", self.num_logged_windows - 1)
        self.current_epoch += 1

    def validate(self):
        self.within("on_validation_model_zero_grad")
        with self.collecting(RunningStage.VALIDATING), torch.no_grad(), self.evaluating_module("validation"):
            self.call("on_validation_start")
            self.call("on_validation_epoch_start")
            for batch_idx, loaded in enumerate(islice(self.val_dataloaders, self.num_val_batches[0])):
                batch = self.batch_to_device(loaded)
                self.call("on_validation_batch_start", batch, batch_idx)
                outputs = self.step("validation_step", batch, batch_idx)
                self.call("on_validation_batch_end", outputs, batch, batch_idx)
            self.end_epoch("on_validation_epoch_end", self.num_logged_windows)
            self.call("on_validation_end")

    @staticmethod
    def count(loader, limit):
        return len(loader) if limit is None else min(limit, len(loader))


class Regression(LightningModule):
    def __init__(self, lr: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch  # [B, 3], [B, 1]
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self.layer(x), y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def main(folder: str) -> OwnTrainer:
    """Train, and return the trainer."""
    torch.manual_seed(0)
    x = torch.randn(256, 3)
    y = x @ torch.tensor([[1.0], [-2.0], [3.0]]) + 0.1 * torch.randn(256, 1)
    train = DataLoader(TensorDataset(x[:192], y[:192]), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(x[192:], y[192:]), batch_size=32)
    trainer = OwnTrainer(
        callbacks=[EarlyStopping("val_loss", min_delta=1e-3), ModelCheckpoint(monitor="val_loss")],
        logger=CSVLogger(folder),
        max_epochs=50,
        log_every_n_steps=1,
        default_root_dir=folder,
    )
    trainer.fit(Regression(), train, val)
    print(f"stopped after {trainer.current_epoch} epochs, val_loss {trainer.callback_metrics['val_loss']:.4f}")
    print(f"best checkpoint: {trainer.checkpoint_callback.best_model_path}")
    return trainer


if __name__ == "__main__":
    main(tempfile.mkdtemp())
