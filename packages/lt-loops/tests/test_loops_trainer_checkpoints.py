"""Which checkpoint a run is loaded from: ``best``, ``last``, ``hpc``, a path, or what was assigned."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lt_core import Checkpoint, LightningModule
from lt_core.errors import MisconfigurationException
from lt_loops import Trainer

Make = Callable[..., Trainer]


def loader() -> DataLoader[Any]:
    return DataLoader(torch.ones(2, 1))


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).square().sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("path", 1.0)

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("weight", self.layer.weight.item(), batch_size=1)

    def predict_step(self, batch: Tensor, batch_idx: int) -> float:
        return self.layer.weight.item()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Keeps(Checkpoint):
    """A checkpoint callback as small as can be: saves once in each epoch."""

    def __init__(self, folder: Path, name: str = "kept") -> None:
        self.folder, self.name = folder, name
        self.best_model_path = ""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.best_model_path = str(self.folder / f"{self.name}-{trainer.current_epoch}.ckpt")
        trainer.save_checkpoint(self.best_model_path)

    def find_last_checkpoints(self, trainer: Any) -> set[str]:
        return {str(path) for path in self.folder.glob(f"{self.name}-*.ckpt")}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def trainer(*callbacks: Any, **arguments: Any) -> Trainer:
        defaults: dict[str, Any] = {"max_epochs": 2, "enable_progress_bar": False, "enable_model_summary": False}
        found = list(callbacks) or [Keeps(tmp_path)]
        return Trainer(
            accelerator="cpu", logger=False, default_root_dir=tmp_path, callbacks=found, **{**defaults, **arguments}
        )

    return trainer


def weight_in(path: Any) -> float:
    return torch.load(path, weights_only=True)["state_dict"]["layer.weight"].item()


def test_best_is_what_the_callback_says(make: Make, tmp_path: Path) -> None:
    """All entry points load it, and the trainer tells which it was, also afterwards."""
    trainer, model = make(), Model()
    trainer.fit(model, loader(), loader())
    trainer.checkpoint_callback.best_model_path = first = str(tmp_path / "kept-0.ckpt")

    results = trainer.test(ckpt_path="best", dataloaders=loader(), verbose=False)

    assert results[0]["weight"] == pytest.approx(weight_in(first))
    assert trainer.ckpt_path == first
    assert trainer.predict(model, loader(), ckpt_path="best")[0] == pytest.approx(weight_in(first))


def test_without_a_module_and_a_path_the_best_is_loaded_with_a_warning(make: Make, tmp_path: Path) -> None:
    """With a module, nothing is."""
    trainer, model = make(), Model()
    trainer.fit(model, loader(), loader())
    last = model.layer.weight.item()
    trainer.checkpoint_callback.best_model_path = str(tmp_path / "kept-0.ckpt")

    with_module = trainer.test(model, loader(), verbose=False)
    path = trainer.ckpt_path
    with pytest.warns(UserWarning, match="best"):
        without = trainer.test(dataloaders=loader(), verbose=False)

    assert (with_module[0]["weight"], path) == (pytest.approx(last), None)
    assert without[0]["weight"] == pytest.approx(weight_in(tmp_path / "kept-0.ckpt"))


def test_best_of_several_callbacks_is_the_first_ones(make: Make, tmp_path: Path) -> None:
    """With a warning."""
    one, two = Keeps(tmp_path, "one"), Keeps(tmp_path, "two")
    trainer = make(one, two)
    trainer.fit(Model(), loader(), loader())

    with pytest.warns(UserWarning, match="several"):
        trainer.test(ckpt_path="best", dataloaders=loader(), verbose=False)

    assert trainer.ckpt_path == one.best_model_path


def test_best_before_anything_was_saved_is_an_error(make: Make) -> None:
    """The reason is named where it is known."""
    with pytest.raises(ValueError, match="no best checkpoint was saved yet"):
        make().test(Model(), loader(), ckpt_path="best")
    with pytest.raises(ValueError, match="fast_dev_run"):
        make(fast_dev_run=True).test(Model(), loader(), ckpt_path="best")


def test_last_is_the_newest_file_of_all_callbacks(make: Make, tmp_path: Path) -> None:
    """Training goes on from it."""
    one, two = Keeps(tmp_path, "one"), Keeps(tmp_path, "two")
    make(one, two).fit(Model(), loader(), loader())
    newest = tmp_path / "one-0.ckpt"
    os.utime(newest, (4e9, 4e9))
    trainer = make(one, two, max_epochs=3)

    trainer.fit(Model(), loader(), loader(), ckpt_path="last")

    assert trainer.ckpt_path == str(newest)
    assert (trainer.current_epoch, trainer.global_step) == (3, 6)


def test_last_where_there_is_none_warns_and_begins(make: Make) -> None:
    """So that a script can say ``last`` from its first run on."""
    trainer = make()

    with pytest.warns(UserWarning, match="no last checkpoint"):
        trainer.fit(Model(), loader(), loader(), ckpt_path="last")

    assert trainer.global_step == 4


def test_hpc_is_the_file_with_the_highest_number(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a cluster it is taken by itself; a missing one that is asked for is an error."""
    trainer = make(max_epochs=1)
    with pytest.raises(ValueError, match="hpc_ckpt"):
        trainer.fit(Model(), loader(), loader(), ckpt_path="hpc")
    trainer.fit(Model(), loader(), loader())
    for number in (2, 10):
        trainer.save_checkpoint(tmp_path / f"hpc_ckpt_{number}.ckpt")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    other = make()

    other.fit(Model(), loader(), loader())

    assert other.ckpt_path == str(tmp_path / "hpc_ckpt_10.ckpt")
    assert other.global_step == 4


