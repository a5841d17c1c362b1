"""Cross-validate a network on tabular market data: frame, folds, out-of-fold predictions. Runs offline, in a minute.

The panel has 130 features and 5 targets for many instruments on many days, made up with a known signal: ten features
move the targets, the others are noise, and each day has a mood of its own that no feature tells. So the folds are cut
by date, with a gap between what is trained on and what is judged, and the scaler sees the training rows alone.

    python examples/tabular_kfold.py
    python examples/tabular_kfold.py --splitter purged --folds 4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

import lt
from lt.callbacks import EarlyStopping, ModelCheckpoint
from lt.loggers import CSVLogger
from lt_data import PurgedTimeSeriesSplit, folds

FEATURES = [f"feature_{index}" for index in range(130)]
TARGETS = [f"target_{index}" for index in range(5)]


def make_panel(days: int, instruments: int) -> pd.DataFrame:
    """Make a panel in which ten features explain half of the targets' variance."""
    random = np.random.default_rng(7)
    rows = days * instruments
    features = random.normal(size=(rows, len(FEATURES))).astype(np.float32)
    weights = np.zeros((len(FEATURES), len(TARGETS)), np.float32)
    weights[:10] = random.normal(size=(10, len(TARGETS))) / np.sqrt(10)
    day = np.repeat(np.arange(days), instruments)
    mood = random.normal(scale=0.5, size=(days, len(TARGETS)))[day]
    targets = features @ weights + mood + random.normal(scale=0.85, size=(rows, len(TARGETS)))
    frame = pd.DataFrame(features, columns=FEATURES)
    frame[TARGETS] = targets.astype(np.float32)
    frame["day"] = day
    frame["instrument"] = np.tile(np.arange(instruments), days)
    return frame


class Forecaster(lt.LightningModule):
    """A small network from 130 features to 5 targets."""

    def __init__(self, width: int = 32, lr: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(len(FEATURES), width), nn.SiLU(), nn.Dropout(0.3), nn.Linear(width, len(TARGETS))
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        features, targets = batch
        loss = F.mse_loss(self.net(features), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        features, targets = batch
        self.log("val_loss", F.mse_loss(self.net(features), targets))

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        features, _ = batch
        return self.net(features)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=0.05)


def main() -> None:
    """Make the panel, cut it into folds, cross-validate, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splitter", choices=["groups", "purged"], default="groups")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--instruments", type=int, default=60)
    parser.add_argument("--max-epochs", type=int, default=12)
    parser.add_argument("--parallel", type=int, default=1, help="folds at a time, each in a process of its own")
    options = parser.parse_args()

    frame = make_panel(options.days, options.instruments)
    splitter = GroupKFold(options.folds)
    if options.splitter == "purged":
        splitter = PurgedTimeSeriesSplit(options.folds, purge=2, embargo=1)
    days = folds(
        frame, splitter, features=FEATURES, targets=TARGETS, groups="day", preprocess=StandardScaler, batch_size=256
    )
    print(days)

    trainer = lt.Trainer(
        accelerator="cpu",
        max_epochs=options.max_epochs,
        callbacks=[ModelCheckpoint(monitor="val_loss"), EarlyStopping("val_loss", patience=3)],
        logger=CSVLogger("logs", name="tabular"),
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    report = trainer.cross_validate(Forecaster, days, parallel=options.parallel, ckpt_path="last")
    print(report)

    predicted = report.prediction_frame
    known = predicted["fold"] >= 0  # a split by time never judges the first rows
    error = predicted.loc[known].filter(like="prediction").to_numpy() - frame.loc[known, TARGETS].to_numpy()
    variance = frame.loc[known, TARGETS].to_numpy().var(axis=0)
    explained = 1 - (error**2).mean(axis=0) / variance
    print(f"out of fold: {known.sum()} of {len(frame)} rows, explained variance {explained.mean():.3f}")
    predicted.to_csv("out_of_fold.csv")
    days.plot("folds.png")
    report.plot("metrics.png")
    print(f"written: {Path('out_of_fold.csv')}, folds.png, metrics.png")


if __name__ == "__main__":
    main()
