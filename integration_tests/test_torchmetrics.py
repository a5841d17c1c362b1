"""Real torchmetrics objects, logged: epoch values, collections, resets, and a restart in the middle of an epoch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MetricCollection, SumMetric
from torchmetrics.classification import BinaryAccuracy, BinaryAveragePrecision
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

from lt_core import Callback, LightningModule
from lt_core.testing import MiniTrainer, RecordingLogger

GENERATOR = torch.Generator().manual_seed(3)
SCORES, LABELS = torch.rand(50, generator=GENERATOR), torch.randint(0, 2, (50,), generator=GENERATOR)


def _loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(SCORES, LABELS), batch_size=8)


class Scored(LightningModule):
    """Scores its inputs as they are, and measures in training and validation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.accuracy = BinaryAccuracy()
        self.precision = BinaryAveragePrecision()
        self.mean = MeanMetric()
        errors = MetricCollection({"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}, prefix="val_")
        self.errors = errors

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        scores, labels = batch
        self.accuracy(scores, labels)
        self.precision.update(scores, labels)
        self.mean(scores.mean(), weight=len(scores))
        self.log("accuracy", self.accuracy, on_step=True, on_epoch=True)
        self.log("precision", self.precision, on_step=False, on_epoch=True)
        self.log("mean", self.mean, on_step=False, on_epoch=True)
        return self.weight.sum() * 0

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores, labels = batch
        self.errors.update(scores, labels.float())
        self.log_dict(self.errors)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _expected() -> dict[str, float]:
    return {
        "accuracy_epoch": float(BinaryAccuracy()(SCORES, LABELS)),
        "precision": float(BinaryAveragePrecision()(SCORES, LABELS)),
        "mean": float(SCORES.mean()),
        "val_mse": float(MeanSquaredError()(SCORES, LABELS.float())),
        "val_mae": float(MeanAbsoluteError()(SCORES, LABELS.float())),
    }


def test_epoch_values_are_those_over_the_whole_data_in_every_epoch() -> None:
    """Metrics and collections are computed over all batches and reset between epochs."""
    logger = RecordingLogger()
    MiniTrainer(max_epochs=3, logger=logger).fit(Scored(), _loader(), _loader())

    for name, value in _expected().items():
        assert logger.values(name) == pytest.approx([value] * 3, rel=1e-6), name


def test_step_values_are_those_of_the_batch() -> None:
    """`accuracy_step` is what the metric said about the last batch."""
    logger = RecordingLogger()
    MiniTrainer(logger=logger, log_every_n_steps=1).fit(Scored(), _loader(), None)

    expected = [float(BinaryAccuracy()(scores, labels)) for scores, labels in _loader()]
    assert logger.values("accuracy_step") == pytest.approx(expected)


def test_an_epoch_that_was_interrupted_ends_with_the_same_metrics(tmp_path: Any) -> None:
    """States that torchmetrics leaves out of the module's state go through the checkpoint."""
    path = tmp_path / "middle.ckpt"

    class Saving(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            if trainer.global_step == 3:
                trainer.save_checkpoint(path)

    MiniTrainer(callbacks=[Saving()]).fit(Scored(), _loader(), None)
    resumed = MiniTrainer()
    resumed.fit(Scored(), _loader(), None, ckpt_path=path)

    for name in ("accuracy_epoch", "precision", "mean"):
        assert float(resumed.callback_metrics[name]) == pytest.approx(_expected()[name], rel=1e-6), name


def test_a_published_result_does_not_change_with_the_metric() -> None:
    """A metric whose result is its own state does not reach back into what was published."""

    class Summing(Scored):
        def __init__(self) -> None:
            super().__init__()
            self.total = SumMetric()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            self.total.update(1.0)
            self.log("total", self.total)
            return self.weight.sum() * 0

    class Reading(Callback):
        values: list[torch.Tensor]

        def __init__(self) -> None:
            self.values = []

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.values.append(trainer.callback_metrics.get("total", torch.zeros(())))

    reading, module = Reading(), Summing()
    original = module.log
    module.log = lambda name, value: original(name, value, on_step=False, on_epoch=True)  # type: ignore[method-assign,assignment]
    MiniTrainer(callbacks=[reading], max_epochs=2).fit(module, _loader(), None)

    assert [float(value) for value in reading.values] == [7.0, 7.0]
