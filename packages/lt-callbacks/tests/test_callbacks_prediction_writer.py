"""BasePredictionWriter, with a trainer that does not tell indices and one that does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_callbacks import BasePredictionWriter
from lt_callbacks import prediction_writer as under_test
from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import WarningCache
from lt_core.testing import BoringModel, MiniTrainer

torch.set_num_threads(1)


class Model(BoringModel):
    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return batch[:, 0] + dataloader_idx


class Telling(MiniTrainer):
    """Tells the indices of batches of two, as a trainer's prediction loop does."""

    @property
    def predict_loop(self) -> Any:
        return self.loop

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "on_predict_batch_end":
            first = 2 * args[2]
            self.loop = SimpleNamespace(current_batch_indices=list(range(first, first + len(args[1]))))
        return super().call(name, *args, **kwargs)


class Writer(BasePredictionWriter):
    def __init__(self, interval: Any) -> None:
        super().__init__(interval)
        self.batches: list[Any] = []
        self.epochs: list[Any] = []

    def write_on_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        prediction: Any,
        batch_indices: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        self.batches.append((prediction.tolist(), batch_indices, len(batch), batch_idx, dataloader_idx))

    def write_on_epoch_end(self, trainer: Any, pl_module: Any, predictions: Any, batch_indices: Any) -> None:
        self.epochs.append((predictions, batch_indices))


@pytest.fixture(autouse=True)
def fresh_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once is said in each test."""
    monkeypatch.setattr(under_test, "_warnings", WarningCache())


def loader(samples: int = 3) -> DataLoader[Any]:
    return DataLoader(torch.arange(samples * 32.0).reshape(samples, 32) / 32, batch_size=2)


def test_batches_are_written_as_they_come_with_their_indices() -> None:
    """Nothing is kept for the end."""
    writer = Writer("batch")

    Telling(callbacks=[writer]).predict(Model(), loader())

    assert writer.batches == [([0.0, 1.0], [0, 1], 2, 0, 0), ([2.0], [2], 1, 1, 0)]
    assert writer.epochs == []


def test_all_predictions_are_written_at_the_end() -> None:
    """One loader gives a list of batches, and its indices under its number."""
    writer = Writer("epoch")

    Telling(callbacks=[writer]).predict(Model(), loader())

    [(predictions, indices)] = writer.epochs
    assert [prediction.tolist() for prediction in predictions] == [[0.0, 1.0], [2.0]]
    assert indices == [[[0, 1], [2]]]
    assert writer.batches == []


def test_several_loaders_are_kept_apart() -> None:
    """Also one that has no batch."""
    writer = Writer("batch_and_epoch")

    Telling(callbacks=[writer]).predict(Model(), [loader(), loader(2), loader(0)])

    [(predictions, indices)] = writer.epochs
    assert [[part.tolist() for part in each] for each in predictions] == [[[0.0, 1.0], [2.0]], [[1.0, 2.0]], []]
    assert indices == [[[0, 1], [2]], [[0, 1]], []]
    assert [batch[4] for batch in writer.batches] == [0, 0, 1]


def test_a_writer_serves_a_second_run() -> None:
    """What the first run left is gone."""
    writer = Writer("epoch")
    trainer = Telling(callbacks=[writer])

    trainer.predict(Model(), loader())
    trainer.predict(Model(), loader(2))

    assert [len(predictions) for predictions, _ in writer.epochs] == [2, 1]


def test_indices_that_are_not_known_are_empty_and_it_is_said_once() -> None:
    """The predictions are written all the same."""
    writer = Writer("batch_and_epoch")

    with pytest.warns(UserWarning, match="indices of the samples of a batch are not known") as said:
        MiniTrainer(callbacks=[writer]).predict(Model(), loader())

    assert len(said) == 1
    assert [batch[1] for batch in writer.batches] == [[], []]
    assert writer.epochs[0][1] == [[[], []]]


def test_an_unknown_interval_is_answered_with_those_there_are() -> None:
    """With the nearest."""
    with pytest.raises(MisconfigurationException, match=r"should be one of \['batch', 'epoch', 'batch_and_epoch'\]"):
        Writer("batches")
    with pytest.raises(ValueError, match="Did you mean `epoch`"):
        Writer("epochs")


@pytest.mark.parametrize(
    ("interval", "method"), [("batch", "write_on_batch_end"), ("batch_and_epoch", "write_on_epoch_end")]
)
def test_a_writer_that_does_not_write_is_told_before_it_predicts(interval: Any, method: str) -> None:
    """The method that the interval needs is named."""

    class Half(BasePredictionWriter):
        def write_on_batch_end(self, *args: Any) -> None:
            pass

    writer = BasePredictionWriter("batch") if method == "write_on_batch_end" else Half(interval)

    with pytest.raises(NotImplementedError, match=f"has no method `{method}` of its own"):
        MiniTrainer(callbacks=[writer]).predict(Model(), loader())


def test_a_step_that_reads_the_loader_itself_is_refused() -> None:
    """Nobody could tell which batch a prediction belongs to."""

    class ReadsItself(Model):
        def predict_step(self, dataloader_iter: Any) -> Any:
            return next(dataloader_iter)

    with pytest.raises(NotImplementedError, match="takes a `dataloader_iter`"):
        MiniTrainer(callbacks=[Writer("batch")]).predict(ReadsItself(), loader())
