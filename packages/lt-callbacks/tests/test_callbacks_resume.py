"""A resumed run decides as an unbroken one: which checkpoints to keep, when to stop, how much time is left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint, Timer
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.logger import DummyLogger
from lt_core.testing import BoringModel, MiniTrainer, RandomDataset

torch.set_num_threads(1)

SCORES = [5.0, 3.0, 4.0, 6.0, 2.0, 7.0, 8.0, 1.0]


class ByEpoch(BoringModel):
    """Logs a score that depends on the epoch only."""

    def on_validation_epoch_end(self) -> None:
        self.log("score", SCORES[self.trainer.current_epoch])


class RunFolder(DummyLogger):
    """A logger whose folder changes from run to run."""

    def __init__(self, save_dir: Path, version: int) -> None:
        super().__init__()
        self._where = str(save_dir)
        self._number = version

    @property
    def save_dir(self) -> str:
        return self._where

    @property
    def name(self) -> str:
        return "runs"

    @property
    def version(self) -> int:
        return self._number


def fit(callbacks: list[Any], epochs: int, ckpt_path: str | None = None, logger: Any = None) -> MiniTrainer:
    trainer = MiniTrainer(callbacks=callbacks, max_epochs=epochs, logger=logger)
    trainer.fit(ByEpoch(), DataLoader(RandomDataset(32, 2)), DataLoader(RandomDataset(32, 1)), ckpt_path=ckpt_path)
    return trainer


def decisions(checkpoint: ModelCheckpoint) -> dict[str, Any]:
    state = checkpoint.state_dict()
    state.pop("dirpath")
    relative = {
        name: os.path.basename(value)
        for name, value in state.items()
        if name.endswith(("path", "_saved")) and isinstance(value, str)
    }
    kept = {os.path.basename(path): float(score) for path, score in state.pop("best_k_models").items()}
    numbers = {name: float(value) for name, value in state.items() if isinstance(value, torch.Tensor)}
    return {**relative, **numbers, "kept": kept, "last_step": state["last_global_step_saved"]}


@pytest.mark.parametrize("stopped_after", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "options", [{"save_top_k": 2}, {"save_top_k": 2, "save_last": True}, {"save_top_k": -1, "save_last": "link"}]
)
def test_a_resumed_run_keeps_the_same_files_as_an_unbroken_one(
    tmp_path: Path, stopped_after: int, options: dict[str, Any]
) -> None:
    """Whichever file it resumes from: the files, the ranking and the last step saved are those of one long run."""

    def make(folder: str) -> list[Any]:
        return [ModelCheckpoint(tmp_path / folder, monitor="score", **options), EarlyStopping("score", patience=3)]

    whole = make("whole")
    fit(whole, 8)
    broken = make("broken")
    fit(broken, stopped_after)
    resumed = make("broken")

    newest = max((tmp_path / "broken").glob("*=*.ckpt"), key=lambda path: load_checkpoint_file(path)["global_step"])
    fit(resumed, 8, ckpt_path=str(newest))

    resumed_from = {newest.name}
    assert decisions(resumed[0]) == decisions(whole[0])
    # The file it was resumed from is never removed.
    there = {path.name for path in (tmp_path / "broken").iterdir()}
    assert there - resumed_from == {path.name for path in (tmp_path / "whole").iterdir()} - resumed_from
    assert resumed[1].stopped_epoch == whole[1].stopped_epoch
    assert resumed[1].wait_count == whole[1].wait_count


def test_the_ranking_goes_on_when_the_loggers_folder_changes(tmp_path: Path) -> None:
    """The default folder follows the logger's version; the best checkpoint of the whole run stays the best."""
    first = ModelCheckpoint(monitor="score")
    fit([first], 2, logger=RunFolder(tmp_path, 0))
    second = ModelCheckpoint(monitor="score")

    fit([second], 4, ckpt_path=first.best_model_path, logger=RunFolder(tmp_path, 1))

    assert second.best_model_path == first.best_model_path
    assert second.best_model_score == 3.0
    assert not (tmp_path / "runs" / "version_1" / "checkpoints").exists()


def test_another_folder_given_by_hand_begins_a_ranking_of_its_own(tmp_path: Path) -> None:
    """Only the best path is taken over, and that is said."""
    first = ModelCheckpoint(tmp_path / "a", monitor="score")
    fit([first], 2)
    second = ModelCheckpoint(tmp_path / "b", monitor="score")

    with pytest.warns(UserWarning, match="only `best_model_path` is taken over"):
        fit([second], 3, ckpt_path=first.best_model_path)

    assert os.path.basename(second.best_model_path) == "epoch=2-step=6.ckpt"
    assert os.path.exists(first.best_model_path)


def test_the_patience_of_the_constructor_wins_over_the_saved_one(tmp_path: Path, caplog: Any) -> None:
    """A changed patience takes effect, and that is said."""
    first = EarlyStopping("score", patience=3)
    first.wait_count = 2
    second = EarlyStopping("score", patience=10)

    second.load_state_dict(first.state_dict())

    assert second.patience == 10
    assert second.wait_count == 2


def test_a_timer_counts_the_time_before_the_restart() -> None:
    """The time used up is part of the state."""
    first = Timer(duration={"hours": 1})
    first._offset = 600.0
    second = Timer(duration={"hours": 1})

    second.load_state_dict(first.state_dict())

    assert second.time_elapsed() == 600.0
    assert second.time_remaining() == 3000.0


def test_a_resumed_run_without_time_left_does_not_train(tmp_path: Path) -> None:
    """It stops before the first batch."""
    checkpoint = ModelCheckpoint(tmp_path)
    spent = Timer(duration={"seconds": 100})
    use_up = LambdaCallback(on_train_epoch_end=lambda *args: setattr(spent, "_offset", 101.0))
    fit([checkpoint, spent, use_up], 1)
    timer = Timer(duration={"seconds": 100})

    with pytest.warns(UserWarning, match="ModelCheckpoint"):
        trainer = fit([timer], 8, ckpt_path=checkpoint.best_model_path)

    assert trainer.global_step == 2
