"""SpikeDetection."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lt_callbacks import SpikeDetection, TrainingSpikeException
from lt_core.errors import MisconfigurationException
from lt_core.module import LightningModule
from lt_core.testing import MiniTrainer

torch.set_num_threads(1)


class Given(LightningModule):
    """Has the losses that it is given, one for each batch."""

    def __init__(self, *, skips: bool = False, manual: bool = False) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.skips = skips
        self.automatic_optimization = not manual

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        if self.skips and batch_idx == 1:
            return None
        return None if not self.automatic_optimization else (batch[0] + 0 * self.weight).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(detection: SpikeDetection, losses: list[float], folder: Path, **kwargs: Any) -> MiniTrainer:
    trainer = MiniTrainer(callbacks=[detection], default_root_dir=folder)
    trainer.fit(Given(**kwargs), DataLoader(TensorDataset(torch.tensor(losses)), batch_size=1))
    return trainer


def test_a_jump_of_the_loss_ends_the_run_and_is_written_down(tmp_path: Path) -> None:
    """The file has the batch before it, too, and the exception the batch."""
    with pytest.raises(TrainingSpikeException, match="spike detected in batch 3") as caught:
        fit(SpikeDetection(), [1.0, 1.1, 0.9, 9.0, 1.0], tmp_path)

    assert caught.value.batch_idx == 3
    assert isinstance(caught.value, RuntimeError)
    assert json.loads((tmp_path / "skip_batches.json").read_text()) == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "losses", "spike"),
    [
        ({}, [1.0, 2.9], None),
        ({}, [1.0, 3.0], 1),
        ({"rtol": None, "atol": 0.5}, [1.0, 1.4, 1.5, 2.0], 3),
        ({"atol": 5.0}, [1.0, 3.5], None),
        ({"warmup": 3}, [1.0, 9.0, 99.0, 9.0], None),
        ({"window": 2}, [10.0, 1.0, 1.0, 4.0], 3),
        ({"window": 3}, [10.0, 1.0, 1.0, 4.0], None),
        ({"mode": "max", "rtol": 0.5}, [10.0, 30.0, 9.0], 2),
        ({"mode": "max"}, [1.0, 9.0, 99.0], None),
        ({}, [1.0, 9.0 / 4, 2.0, 1.9], None),
        ({"warmup": 0}, [5.0], None),
        ({}, [1.0, math.nan], 1),
        ({}, [1.0, math.inf], 1),
        ({"finite_only": False}, [1.0, math.nan, 1.0], None),
    ],
)
def test_what_a_spike_is(arguments: Any, losses: list[float], spike: int | None, tmp_path: Path) -> None:
    """Worse than the one before, and far from the mean of the last ones by both measures."""
    found = None

    try:
        fit(SpikeDetection(**arguments), losses, tmp_path)
    except TrainingSpikeException as error:
        found = error.batch_idx

    assert found == spike


@pytest.mark.parametrize(("path", "file"), [("bad", "bad/skip_batches.json"), ("a/b.json", "a/b.json")])
def test_the_file_is_where_it_was_wanted(path: str, file: str, tmp_path: Path) -> None:
    """A folder gets a file of the usual name; missing folders are made."""
    with pytest.raises(TrainingSpikeException):
        fit(SpikeDetection(warmup=0, exclude_batches_path=tmp_path / path), [math.inf], tmp_path)

    assert json.loads((tmp_path / file).read_text()) == [0]


def test_what_was_seen_is_carried_by_the_state(tmp_path: Path) -> None:
    """A resumed run compares with the losses from before, and keeps its own arguments."""
    first = SpikeDetection(window=4)
    fit(first, [1.0, 1.5, 0.5], tmp_path)
    second = SpikeDetection(window=4, rtol=5.0)

    second.load_state_dict(first.state_dict())

    assert {**second.state_dict(), "rtol": 2.0} == first.state_dict()
    assert second.state_dict()["running"] == {"recent": [1.0, 1.5, 0.5]}
    assert second.rtol == 5.0


def test_a_batch_that_is_skipped_is_no_spike(tmp_path: Path) -> None:
    """A step that returns None leaves the mean as it is."""
    trainer = fit(SpikeDetection(), [1.0, 99.0, 1.1], tmp_path, skips=True)

    assert trainer.callbacks[0].state_dict()["running"] == {"recent": [1.0, pytest.approx(1.1)]}


def test_manual_optimisation_has_to_return_the_loss(tmp_path: Path) -> None:
    """Otherwise nothing would ever be looked at."""
    with pytest.raises(MisconfigurationException, match=r"Given.training_step`; expected a loss"):
        fit(SpikeDetection(), [1.0], tmp_path, manual=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "auto"}, "Has to be min or max"),
        ({"window": 0}, "window=0; expected a whole number of at least 1"),
        ({"warmup": -1}, "warmup=-1; expected a whole number of at least 0"),
        ({"rtol": -2.0}, r"rtol=-2.0; expected a number of at least 0"),
        ({"atol": "1"}, "atol='1'; expected a number"),
        ({"rtol": None}, "atol=None and rtol=None; expected one of them"),
    ],
)
def test_wrong_arguments_are_answered_with_what_to_write(arguments: Any, message: str) -> None:
    """Each is refused when the callback is made."""
    with pytest.raises(MisconfigurationException, match=message) as caught:
        SpikeDetection(**arguments)

    assert "Write " in str(caught.value)
