"""One run, written down by every logger that is installed here: files, curves, a frame in memory, local servers' files.

Each of them gets the same rows. Those of Weights & Biases, MLflow and Comet are kept on this machine; their commands to
upload are printed. Runs offline, within half a minute.

    python examples/loggers_tour.py
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lt
from lt.loggers import (
    CometLogger,
    CSVLogger,
    InMemoryLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)


class Line(lt.LightningModule):
    """Fits a line to noisy points."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.line = nn.Linear(1, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.mse_loss(self.line(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", nn.functional.mse_loss(self.line(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def points(count: int) -> DataLoader:
    """Return a loader of points near the line y = 3 x + 1."""
    x = torch.rand(count, 1)
    return DataLoader(TensorDataset(x, 3 * x + 1 + 0.1 * torch.randn(count, 1)), batch_size=16)


def installed_loggers(folder: Path) -> list[Logger]:
    """Return one logger of each kind whose library is installed."""
    loggers: list[Logger] = [CSVLogger(folder, name="csv"), InMemoryLogger()]
    if find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(folder, name="tensorboard"))
    if find_spec("wandb"):
        loggers.append(WandbLogger(project="tour", save_dir=folder / "wandb", offline=True))
    if find_spec("mlflow") and find_spec("sqlalchemy"):
        store = folder.absolute() / "mlflow.db"
        loggers.append(MLFlowLogger("tour", tracking_uri=f"sqlite:///{store}", artifact_location=folder.as_uri()))
    if find_spec("comet_ml"):
        loggers.append(CometLogger(project="tour", online=False, offline_directory=folder / "comet"))
    return loggers


def main(arguments: argparse.Namespace) -> None:
    """Train, and say what each logger has."""
    lt.seed_everything(7)
    folder = arguments.log_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    loggers = installed_loggers(folder)
    trainer = lt.Trainer(max_epochs=5, logger=loggers, log_every_n_steps=2, accelerator="cpu")
    trainer.fit(Line(), points(128), points(32))

    memory = next(logger for logger in loggers if isinstance(logger, InMemoryLogger))
    print(f"\nthe same {len(memory.rows)} rows in {len(loggers)} loggers:")
    for logger in loggers:
        print(f"  {type(logger).__name__}: name {logger.name!r}, version {logger.version!r}")
    if find_spec("pandas"):
        print(f"\n{memory.frame.groupby('epoch')[['train_loss', 'val_loss']].mean()}")
    if find_spec("matplotlib"):
        axes = memory.plot("train_loss", "val_loss")
        axes.set_yscale("log")
        axes.figure.savefig(folder / "losses.png")
        print(f"\na picture of it: {arguments.log_dir / 'losses.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log-dir", type=Path, default=Path("lt_logs") / "tour", help="where everything goes")
    main(parser.parse_args())
