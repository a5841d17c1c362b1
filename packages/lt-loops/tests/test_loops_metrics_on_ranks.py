"""What several ranks publish of what they log, in real runs: values, rows, and how often they talk to each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException
from lt_core.module import LightningModule
from lt_core.testing import RankError, RecordingLogger, run_ranks
from lt_loops import Trainer

SAMPLES = 22  # of validation: an odd share for three ranks


def rank() -> int:
    return int(os.environ["LOCAL_RANK"])


class Logs(LightningModule):
    """Logs in every way that ranks have to agree on; a sample is its own number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("mean", batch.mean(), on_step=False, on_epoch=True)
        self.log("local", batch.max(), on_step=True, on_epoch=False)
        self.log("synced", torch.tensor(float(rank())), on_step=True, on_epoch=True, sync_dist=True)
        if rank() == 1:
            self.log("only1", -7.0, on_step=False, on_epoch=True)
        else:
            self.log("not1", 100.0, on_step=False, on_epoch=True)
        self.log("zero", 5.0 + rank(), on_step=False, on_epoch=True, rank_zero_only=True)
        return self.layer(batch).sum()

    def on_train_epoch_end(self) -> None:
        self.log("hook", float(rank()))
        if rank() == 1:
            self.log("hook1", 11.0)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_mean", batch.mean())
        self.log("val_sum", batch.sum(), reduce_fx="sum")
        self.log("val_max", batch.max(), reduce_fx="max")
        self.log("val_min", batch.min(), reduce_fx="min")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_mean", batch.mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-4)


class Counting:
    """Passes on what the exchange is asked for, and notes when."""

    def __init__(self, inner: Any, trainer: Trainer) -> None:
        self.inner, self.trainer = inner, trainer
        self.calls: list[tuple[int, str, str, int]] = []

    @property
    def rank(self) -> int:
        return int(self.inner.rank)

    @property
    def world_size(self) -> int:
        return int(self.inner.world_size)

    def _note(self, name: str) -> None:
        progress = self.trainer.fit_loop.progress
        self.calls.append((progress.epoch, name, str(self.trainer.state.stage), progress.batch))

    def gather_numbers(self, numbers: Sequence[float]) -> list[list[float]]:
        self._note("numbers")
        rows: list[list[float]] = self.inner.gather_numbers(numbers)
        return rows

    def gather_objects(self, obj: Any) -> list[Any]:
        self._note("objects")
        objects: list[Any] = self.inner.gather_objects(obj)
        return objects

    def members(self, group: Any) -> tuple[int, ...]:
        members: tuple[int, ...] = self.inner.members(group)
        return members


class Reader(Callback):
    """Reads on one rank only, wherever a progress bar or a curious user does."""

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.is_global_zero:
            assert "mean" not in trainer.callback_metrics or trainer.current_epoch
            _ = trainer.progress_bar_metrics, trainer.logged_metrics, trainer.log_dir

    def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_rank == 1:
            assert float(trainer.callback_metrics["only1"]) == -7.0
            assert float(trainer.callback_metrics["not1"]) == 100.0

    on_validation_end = on_train_batch_end


def loaders() -> tuple[Any, Any]:
    return DataLoader(torch.arange(24.0).unsqueeze(1), 2), DataLoader(torch.arange(float(SAMPLES)).unsqueeze(1), 4)


def make_trainer(**options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=int(os.environ["WORLD_SIZE"]),
        strategy="ddp",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        **options,
    )


def _run() -> dict[str, Any]:
    torch.manual_seed(0)
    logger = RecordingLogger()
    trainer = make_trainer(logger=logger, max_epochs=2, log_every_n_steps=2, callbacks=[Reader()])
    sink = trainer.metrics_board.sink
    counting = sink.exchange = Counting(sink.exchange, trainer)
    trainer.fit(Logs(), *loaders())
    fitted = {name: float(value) for name, value in trainer.callback_metrics.items()}
    calls = list(counting.calls)
    results = trainer.test(Logs(), loaders()[1], verbose=False)
    return {"metrics": fitted, "rows": logger.rows, "calls": calls, "test": results}


@pytest.fixture(scope="module")
def of_three_ranks() -> list[dict[str, Any]]:
    return run_ranks(_run, 3, timeout=120)


def test_epoch_values_are_those_of_all_samples_on_every_rank(of_three_ranks: list[dict[str, Any]]) -> None:
    """Without `sync_dist`, with unequal shares, for every reduction: what one process would have said."""
    for result in of_three_ranks:
        metrics = result["metrics"]
        assert metrics["mean"] == pytest.approx(11.5)
        assert metrics["val_mean"] == pytest.approx((SAMPLES - 1) / 2)
        assert metrics["val_sum"] == SAMPLES * (SAMPLES - 1) / 2
        assert (metrics["val_min"], metrics["val_max"]) == (0.0, SAMPLES - 1)
        assert result["test"] == [{"test_mean": pytest.approx((SAMPLES - 1) / 2)}]


