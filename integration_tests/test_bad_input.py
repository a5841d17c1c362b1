"""Mistakes that only several packages together can make are answered with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar, TQDMProgressBar
from lt_core import LightningModule
from lt_core.errors import MisconfigurationException
from lt_core.testing import BoringModel, RandomDataset
from lt_data import LightningDataModule
from lt_loggers import CSVLogger
from lt_loops import Trainer

Make = Callable[..., Trainer]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make trainers on the CPU with few steps and without output."""

    def made(**arguments: Any) -> Trainer:
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "logger": False,
            "max_epochs": 1,
            "limit_train_batches": 2,
            "limit_val_batches": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return Trainer(**{**defaults, **arguments})

    return made


class Model(BoringModel):
    """Logs `val_loss` and `accuracy`."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log_dict({"val_loss": self.step(batch), "accuracy": 0.5})


class Data(LightningDataModule):
    """Four samples to train on, two to validate on."""

    def train_dataloader(self) -> Any:
        return DataLoader(RandomDataset(32, 4))

    def val_dataloader(self) -> Any:
        return DataLoader(RandomDataset(32, 2))


@pytest.mark.parametrize("watching", [EarlyStopping, ModelCheckpoint])
def test_a_monitor_that_was_never_logged_is_told_what_was(make: Make, watching: Any) -> None:
    """Both callbacks name the nearest key and how to log the missing one."""
    trainer = make(callbacks=[watching(monitor="val_los")])

    with pytest.raises(MisconfigurationException) as caught:
        trainer.fit(Model())

    assert f"{watching.__name__}(monitor='val_los'" in str(caught.value)
    assert "Logged so far: 'accuracy', 'val_loss'. Did you mean `val_loss`?" in str(caught.value)
    assert "self.log('val_los'" in str(caught.value)


def test_early_stopping_on_a_missing_metric_is_also_a_runtime_error(make: Make) -> None:
    """Code that catches Lightning's kind keeps working."""
    with pytest.raises(RuntimeError, match="Logged so far: nothing"):
        make(callbacks=[EarlyStopping("loss")], limit_val_batches=0).fit(BoringModel())


def test_a_monitor_that_is_not_strict_lets_training_end(make: Make) -> None:
    """The user has said that the metric may be missing."""
    trainer = make(callbacks=[EarlyStopping("loss", strict=False)])

    trainer.fit(BoringModel())

    assert trainer.current_epoch == 1


@pytest.mark.parametrize(
    "callbacks",
    [
        lambda: [RichProgressBar(), TQDMProgressBar()],
        lambda: [TQDMProgressBar(), TQDMProgressBar()],
    ],
)
def test_two_progress_bars_are_one_too_many(make: Make, callbacks: Any) -> None:
    """They write to the same lines."""
    with pytest.raises(MisconfigurationException, match=r"holds 2 progress bars: .*ProgressBar\. Expected one"):
        make(callbacks=callbacks(), enable_progress_bar=None)


@pytest.mark.parametrize(
    ("callback", "argument"),
    [(TQDMProgressBar, "enable_progress_bar"), (ModelCheckpoint, "enable_checkpointing")],
)
def test_a_callback_contradicts_the_argument_that_switches_its_role_off(
    make: Make, callback: Any, argument: str
) -> None:
    """The message says which of the two to remove."""
    with pytest.raises(MisconfigurationException, match=f"Remove `{argument}=False` or the callback"):
        make(callbacks=[callback()], **{argument: False})


def test_two_checkpoint_callbacks_with_one_state_are_an_error(make: Make) -> None:
    """One state would overwrite the other in every checkpoint."""
    with pytest.raises(RuntimeError, match=r"Two callbacks have the state key .* give them different arguments"):
        make(callbacks=[ModelCheckpoint(monitor="val_loss"), ModelCheckpoint(monitor="val_loss")])


def test_a_misspelled_hook_of_a_data_module_is_answered_with_the_one_that_was_meant(make: Make) -> None:
    """The real data module has methods of its own, which are no mistakes."""

    class Digits(Data):
        def prepare_date(self) -> None:
            """Never called."""

    with pytest.raises(MisconfigurationException) as caught:
        make().fit(Model(), datamodule=Digits())

    assert "`Digits.prepare_date` is no hook and would never be called: did you mean `prepare_data`?" in str(
        caught.value
    )
    assert "problems were found" not in str(caught.value)


def test_a_data_module_and_loaders_are_one_too_many(make: Make) -> None:
    """Which of the two is meant is not guessed."""
    with pytest.raises(MisconfigurationException, match="leave `dataloaders` or `datamodule` out"):
        make().fit(Model(), DataLoader(RandomDataset(32, 4)), datamodule=Data())


def test_all_that_is_wrong_in_every_part_is_one_error_before_anything_is_done(make: Make, tmp_path: Path) -> None:
    """Module, data module and callback, with the default roles on: nothing is prepared, logged or written."""
    done: list[str] = []

    class Mine(LightningModule):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            """Not reached."""

        def validation_stpe(self, batch: Any, batch_idx: int) -> None:
            """Never called."""

    class Digits(Data):
        def prepare_data(self) -> None:
            done.append("prepare_data")

        def setup(self) -> None:  # type: ignore[override]
            done.append("setup")

    class Stopping(EarlyStopping):
        def on_train_start(self) -> None:  # type: ignore[override]
            done.append("on_train_start")

    trainer = make(callbacks=[Stopping("val_loss")], logger=CSVLogger(tmp_path / "logs"))

    with pytest.raises(MisconfigurationException) as caught:
        trainer.fit(Mine(), datamodule=Digits())

    message = str(caught.value)
    assert message.startswith("4 problems were found:")
    assert "`Mine.validation_stpe` is no hook" in message
    assert "`Stopping.on_train_start` takes ()" in message
    assert "`Digits.setup` takes ()" in message
    assert "`Mine` has no `configure_optimizers`" in message
    assert done == []
    assert list(tmp_path.iterdir()) == []


def test_what_failed_can_be_resumed_and_run_again(make: Make, tmp_path: Path) -> None:
    """The logs of a run that failed are whole, and its trainer fits again."""
    model = Model()
    fail = [True]

    def on_train_epoch_end() -> None:
        if fail.pop():
            raise RuntimeError("the user's own error")

    model.on_train_epoch_end = on_train_epoch_end  # type: ignore[method-assign]
    logger = CSVLogger(tmp_path / "logs")
    trainer = make(max_epochs=2, callbacks=[ModelCheckpoint(monitor="val_loss")], logger=logger, log_every_n_steps=1)

    with pytest.raises(RuntimeError, match="the user's own error"):
        trainer.fit(model, datamodule=Data())
    rows = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    fail.extend([False, False])
    trainer.fit(model, datamodule=Data())

    assert "val_loss" in rows[0]
    assert len(rows) == 2
    assert trainer.current_epoch == 2
    assert Path(trainer.checkpoint_callback.best_model_path).is_file()
