"""Train on several devices and see the numbers of one: data parallelism, on any laptop.

Each process trains on its share of every batch; gradients are averaged while they are computed, and metrics are
combined by weight, so that the losses and accuracies below do not depend on the number of processes.

    python examples/ddp.py --devices 1
    python examples/ddp.py --devices 2
    torchrun --nproc-per-node 2 examples/ddp.py --devices 2
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

import lt
from lt.loggers import CSVLogger


class Digits(lt.LightningModule):
    """A small network that reads 8 x 8 images of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        images, digits = batch
        loss = F.cross_entropy(self.net(images), digits)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        images, digits = batch
        scores = self.net(images)
        self.log("val_loss", F.cross_entropy(scores, digits))
        self.log("val_accuracy", (scores.argmax(dim=1) == digits).float().mean())

    def on_train_epoch_end(self) -> None:
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        shown = "  ".join(f"{name} {metrics[name]:.6f}" for name in ("train_loss", "val_loss", "val_accuracy"))
        self.print(f"epoch {self.current_epoch}  {shown}")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.3)


def main() -> None:
    """Train on as many devices as the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--strategy", default="ddp", help="ddp, ddp_spawn, ddp_fork, …")
    parser.add_argument("--batch-size", type=int, default=64, help="of all devices together")
    parser.add_argument("--max-epochs", type=int, default=5)
    options = parser.parse_args()
    if options.batch_size % options.devices:
        parser.error(f"--batch-size {options.batch_size} cannot be divided among {options.devices} devices")

    lt.seed_everything(1)
    images, digits = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(digits))
    train, val = random_split(data, [1408, 389])  # the second does not divide: no sample is counted twice all the same
    each = options.batch_size // options.devices

    trainer = lt.Trainer(
        accelerator="cpu",
        devices=options.devices,
        strategy=options.strategy if options.devices > 1 else "auto",
        max_epochs=options.max_epochs,
        logger=CSVLogger("logs", name="ddp"),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
    )
    trainer.fit(Digits(), DataLoader(train, batch_size=each), DataLoader(val, batch_size=each))
    [results] = trainer.validate(dataloaders=DataLoader(val, batch_size=each), verbose=False)
    if trainer.is_global_zero:
        print(f"final  val_loss {results['val_loss']:.6f}  val_accuracy {results['val_accuracy']:.6f}")


if __name__ == "__main__":
    main()
