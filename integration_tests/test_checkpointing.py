"""Checkpoints with the real trainer: which files are kept, and several callbacks at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_scenarios import CHECKPOINTS, RECORDED, TRAINERS, facts
from torch.utils.data import DataLoader

import lt
from lt.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, OnExceptionCheckpoint
from lt_core.errors import MisconfigurationException
from lt_core.testing import BoringModel, RandomDataset

torch.set_num_threads(1)

# A save by steps that waits for its metric, and where it is ranked by a value that is not outdated: see the page of
# differences.
DIFFERENT = {
    "every two steps by a validation metric": {
        "plain",
        "two validations an epoch",
        "accumulation",
        "max_steps",
        "validation by batches",
    },
    "every three steps by a step metric": {"validation by batches"},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_the_files_that_stay_are_those_that_lightning_was_recorded_keeping(checkpoint: str, tmp_path: Path) -> None:
    """With each way to validate: names, links, steps, the best and its score, the ranking, the last."""
    recorded = json.loads(RECORDED.read_text())
    trainers = [each for each in TRAINERS if each not in DIFFERENT.get(checkpoint, ())]

    found = {each: facts(lt, checkpoint, each, tmp_path / each) for each in trainers}

    assert found == {each: recorded[f"{checkpoint}; {each}"] for each in trainers}


class Scored(BoringModel):
    """Logs two scores at each validation, which disagree on what is best."""

    def on_validation_epoch_end(self) -> None:
        self.log("falling", 10.0 - self.trainer.current_epoch)
        self.log("rising", float(self.trainer.current_epoch))


def trainer(folder: Path, *callbacks: Any, **arguments: Any) -> lt.Trainer:
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return lt.Trainer(default_root_dir=folder, callbacks=list(callbacks), **{"max_epochs": 3, **quiet, **arguments})


def data(batches: int = 2) -> DataLoader[Any]:
    return DataLoader(RandomDataset(32, batches))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_several_checkpoints_share_a_folder_and_keep_apart(tmp_path: Path) -> None:
    """The same name at the same step gets a version; each removes only what is its own."""
    by_falling = ModelCheckpoint(tmp_path, monitor="falling", save_last=True)
    by_rising = ModelCheckpoint(tmp_path, monitor="rising", save_last=True)
    steps = ModelCheckpoint(tmp_path, filename="every-{step}", every_n_train_steps=3, save_top_k=-1)

    trainer(tmp_path, by_falling, by_rising, steps).fit(Scored(), data(), data())

    assert names(tmp_path) == {
        "epoch=2-step=6.ckpt",
        "last.ckpt",
        "epoch=0-step=2-v1.ckpt",
        "last-v1.ckpt",
        "every-step=3.ckpt",
        "every-step=6.ckpt",
    }
    assert Path(by_falling.best_model_path).name == "epoch=2-step=6.ckpt"
    assert Path(by_rising.best_model_path).name == "epoch=0-step=2-v1.ckpt"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"monitor": "falling", "filename": "best"}, {"monitor": "rising", "filename": "best"}),
        ({"monitor": "falling"}, {"monitor": "rising"}),
        (
            {"monitor": "falling", "save_last": True, "filename": "a"},
            {"monitor": "rising", "save_last": "link", "filename": "b"},
        ),
    ],
)
def test_checkpoints_that_would_write_the_same_file_are_refused(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Before training; what is wrong and how to keep them apart is said."""
    callbacks = [ModelCheckpoint(tmp_path, **first), ModelCheckpoint(tmp_path, enable_version_counter=False, **second)]

    with pytest.raises(MisconfigurationException, match=r"would write the same file.*filename"):
        trainer(tmp_path, *callbacks).fit(Scored(), data(), data())

    assert not list(tmp_path.glob("*.ckpt"))


def test_names_that_turn_out_the_same_are_refused_when_it_happens(tmp_path: Path) -> None:
    """Templates can differ and their results be one; the other's file stays as it is."""
    first = ModelCheckpoint(tmp_path, monitor="falling", filename="{epoch}", save_top_k=-1)
    second = ModelCheckpoint(
        tmp_path,
        monitor="rising",
        filename="epoch={epoch}",
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )

    with pytest.raises(MisconfigurationException, match="another `ModelCheckpoint` of the run"):
        trainer(tmp_path, first, second).fit(Scored(), data(), data())

    assert list(first.best_k_models) == [str(tmp_path.resolve() / "epoch=0.ckpt")]
    assert torch.load(tmp_path / "epoch=0.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.filterwarnings("ignore:`ckpt_path")
def test_two_exception_checkpoints_with_one_file_are_refused(tmp_path: Path) -> None:
    """The second would remove what the first has saved."""
    with pytest.raises(MisconfigurationException, match="Two `OnExceptionCheckpoint`"):
        trainer(tmp_path, OnExceptionCheckpoint(tmp_path), OnExceptionCheckpoint(tmp_path)).fit(Scored(), data())


def test_a_learning_rate_can_be_monitored(tmp_path: Path) -> None:
    """What `LearningRateMonitor` reads is there for callbacks, too."""
    checkpoint = ModelCheckpoint(tmp_path / "kept", monitor="lr-SGD", filename="{lr-SGD:.2f}")
    rates = LearningRateMonitor("epoch")

    trainer(tmp_path, rates, checkpoint, logger=True).fit(Scored(), data(), data())

    assert rates.lrs["lr-SGD"]
    assert checkpoint.best_model_score == pytest.approx(min(rates.lrs["lr-SGD"]))


@pytest.mark.parametrize("save_top_k", [2, -1])
def test_a_ranking_goes_on_after_an_interruption(tmp_path: Path, save_top_k: int) -> None:
    """The resumed run keeps and removes what the unbroken one does, exceptions included."""

    class Stops(lt.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 7:
                raise RuntimeError("stopped here")

    def saving(folder: str) -> ModelCheckpoint:
        return ModelCheckpoint(
            tmp_path / folder, monitor="falling", save_top_k=save_top_k, save_last=True, save_on_exception=True
        )

    whole, broken, resumed = saving("whole"), saving("broken"), saving("broken")
    trainer(tmp_path, whole, EarlyStopping("falling", patience=9), max_epochs=5).fit(Scored(), data(), data())

    with pytest.raises(RuntimeError, match="stopped here"):
        trainer(tmp_path, broken, Stops(), max_epochs=5).fit(Scored(), data(), data())
    assert os.path.exists(broken.last_model_path)
    trainer(tmp_path, resumed, max_epochs=5).fit(Scored(), data(), data(), ckpt_path="last")

    assert {Path(path).name: float(score) for path, score in resumed.best_k_models.items()} == {
        Path(path).name: float(score) for path, score in whole.best_k_models.items()
    }
    assert names(tmp_path / "whole") <= names(tmp_path / "broken")
    assert torch.load(resumed.last_model_path, weights_only=True)["global_step"] == 10
