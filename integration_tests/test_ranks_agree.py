"""Two to four ranks with real callbacks, loggers and torchmetrics: the numbers and decisions of one process."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryAveragePrecision
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

import lt
from lt_core.testing import run_ranks

pytestmark = pytest.mark.filterwarnings("ignore")

GENERATOR = torch.Generator().manual_seed(3)
SCORES, LABELS = torch.rand(37, generator=GENERATOR), torch.randint(0, 2, (37,), generator=GENERATOR)
TRAIN = torch.randn(24, 4, generator=GENERATOR)


def rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


class Model(lt.LightningModule):
    """Learns to predict a sum; its validation loss grows from the third epoch on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.accuracy = BinaryAccuracy()
        self.precision = BinaryAveragePrecision()
        self.errors = MetricCollection({"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}, prefix="val_")

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        (x,) = batch
        loss = (self.layer(x) - x.sum(1, keepdim=True)).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True, sync_dist=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores, labels = batch
        self.accuracy.update(scores, labels)
        self.precision.update(scores, labels)
        self.errors.update(scores, labels.float())
        self.log("accuracy", self.accuracy)
        self.log("precision", self.precision)
        self.log_dict(self.errors)
        turn = abs(self.current_epoch - 2)
        self.log("val_loss", scores.mean() + turn)
        self.log("score_sum", scores.sum(), reduce_fx="sum")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def _loaders(ranks: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    # The ranks together take the samples of one process in each step.
    return DataLoader(TensorDataset(TRAIN), 8 // ranks), DataLoader(TensorDataset(SCORES, LABELS), 5)


def _fit(folder: str, ranks: int) -> dict[str, Any]:
    torch.manual_seed(0)
    stopping = lt.callbacks.EarlyStopping("val_loss", patience=2)
    saving = lt.callbacks.ModelCheckpoint(monitor="val_loss", filename="{epoch}-{val_loss:.3f}", save_last=True)
    trainer = lt.Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        max_epochs=20,
        logger=lt.loggers.CSVLogger(folder),
        callbacks=[stopping, saving],
        log_every_n_steps=2,
        enable_model_summary=False,
    )
    model = Model()
    train, val = _loaders(ranks)
    trainer.fit(model, train, val)
    version = trainer.logger.version if trainer.logger is not None else None
    return {
        "epochs": trainer.current_epoch,
        "stopped_epoch": stopping.stopped_epoch,
        "best": os.path.relpath(saving.best_model_path, folder),
        "score": float(saving.best_model_score),
        "log_dir": os.path.relpath(str(trainer.log_dir), folder),
        "version": version,
        "weights": model.layer.weight.detach().tolist(),
        "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
    }


def _table(folder: Path) -> list[dict[str, float]]:
    with next(folder.rglob("metrics.csv")).open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _close(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value == pytest.approx(other[name], rel=1e-5, abs=1e-6), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("alone")
    return folder, _fit(str(folder), 1)


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_write_the_numbers_and_take_the_decisions_of_one_process(
    ranks: int, alone: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The same rows in metrics.csv, the same best checkpoint, the same last epoch, one folder, on all ranks."""
    folder, expected = alone

    results = run_ranks(_fit, ranks, str(tmp_path), ranks, timeout=150)

    for result in results:
        for name in ("epochs", "stopped_epoch", "best", "log_dir", "version"):
            assert result[name] == expected[name], name
        _close(result["metrics"], expected["metrics"])
    assert expected["epochs"] == 5
    assert expected["best"].endswith(f"epoch=2-val_loss={SCORES.mean():.3f}.ckpt")
    assert sorted(path.name for path in tmp_path.rglob("version_*")) == ["version_0"]
    assert sorted(path.name for path in tmp_path.rglob("*.ckpt")) == sorted(
        path.name for path in folder.rglob("*.ckpt")
    )
    rows, expected_rows = _table(tmp_path), _table(folder)
    assert len(rows) == len(expected_rows)
    for row, expected_row in zip(rows, expected_rows, strict=True):
        _close(row, expected_row)


# -- torchmetrics


class Measured(lt.LightningModule):
    """Measures in validation; a rank may be left without data, and the hook computes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.accuracy = BinaryAccuracy()
        self.precision = BinaryAveragePrecision()
        self.own = MeanMetric()
        self.errors = MetricCollection({"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}, prefix="test_")
        self.by_hand: list[float] = []

    def test_step(self, batch: Any, batch_idx: int) -> None:
        scores, labels = batch
        self.own.update(scores)
        for metric in (self.accuracy, self.precision):
            metric.update(scores, labels)
        self.errors.update(scores, labels.float())
        self.log("accuracy", self.accuracy)
        self.log("precision", self.precision)
        self.log_dict(self.errors)

    def on_test_epoch_end(self) -> None:
        self.by_hand = [float(self.own.compute()), float(self.accuracy.compute())]
        self.own.reset()


def _measure(samples: int) -> Any:
    trainer = lt.Trainer(
        accelerator="cpu",
        devices=int(os.environ["WORLD_SIZE"]),
        strategy="ddp",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Measured()
    data = DataLoader(TensorDataset(SCORES[:samples], LABELS[:samples]), 4)
    twice = [trainer.test(model, data, verbose=False) for _ in range(2)]
    return twice, model.by_hand


@pytest.mark.parametrize("samples", [37, 2])
def test_torchmetrics_are_computed_over_the_data_of_all_ranks(samples: int) -> None:
    """Also where ranks have unequal shares or no data at all, with states in lists, and in a second run."""
    scores, labels = SCORES[:samples], LABELS[:samples]

    results = run_ranks(_measure, 3, samples, timeout=90)

    expected = {
        "accuracy": float(BinaryAccuracy()(scores, labels)),
        "precision": float(BinaryAveragePrecision()(scores, labels)),
        "test_mse": float(MeanSquaredError()(scores, labels.float())),
        "test_mae": float(MeanAbsoluteError()(scores, labels.float())),
    }
    for twice, by_hand in results:
        for (values,) in twice:
            _close(values, expected)
        assert by_hand == pytest.approx([float(scores.mean()), expected["accuracy"]])
