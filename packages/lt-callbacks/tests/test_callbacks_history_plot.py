"""HistoryPlot."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lt_callbacks import HistoryPlot
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MissingPackageError
from lt_core.testing import MiniTrainer
from lt_core.testing.kit_parts import KitModule, kit_loader

torch.set_num_threads(1)


def fit(*callbacks: Callback, epochs: int = 3, **kwargs: Any) -> MiniTrainer:
    ckpt_path = kwargs.pop("ckpt_path", None)
    trainer = MiniTrainer(callbacks=list(callbacks), max_epochs=epochs, **kwargs)
    trainer.fit(KitModule(lr=0.01), kit_loader(), kit_loader(), ckpt_path=ckpt_path)
    return trainer


def size_of(picture: Path) -> tuple[int, int]:
    content = picture.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def test_a_picture_of_all_metrics_lies_in_the_run_s_folder(tmp_path: Path) -> None:
    """Training and validation share the panel of the loss; accuracy has its own."""
    plot = HistoryPlot()

    fit(plot, default_root_dir=tmp_path)

    assert size_of(tmp_path / "history.png") == (800, 260)
    assert {name: len(values) for name, values in plot.history.items()} == {
        "loss_epoch": 3,
        "val_loss": 3,
        "val_acc": 3,
    }
    assert [epoch for epoch, _ in plot.history["val_loss"]] == [0, 1, 2]


def test_the_picture_is_there_after_each_epoch(tmp_path: Path) -> None:
    """Or after each n-th, and when training ends."""
    picture = tmp_path / "curves.png"
    changed: list[bool] = []

    class Look(Callback):
        monitors = True

        def on_train_epoch_end(self, *args: Any) -> None:
            changed.append(picture.exists())
            picture.unlink(missing_ok=True)

    fit(HistoryPlot(picture, every_n_epochs=2), Look())

    assert changed == [False, True, False]
    assert picture.exists()


def test_only_the_metrics_that_were_asked_for_are_drawn(tmp_path: Path) -> None:
    """One that is not logged is named once."""
    plot = HistoryPlot(tmp_path / "a.png", metrics=["val_loss", "val_los"], dpi=50)

    with pytest.warns(UserWarning, match=r"not logged: \['val_los'\]") as said:
        fit(plot)

    assert list(plot.history) == ["val_loss"]
    assert size_of(tmp_path / "a.png") == (200, 130)
    assert len(said) == 1


def test_a_resumed_run_goes_on_with_its_curves(tmp_path: Path) -> None:
    """The values are in the checkpoint."""
    fit(HistoryPlot(tmp_path / "a.png"), epochs=2).save_checkpoint(tmp_path / "resume.ckpt")
    whole, resumed = HistoryPlot(tmp_path / "b.png"), HistoryPlot(tmp_path / "c.png")

    fit(whole, epochs=4)
    fit(resumed, epochs=4, ckpt_path=tmp_path / "resume.ckpt")

    assert resumed.history == whole.history


def test_a_debugging_run_draws_nothing(tmp_path: Path) -> None:
    """`fast_dev_run` leaves no files."""
    fit(HistoryPlot(tmp_path / "a.png"), fast_dev_run=True)

    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said once, and tried again after the next epoch."""
    folder = tmp_path / "plots"

    class TakeAway(Callback):
        def on_train_epoch_start(self, trainer: Any, *args: Any) -> None:
            if trainer.current_epoch < 2:
                folder.rename(tmp_path / "away") if folder.exists() else None
            else:
                (tmp_path / "away").rename(folder)

    with pytest.warns(UserWarning, match="could not write .* No such file") as said:
        trainer = fit(HistoryPlot(folder / "a.png"), TakeAway())

    assert trainer.current_epoch == 3
    assert len(said) == 1
    assert (folder / "a.png").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_that_is_read_only_is_an_error_when_fit_begins(tmp_path: Path) -> None:
    """Before an epoch is spent."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)

    with pytest.raises(MisconfigurationException, match="cannot write"):
        fit(HistoryPlot(folder / "a.png"))


def test_a_folder_that_is_a_file_is_an_error_when_fit_begins(tmp_path: Path) -> None:
    """Before an epoch is spent, with the place to change."""
    (tmp_path / "file").write_text("")

    with pytest.raises(MisconfigurationException, match=r"write `HistoryPlot\(path=…\)` with another"):
        fit(HistoryPlot(tmp_path / "file" / "a.png"))


def test_a_missing_library_is_named_with_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before an epoch is spent."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingPackageError, match=r'pip install "lt-callbacks\[plot\]"'):
        fit(HistoryPlot(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "a.jpg"}, r"expected the name of a PNG file. Write `path='a.png'`"),
        ({"metrics": "loss"}, "metrics='loss'; expected a list of names"),
        ({"every_n_epochs": 0}, "every_n_epochs=0; expected a whole number of at least 1"),
        ({"dpi": 0.5}, r"dpi=0.5; expected a whole number"),
    ],
)
def test_wrong_arguments_are_answered_with_what_to_write(arguments: Any, message: str) -> None:
    """Each is refused when the callback is made."""
    with pytest.raises(MisconfigurationException, match=message):
        HistoryPlot(**arguments)
