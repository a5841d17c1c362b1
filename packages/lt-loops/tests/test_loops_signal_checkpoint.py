"""The checkpoint that SIGTERM leaves: where it lies, when it is not written, and that going on gives the same bits."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_core.callback import Callback
from lt_core.errors import SIGTERMException
from lt_core.module import LightningModule
from lt_core.testing import RecordingLogger, run_ranks
from lt_loops import Trainer

# Two runs write to one folder here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:The checkpoint folder")

Spot = tuple[str, int, int]


class Noisy(LightningModule):
    """Draws random numbers in training and in validation; sends itself SIGTERM at one batch of one rank."""

    def __init__(self, spot: Spot | None = None, victim: int = 0) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.spot, self.victim = spot, victim

    def _pass(self, stage: str, batch_idx: int) -> None:
        here = (stage, self.current_epoch, batch_idx) == self.spot and not self.trainer.sanity_checking
        if here and self.trainer.global_rank == self.victim:
            os.kill(os.getpid(), signal.SIGTERM)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self._pass("train", batch_idx)
        loss = (self.layer(batch + torch.rand_like(batch)) - 1).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._pass("validate", batch_idx)
        self.log("val", (self.layer(batch) * torch.rand(())).mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def fit(
    folder: str, module: Noisy, ckpt_path: str | None = None, **options: Any
) -> tuple[dict[str, Any], list[Any], int | str | None]:
    """The module's state, the rows, and the exit code of a run of two epochs with validation within them."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    torch.manual_seed(7 + int(os.environ.get("LOCAL_RANK", "0")))
    logger = RecordingLogger()
    settings: dict[str, Any] = {"default_root_dir": folder, **options}
    trainer = Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        max_epochs=2,
        val_check_interval=3,
        log_every_n_steps=1,
        logger=logger,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    data = torch.arange(48.0).reshape(12, 4) / 48
    train = DataLoader(data.repeat(ranks, 1), 2, shuffle=True)
    code = None
    try:
        trainer.fit(module, train, DataLoader(data, 3), ckpt_path=ckpt_path)
    except SIGTERMException as error:
        code = error.code
    return {name: value.clone() for name, value in module.state_dict().items()}, logger.rows, code


def assert_same(whole: tuple[Any, Any, Any], first: tuple[Any, Any, Any], resumed: tuple[Any, Any, Any]) -> None:
    assert (whole[2], first[2], resumed[2]) == (None, 143, None)
    for name, value in whole[0].items():
        assert torch.equal(value, resumed[0][name]), name
    assert resumed[1] == whole[1][-len(resumed[1]) :]
    assert len(resumed[1]) < len(whole[1])


SPOTS: list[Spot] = [("train", 0, 1), ("train", 1, 2), ("train", 1, 5), ("validate", 0, 1), ("validate", 1, 3)]


@pytest.mark.parametrize("spot", SPOTS)
def test_a_run_that_sigterm_ended_goes_on_with_the_same_bits(tmp_path: Path, spot: Spot) -> None:
    """In training and in the middle of a validation, which is run again from its beginning."""
    torch.manual_seed(0)
    state = Noisy().state_dict()

    def module(*arguments: Any) -> Noisy:
        made = Noisy(*arguments)
        made.load_state_dict(state)
        return made

    whole = fit(str(tmp_path / "whole"), module())
    first = fit(str(tmp_path), module(spot))
    resumed = fit(str(tmp_path), module(), "hpc")

    assert_same(whole, first, resumed)
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["hpc_ckpt_1.ckpt"]


def test_last_finds_it_and_numbers_count_up(tmp_path: Path) -> None:
    """A second interruption writes the next number, and `last` takes the newest."""
    fit(str(tmp_path), Noisy(("train", 0, 1)))
    fit(str(tmp_path), Noisy(("train", 1, 1)), "last")

    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["hpc_ckpt_1.ckpt", "hpc_ckpt_2.ckpt"]
    newest = torch.load(tmp_path / "hpc_ckpt_2.ckpt", weights_only=True)
    assert (newest["epoch"], newest["global_step"]) == (1, 8)


@pytest.mark.parametrize("options", [{"enable_checkpointing": False}, {"fast_dev_run": 4}])
def test_nothing_is_written_where_checkpoints_are_switched_off(tmp_path: Path, options: dict[str, Any]) -> None:
    """The run still ends with 143."""
    _, _, code = fit(str(tmp_path), Noisy(("train", 0, 1)), **options)

    assert code == 143
    assert list(tmp_path.rglob("*.ckpt")) == []


def _on_ranks(folder: str, spot: Spot, victim: int) -> Any:
    torch.manual_seed(0)
    state = Noisy().state_dict()
    results = []
    for module, ckpt_path, place in (
        (Noisy(), None, f"{folder}/whole"),
        (Noisy(spot, victim), None, folder),
        (Noisy(), "hpc", folder),
    ):
        module.load_state_dict(state)
        results.append(fit(place, module, ckpt_path))
    return results


@pytest.mark.parametrize("spot", [("train", 1, 2), ("validate", 0, 1)])
def test_on_several_ranks_every_rank_goes_on_where_it_was(tmp_path: Path, spot: Spot) -> None:
    """Each rank has its own random numbers and data, and the file holds them."""
    for whole, first, resumed in run_ranks(_on_ranks, 2, str(tmp_path), spot, 1, timeout=150):
        assert_same(whole, first, resumed)


class SignalAtRandom(Callback):
    """Sends SIGTERM to one rank at a random moment, and makes all ranks unequally slow."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self.victim, self.delay = dice.randrange(3), dice.random() * 0.3

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.global_rank == self.victim:
            threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGTERM)).start()

    def on_train_batch_end(self, *args: Any) -> None:
        time.sleep(random.random() * 0.06)


def _ended_at_random(folder: str) -> list[Any]:
    signal.signal(signal.SIGTERM, lambda *_: None)  # a signal that comes after the run must not end this process
    ends = []
    for trial in range(6):
        place, module = f"{folder}/{trial}", Noisy()
        code = fit(place, module, callbacks=[SignalAtRandom(trial)])[2]
        ends.append((code, module.trainer.global_step, sorted(path.name for path in Path(place).glob("*.ckpt"))))
        time.sleep(0.3)
    return ends


def test_sigterm_at_any_moment_on_any_rank_ends_all_at_the_same_step(tmp_path: Path) -> None:
    """Whatever a rank is doing then, all save at one step and end with 143."""
    results = run_ranks(_ended_at_random, 3, str(tmp_path), timeout=150)

    assert results[0] == results[1] == results[2]
    interrupted = [end for end in results[0] if end[0] is not None]
    assert interrupted
    assert all((code, files) == (143, ["hpc_ckpt_1.ckpt"]) for code, _, files in interrupted)