def test_keys_of_some_ranks_have_their_value_on_all(of_three_ranks: list[dict[str, Any]]) -> None:
    """`only1` stays -7, `not1` 100; what rank zero alone logs can be monitored everywhere."""
    for result in of_three_ranks:
        metrics = result["metrics"]
        assert (metrics["only1"], metrics["not1"], metrics["zero"]) == (-7.0, 100.0, 5.0)
        assert (metrics["hook"], metrics["hook1"]) == (1.0, 11.0)


def test_rows_hold_step_values_of_this_rank_or_of_all(of_three_ranks: list[dict[str, Any]]) -> None:
    """A key with `sync_dist=True` is combined in the row, one without is the rank's own."""
    for number, result in enumerate(of_three_ranks):
        rows = [row for row, _ in result["rows"] if "local" in row]
        assert len(rows) == 4
        assert [row["synced_step"] for row in rows] == [1.0] * 4
        assert rows[0]["local"] == max(2 * 3 + number, 3 * 3 + number)


def test_no_step_talks_to_other_ranks_and_an_epoch_does_once(of_three_ranks: list[dict[str, Any]]) -> None:
    """A row of numbers each: at two rows for the loggers, the epoch's end and its hook, and likewise in validation."""
    calls = of_three_ranks[0]["calls"]
    assert all(result["calls"] == calls for result in of_three_ranks)

    second = [call[1:] for call in calls if call[0] == 1]

    assert second == [
        ("numbers", "train", 4),  # who wishes to stop, at the end of the first epoch
        ("numbers", "train", 1),  # the row after the second batch
        ("numbers", "train", 3),  # the row after the fourth
        ("numbers", "validate", 3),  # what validation has logged
        ("numbers", "train", 3),  # who wishes to stop, after validation
        ("numbers", "train", 4),  # what the epoch has logged
        ("numbers", "train", 4),  # what its last hook has logged
    ]


def _logs_differently() -> None:
    class Differs(Logs):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("value", 1.0, reduce_fx="sum" if rank() else "mean")

    make_trainer(logger=False, max_epochs=1).fit(Differs(), *loaders())


def test_different_arguments_on_ranks_end_the_run_with_the_key_and_the_ranks() -> None:
    """It is found at the first exchange, which is the sanity check, on all ranks alike."""
    with pytest.raises(RankError) as error:
        run_ranks(_logs_differently, 2)

    text = str(error.value)
    assert MisconfigurationException.__name__ in text
    assert text.count("reduction='mean' on rank 0 and reduction='sum' on rank 1") >= 2


def _plateau() -> list[float]:
    class Monitored(Logs):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
            config = {"scheduler": scheduler, "monitor": "loss", "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": config}

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            # Gets better on rank 0 and worse on rank 1.
            self.log("loss", float(-batch_idx if rank() == 0 else batch_idx))
            self.rates.append(float(self.optimizers().param_groups[0]["lr"]))
            return self.layer(batch).sum() * 0

        rates: list[float] = []  # noqa: RUF012 -- one process, one module

    module = Monitored()
    make_trainer(logger=False, max_epochs=1, limit_val_batches=0).fit(module, loaders()[0])
    return module.rates


def test_schedulers_that_monitor_step_alike_on_all_ranks() -> None:
    """A plateau scheduler gets one value, or the ranks would go on with different learning rates."""
    first, second = run_ranks(_plateau, 2)

    assert len(first) == 6
    assert first == second == [1.0] * 6


def _epoch_values_after_resuming(folder: str, world_size: int) -> Any:
    path = os.path.join(folder, "middle.ckpt")

    class Saves(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 2:
                trainer.save_checkpoint(path)

    def fit(ckpt_path: str | None, *callbacks: Callback) -> dict[str, float]:
        torch.manual_seed(rank())
        trainer = make_trainer(logger=False, max_epochs=1, callbacks=list(callbacks))
        module = Noisy()
        trainer.fit(module, *loaders(), ckpt_path=ckpt_path)
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        return {**values, "weight": float(module.layer.weight.detach())}

    return fit(None, Saves()), fit(path)


class Noisy(Logs):
    """Draws a random number at each step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("noise", torch.rand(()), on_step=False, on_epoch=True, reduce_fx="sum")
        return super().training_step(batch + torch.rand(()), batch_idx)


def test_an_epoch_resumed_on_ranks_ends_with_the_same_numbers(tmp_path: Any) -> None:
    """A checkpoint holds each rank's own part: what it has logged, and its random states."""
    results = run_ranks(_epoch_values_after_resuming, 2, str(tmp_path), 2)

    for whole, resumed in results:
        assert resumed == whole
    assert results[0][0]["noise"] == results[1][0]["noise"]
