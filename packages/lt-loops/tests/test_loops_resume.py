"""A run that goes on from a checkpoint ends with the same bits as one that was never interrupted."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lt_core import Callback, LightningModule
from lt_core.logger import Logger


class Noisy(Dataset[Any]):
    """Draws augmentations from torch's and Python's random states."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((3,), float(index)) / 23 + 0.1 * torch.randn(3) + random.random()


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.net(batch).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        if batch_idx == 0:
            self.log("first", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val", self.net(batch).mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.05)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=10.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "loss_epoch"}}

    def train_dataloader(self) -> Any:
        return DataLoader(Noisy(), batch_size=4, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(Noisy(), batch_size=6)


class Rows(Logger):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[dict[str, float], int | None]] = []

    @property
    def name(self) -> str:
        return "rows"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((dict(metrics), step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.rows.append(({"hparams": 1.0}, None))


class SaveAt(Callback):
    """Saves at one call of one hook."""

    def __init__(self, hook: str, count: int, path: Path) -> None:
        self.calls, self.count, self.path = 0, count, path
        setattr(self, hook, self._called)

    def _called(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        if not trainer.sanity_checking:
            self.calls += 1
            if self.calls == self.count:
                trainer.save_checkpoint(self.path)


SETTINGS: dict[str, Any] = {"max_epochs": 3, "log_every_n_steps": 1, "num_sanity_val_steps": 0}


def run(quiet: Any, callbacks: list[Callback], ckpt_path: Path | None = None, **extra: Any) -> tuple[Any, Model, Rows]:
    torch.manual_seed(5)
    random.seed(5)
    rows = Rows()
    trainer = quiet(**{**SETTINGS, **extra}, logger=rows, callbacks=callbacks)
    model = Model()
    if ckpt_path is not None:
        torch.manual_seed(99)
        random.seed(99)
    trainer.fit(model, ckpt_path=ckpt_path)
    return trainer, model, rows


def assert_continues(whole: tuple[Any, Model, Rows], resumed: tuple[Any, Model, Rows]) -> None:
    for mine, theirs in zip(whole[1].parameters(), resumed[1].parameters(), strict=True):
        assert torch.equal(mine, theirs)
    left, right = (part[0].optimizers[0].state_dict() for part in (whole, resumed))
    assert str(left) == str(right)
    assert resumed[2].rows == whole[2].rows[len(whole[2].rows) - len(resumed[2].rows) :]
    assert whole[0].global_step == resumed[0].global_step
    assert whole[0].current_epoch == resumed[0].current_epoch
    metrics = {name: value.item() for name, value in whole[0].callback_metrics.items()}
    assert metrics == {name: value.item() for name, value in resumed[0].callback_metrics.items()}


@pytest.mark.parametrize("count", [1, 4, 6, 7, 11, 18])
def test_resuming_in_the_middle_of_an_epoch_gives_the_same_bits(quiet: Any, tmp_path: Path, count: int) -> None:
    """Weights, optimizer state, metrics and rows are those of the unbroken run."""
    path = tmp_path / "at.ckpt"
    whole = run(quiet, [SaveAt("on_train_batch_end", count, path)])

    resumed = run(quiet, [], path)

    assert_continues(whole, resumed)


@pytest.mark.parametrize("hook", ["on_validation_end", "on_train_epoch_end"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_resuming_at_the_end_of_an_epoch_gives_the_same_bits(quiet: Any, tmp_path: Path, hook: str, count: int) -> None:
    """The plateau scheduler that acts after the save is not forgotten."""
    path = tmp_path / "at.ckpt"
    whole = run(quiet, [SaveAt(hook, count, path)])

    resumed = run(quiet, [], path)

    assert_continues(whole, resumed)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_resuming_after_a_validation_within_the_epoch_gives_the_same_bits(
    quiet: Any, tmp_path: Path, count: int
) -> None:
    """Validation every two batches does not disturb what the epoch has logged."""
    path = tmp_path / "at.ckpt"
    whole = run(quiet, [SaveAt("on_validation_end", count, path)], val_check_interval=2)

    resumed = run(quiet, [], path, val_check_interval=2)

    assert_continues(whole, resumed)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_resuming_within_an_accumulation_window_gives_the_same_bits(quiet: Any, tmp_path: Path, count: int) -> None:
    """The gradients of the open window are in the file."""
    path = tmp_path / "at.ckpt"
    whole = run(quiet, [SaveAt("on_train_batch_end", count, path)], accumulate_grad_batches=4)

    resumed = run(quiet, [], path, accumulate_grad_batches=4)

    assert_continues(whole, resumed)


def test_going_on_for_more_epochs_gives_the_bits_of_a_longer_run(quiet: Any, tmp_path: Path) -> None:
    """A run of two epochs that goes on to three ends where a run of three ends."""
    whole = run(quiet, [])
    path = tmp_path / "two.ckpt"
    shorter, _, _ = run(quiet, [], max_epochs=2)
    torch_state = torch.get_rng_state()
    assert torch_state is not None
    shorter.save_checkpoint(path)

    resumed = run(quiet, [], path)

    assert_continues(whole, resumed)


def test_a_file_without_our_own_entry_goes_on_by_its_counters(quiet: Any, tmp_path: Path) -> None:
    """Files in the common layout of other origin know how many batches were used; the rest of the epoch is run."""
    path = tmp_path / "at.ckpt"
    whole, _, _ = run(quiet, [SaveAt("on_train_batch_end", 8, path)])
    content = torch.load(path, weights_only=True)
    del content["lt"]
    torch.save(content, path)

    resumed, _, _ = run(quiet, [], path)

    assert resumed.global_step == whole.global_step
    assert resumed.current_epoch == whole.current_epoch
