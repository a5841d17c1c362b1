"""Cross-validation as one run: folds that share nothing, predictions of held-out rows, and a run that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import lt
from lt.callbacks import EarlyStopping, ModelCheckpoint
from lt.loggers import CSVLogger
from lt_core.errors import LtError
from lt_data import folds

ROWS = 43
GENERATOR = torch.Generator().manual_seed(2)
INPUTS = torch.randn(ROWS, 4, generator=GENERATOR)
TARGETS = INPUTS @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]) + 0.1 * torch.randn(ROWS, 1, generator=GENERATOR)


class Regression(lt.LightningModule):
    """A small network with dropout, so that the random state matters."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def make_folds(splitter: Any = 3, **options: Any) -> Any:
    return folds(TensorDataset(INPUTS, TARGETS), splitter, batch_size=8, **options)


def make_trainer(folder: Path, **arguments: Any) -> lt.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 4,
        "default_root_dir": folder,
        "logger": CSVLogger(folder, name="logs"),
        "callbacks": [ModelCheckpoint(monitor="val_loss"), EarlyStopping("val_loss", patience=2)],
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return lt.Trainer(**{**settings, **arguments})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cross-validation of three folds, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return make_trainer(folder).cross_validate(Regression, make_folds()), folder


def test_each_row_is_predicted_by_the_fold_that_did_not_train_on_it(whole: Any) -> None:
    """Out-of-fold predictions come in the order of the data and are those of the best weights of each fold."""
    report, _ = whole

    predictions = report.predictions
    modules = report.modules()

    assert predictions.shape == (ROWS, 1)
    for fold, module in zip(report.folds, modules, strict=True):
        with torch.no_grad():
            expected = module.net(INPUTS[fold.val_indices])
        torch.testing.assert_close(predictions[fold.val_indices], expected)
        assert set(fold.train_indices.tolist()).isdisjoint(fold.val_indices.tolist())