def test_a_path_that_is_assigned_holds_until_an_argument_replaces_it(make: Make, tmp_path: Path) -> None:
    """The argument wins with a warning, and clears what was assigned."""
    trainer, model = make(), Model()
    trainer.fit(model, loader(), loader())
    first, second = (str(tmp_path / f"kept-{epoch}.ckpt") for epoch in (0, 1))

    trainer.ckpt_path = first
    paths = []
    for _ in range(2):
        trainer.test(model, loader(), verbose=False)
        paths.append(trainer.ckpt_path)
    with pytest.warns(UserWarning, match="argument wins"):
        trainer.test(model, loader(), ckpt_path=second, verbose=False)
    paths.append(trainer.ckpt_path)
    trainer.test(model, loader(), verbose=False)
    paths.append(trainer.ckpt_path)

    assert paths == [first, first, second, None]


def test_an_empty_path_is_an_error(make: Make) -> None:
    """It is most likely a variable that was never set."""
    with pytest.raises(ValueError, match="empty"):
        make().test(Model(), loader(), ckpt_path="")


class Larger(Model):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(1, 1)
        self.strict_loading = False

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.layer.parameters(), lr=0.1)


def test_missing_keys_are_an_error_unless_the_module_allows_them(make: Make, tmp_path: Path) -> None:
    """`strict_loading` counts when a run is loaded."""
    make().fit(Model(), loader(), loader())
    path = tmp_path / "kept-0.ckpt"
    strict = Larger()
    strict.strict_loading = True

    trainer = make()
    trainer.fit(Larger(), loader(), loader(), ckpt_path=path)

    assert trainer.global_step == 4
    with pytest.raises(RuntimeError, match=r"more\.weight"):
        make().test(strict, loader(), ckpt_path=path)


def test_what_is_not_safe_to_read_needs_an_explicit_word(make: Make, tmp_path: Path) -> None:
    """The error names the class and the word."""
    trainer = make(max_epochs=1)
    trainer.fit(Model(), loader(), loader())
    path = tmp_path / "unsafe.ckpt"
    checkpoint = torch.load(tmp_path / "kept-0.ckpt", weights_only=True)
    checkpoint["theirs"] = Path("x")
    torch.save(checkpoint, path)

    with pytest.raises(Exception, match=r"(?s)Path.*weights_only=False"):
        make().fit(Model(), loader(), loader(), ckpt_path=path)
    trainer = make()
    trainer.fit(Model(), loader(), loader(), ckpt_path=path, weights_only=False)

    assert trainer.global_step == 4


def test_clipping_by_hand_to_another_value_than_the_trainers_is_an_error(make: Make) -> None:
    """One of the two values is a mistake."""

    class Clips(Model):
        def configure_gradient_clipping(
            self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
        ) -> None:
            self.clip_gradients(optimizer, gradient_clip_val=0.5)

    with pytest.raises(MisconfigurationException, match="differs"):
        make(gradient_clip_val=0.1).fit(Clips(), loader(), loader())