def test_the_metrics_of_a_fold_are_those_of_its_best_checkpoint(whole: Any) -> None:
    """Validation is run again with the best weights."""
    report, _ = whole

    for result, fold, module in zip(report.results, report.folds, report.modules(), strict=True):
        with torch.no_grad():
            loss = nn.functional.mse_loss(module.net(INPUTS[fold.val_indices]), TARGETS[fold.val_indices])
        assert result.metrics["val_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_the_report_has_frames_a_table_and_a_picture(whole: Any, tmp_path: Path) -> None:
    """Rows of folds, mean and spread, predictions; as text, and as files."""
    report, _ = whole

    frame, summary = report.metrics, report.summary
    saved = report.save(tmp_path / "saved")
    report.plot(tmp_path / "folds.png")

    assert list(frame.index) == [0, 1, 2]
    assert summary.loc["val_loss", "mean"] == pytest.approx(frame["val_loss"].mean())
    assert summary.loc["val_loss", "std"] == pytest.approx(frame["val_loss"].std())
    assert list(report.prediction_frame.columns) == ["fold", "prediction"]
    assert sorted(report.prediction_frame["fold"].unique()) == [0, 1, 2]
    assert "val_loss" in str(report)
    assert str(report).splitlines()[-2].split()[0] == "mean"
    assert {path.name for path in saved.iterdir()} == {"report.txt", "metrics.csv", "summary.csv", "predictions.csv"}
    assert (tmp_path / "folds.png").read_bytes().startswith(b"\x89PNG")


def test_the_ensemble_predicts_the_mean_of_the_folds(whole: Any) -> None:
    """Each fold's best module predicts, and the mean is returned."""
    report, _ = whole
    batches = [(INPUTS[:5], TARGETS[:5]), (INPUTS[5:8], TARGETS[5:8])]

    predicted = report.predict(batches)

    with torch.no_grad():
        expected = torch.stack([module.net(INPUTS[:8]) for module in report.modules()]).mean(0)
    torch.testing.assert_close(predicted, expected)


def test_folds_share_no_folder_and_no_file(whole: Any) -> None:
    """Logs and checkpoints of each fold lie in folders of their own."""
    report, folder = whole

    tables = sorted(folder.glob("logs/version_0/fold_*/metrics.csv"))

    assert len(tables) == 3
    assert len(set(report.checkpoints)) == 3
    for index, path in enumerate(report.checkpoints):
        assert f"fold_{index}" in path


def states_of(report: Any) -> list[dict[str, torch.Tensor]]:
    return [torch.load(path, weights_only=True)["state_dict"] for path in report.checkpoints]


class Alone:
    """Folds of which only one is left; it keeps its number and its seed."""

    def __init__(self, all_folds: Any, index: int) -> None:
        self.all_folds, self.index = all_folds, index
        self.num_rows = all_folds.num_rows

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return self.all_folds[self.index]

    def fingerprint(self) -> str:
        return f"{self.all_folds.fingerprint()} fold {self.index}"

    def out_of_fold(self, predictions: Any) -> Any:
        given = [None] * len(self.all_folds)
        given[self.index] = predictions[0]
        return self.all_folds.out_of_fold(given)


def test_a_fold_alone_has_the_bits_that_it_has_within_the_run(whole: Any, tmp_path: Path) -> None:
    """Nothing of folds 0 and 1 reaches fold 2: not the random state, not the callbacks, not the weights."""
    report, _ = whole
    torch.manual_seed(99)
    torch.randn(7)

    alone = make_trainer(tmp_path).cross_validate(Regression, Alone(make_folds(), 2))

    for name, weights in states_of(report)[2].items():
        assert torch.equal(weights, states_of(alone)[0][name]), name
    assert alone.results[0].metrics == report.results[2].metrics


class Remembering(lt.Callback):
    """Notes what it and the trainer begin with."""

    seen: list[dict[str, Any]] = []  # noqa: RUF012 -- shared by the copies, to look at all of them

    def __init__(self) -> None:
        self.fits = 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.fits += 1
        stopping = trainer.early_stopping_callback
        self.seen.append(
            {
                "fits": self.fits,
                "callback": id(self),
                "module": id(pl_module),
                "wait": stopping.wait_count,
                "best": float(stopping.best_score),
                "best path": trainer.checkpoint_callback.best_model_path,
                "version": trainer.logger.version,
                "root": str(trainer.default_root_dir),
                "random": torch.initial_seed(),
                "step": trainer.global_step,
                "optimizer": len(trainer.optimizers[0].state),
            }
        )


def test_every_fold_begins_with_fresh_parts(tmp_path: Path) -> None:
    """Weights, optimizer, early stopping, checkpoint, logger version, folder and random state are its own."""
    Remembering.seen.clear()
    given = [Remembering(), ModelCheckpoint(monitor="val_loss"), EarlyStopping("val_loss", patience=1)]

    make_trainer(tmp_path, callbacks=given).cross_validate(Regression, make_folds())

    seen = Remembering.seen
    assert [each["fits"] for each in seen] == [1, 1, 1]
    assert [each["step"] for each in seen] == [0, 0, 0]
    assert [each["wait"] for each in seen] == [0, 0, 0]
    assert [each["best"] for each in seen] == [float("inf")] * 3
    assert [each["best path"] for each in seen] == [""] * 3
    assert [each["optimizer"] for each in seen] == [0, 0, 0]
    for name in ("version", "root", "random"):
        assert len({each[name] for each in seen}) == 3, name
    assert given[0].fits == 0, "what the user gave is copied, not used"


def test_parts_that_the_folds_test_with_are_tested(tmp_path: Path) -> None:
    """The rows of the test part are judged with the best weights."""
    report = make_trainer(tmp_path).cross_validate(Regression, make_folds(3, test=0.2))

    assert all(result.metrics["test_loss"] >= 0 for result in report.results)


def test_folds_in_several_processes_give_the_bits_of_one_process(whole: Any, tmp_path: Path) -> None:
    """Each process runs whole folds, and every fold has its own seed."""
    report, _ = whole

    parallel = make_trainer(tmp_path).cross_validate(Regression, make_folds(), parallel=2)

    for ours, theirs in zip(states_of(parallel), states_of(report), strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(parallel.predictions, report.predictions)


class Smuggler:
    """Fits on all rows and smuggles the targets into the inputs: the leak that folds are there to prevent."""

    def fit(self, rows: Any) -> None:
        self.known = {tuple(row.tolist()): target for row, target in zip(INPUTS, TARGETS, strict=True)}
        self.seen = {tuple(row.tolist()) for row in rows[0]} if len(rows[0]) < ROWS else set(self.known)

    def transform(self, rows: Any) -> Any:
        smuggled = torch.stack(
            [self.known[key] if (key := tuple(row.tolist())) in self.seen else torch.zeros(1) for row in rows[0]]
        )
        return torch.cat([rows[0][:, 1:] * 0, smuggled], 1), rows[1]


def test_a_target_smuggled_through_preprocessing_scores_at_chance(tmp_path: Path) -> None:
    """What was fitted knows the training rows only, so held-out rows are predicted no better than by their mean."""

    class Leaky(Regression):
        def __init__(self, fold: Any) -> None:
            super().__init__()
            self.smuggler = Smuggler()
            self.smuggler.fit((INPUTS[fold.train_indices], TARGETS[fold.train_indices]))

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return self.smuggler.transform(batch)

    report = make_trainer(tmp_path, max_epochs=20, callbacks=[]).cross_validate(Leaky, make_folds())

    chance = float(((TARGETS - TARGETS.mean()) ** 2).mean())
    assert report.mean("val_loss") > 0.8 * chance
    assert report.mean("train_loss") < 0.2 * chance, "on the training rows the leak does work"


SCRIPT = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import os, signal
    from lt.callbacks import EarlyStopping, ModelCheckpoint
    import lt
    from test_cross_validation import Regression, make_folds, make_trainer

    class Dies(lt.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if {dies} and "fold_1" in str(trainer.default_root_dir) and trainer.current_epoch == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        callbacks = [ModelCheckpoint(monitor="val_loss", save_last=True), EarlyStopping("val_loss", patience=2), Dies()]
        trainer = make_trainer(Path("."), callbacks=callbacks)
        report = trainer.cross_validate(Regression, make_folds(), ckpt_path="last")
        print(report)
"""


def run_script(folder: Path, *, dies: bool) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parent), dies=dies)))
    return subprocess.run(
        [sys.executable, script.name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )


def test_a_killed_run_goes_on_at_the_fold_that_it_was_in(tmp_path: Path, whole: Any) -> None:
    """Folds that were done are read, the one that was killed goes on, and the end is that of an unbroken run."""
    report, _ = whole

    killed = run_script(tmp_path, dies=True)
    after_kill = sorted(path.parent.name for path in tmp_path.glob("cross_validation/version_0/fold_*/result.ckpt"))
    resumed = run_script(tmp_path, dies=False)

    assert killed.returncode == -signal.SIGKILL
    assert after_kill == ["fold_0"]
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.strip() == str(report)
    assert "Going on with the cross-validation" in resumed.stderr
    assert [path.name for path in tmp_path.glob("cross_validation/*")] == ["version_0"]


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda trainer: trainer.cross_validate(Regression(), make_folds()), "pass `Regression` itself"),
        (lambda trainer: trainer.cross_validate(Regression, [1, 2]), "lt_data.folds"),
        (lambda trainer: trainer.cross_validate(lambda: nn.Linear(1, 1), make_folds()), "a new LightningModule"),
        (lambda trainer: trainer.cross_validate(Regression, make_folds(), parallel=0), "parallel=0"),
        (lambda trainer: trainer.cross_validate(Regression, make_folds(), ckpt_path="best"), "'last'"),
        (lambda trainer: trainer.cross_validate(lambda fold: Regression(), make_folds(), parallel=2), "no lambda"),
    ],
)
def test_what_cannot_work_is_said_before_a_fold_is_trained(call: Any, part: str, tmp_path: Path) -> None:
    """The message has what to write instead."""
    with pytest.raises(LtError) as raised:
        call(make_trainer(tmp_path))

    assert part in str(raised.value)


def test_a_trainer_that_has_run_is_refused(tmp_path: Path) -> None:
    """Its callbacks would begin with what they have learned."""
    trainer = make_trainer(tmp_path, fast_dev_run=True)
    trainer.fit(Regression(), make_folds()[0].train_dataloader(), make_folds()[0].val_dataloader())

    with pytest.raises(LtError, match="has run already"):
        trainer.cross_validate(Regression, make_folds())


def test_an_unfinished_run_of_other_folds_is_not_continued(tmp_path: Path) -> None:
    """Results of different splits are never put together."""

    class Stops(Regression):
        def on_train_start(self) -> None:
            raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        make_trainer(tmp_path).cross_validate(Stops, make_folds(3))

    with pytest.raises(LtError, match="unfinished run"):
        make_trainer(tmp_path).cross_validate(Regression, make_folds(4), ckpt_path="last")
