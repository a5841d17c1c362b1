"""When ModelCheckpoint saves, what it keeps, and what its files are called."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_callbacks import EarlyStopping, ModelCheckpoint, OnExceptionCheckpoint
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.errors import MisconfigurationException
from lt_core.single_process import SingleProcess
from lt_core.testing import BoringModel, ManualOptimBoringModel, MiniTrainer, RandomDataset

torch.set_num_threads(1)


class Scripted(BoringModel):
    """Logs a score per validation from a given list, and the training loss."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = scores
        self.validations = 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.step(batch)
        self.log("train_loss", loss)
        return loss

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.log("score", self.scores[self.validations])
            self.validations += 1


def data(batches: int = 4) -> DataLoader[Any]:
    return DataLoader(RandomDataset(32, batches))


def fit(
    callback: Any, tmp_path: Path, scores: list[float] | None = None, epochs: int = 3, **kwargs: Any
) -> MiniTrainer:
    callbacks = callback if isinstance(callback, list) else [callback]
    trainer = MiniTrainer(callbacks=callbacks, max_epochs=epochs, default_root_dir=tmp_path, **kwargs)
    trainer.fit(Scripted(scores or [0.0] * 50), data(), data(2))
    return trainer


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_without_arguments_it_keeps_the_checkpoint_of_the_latest_epoch(tmp_path: Path) -> None:
    """The default folder is below the trainer's root, and one file stays."""
    checkpoint = ModelCheckpoint()

    fit(checkpoint, tmp_path)

    assert files(tmp_path / "checkpoints") == ["epoch=2-step=12.ckpt"]
    assert checkpoint.best_model_path == str(tmp_path / "checkpoints" / "epoch=2-step=12.ckpt")


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        ("min", ["epoch=1-step=8.ckpt", "epoch=3-step=16.ckpt"]),
        ("max", ["epoch=0-step=4.ckpt", "epoch=2-step=12.ckpt"]),
    ],
)
def test_it_keeps_the_best_k_by_the_monitored_metric(tmp_path: Path, mode: str, kept: list[str]) -> None:
    """Files that are displaced by better ones are removed."""
    checkpoint = ModelCheckpoint(tmp_path / "c", monitor="score", mode=mode, save_top_k=2)

    fit(checkpoint, tmp_path, [5.0, 1.0, 4.0, 2.0], epochs=4)

    assert files(tmp_path / "c") == kept
    assert checkpoint.best_model_path.endswith("epoch=1-step=8.ckpt" if mode == "min" else "epoch=0-step=4.ckpt")
    assert checkpoint.best_model_score == (1.0 if mode == "min" else 5.0)
    assert checkpoint.kth_value == (2.0 if mode == "min" else 4.0)
    assert checkpoint.current_score == (2.0 if mode == "min" else 4.0)


def test_save_top_k_of_minus_one_keeps_all(tmp_path: Path) -> None:
    """Nothing is removed, and each file is ranked."""
    checkpoint = ModelCheckpoint(tmp_path / "c", monitor="score", save_top_k=-1)

    fit(checkpoint, tmp_path, [5.0, 1.0, 4.0])

    assert len(files(tmp_path / "c")) == 3
    assert [float(score) for score in checkpoint.best_k_models.values()] == [5.0, 1.0, 4.0]


@pytest.mark.parametrize(
    ("filename", "insert", "expected"),
    [
        ("{epoch:02d}-{score:.2f}", True, "epoch=00-score=0.50.ckpt"),
        ("e{epoch}-s{score:.1f}", False, "e0-s0.5.ckpt"),
        ("fixed", True, "fixed.ckpt"),
        (None, True, "epoch=0-step=4.ckpt"),
    ],
)
def test_file_names_are_filled_from_the_template(
    tmp_path: Path, filename: str | None, insert: bool, expected: str
) -> None:
    """Values are formatted as the template says, with their names or without."""
    checkpoint = ModelCheckpoint(tmp_path / "c", filename, "score", auto_insert_metric_name=insert)

    fit(checkpoint, tmp_path, [0.5], epochs=1)

    assert files(tmp_path / "c") == [expected]


def test_a_slash_in_a_metric_makes_a_sub_folder(tmp_path: Path) -> None:
    """The documented example of a metric named `val/loss`."""
    checkpoint = ModelCheckpoint(tmp_path, filename="x-{epoch:02d}-{val/loss:.2f}")

    path = checkpoint.format_checkpoint_name({"epoch": torch.tensor(2), "val/loss": torch.tensor(7.764)})

    assert path == os.path.join(os.path.realpath(tmp_path), "x-epoch=02-val", "loss=7.76.ckpt")


def test_an_unknown_metric_in_the_template_counts_as_zero_and_is_reported_once(tmp_path: Path) -> None:
    """The report names the metric and what there is."""
    checkpoint = ModelCheckpoint(tmp_path, filename="{nope:.1f}")

    with pytest.warns(UserWarning, match=r"'nope', which was not logged.*\['loss'\]") as caught:
        names = [checkpoint.format_checkpoint_name({"loss": torch.tensor(1.0)}) for _ in range(2)]

    assert names[0].endswith("nope=0.0.ckpt")
    assert len(caught) == 1


def test_a_taken_name_gets_a_version(tmp_path: Path) -> None:
    """Files that the callback does not own are never overwritten."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "best.ckpt").write_text("of another run")
    checkpoint = ModelCheckpoint(tmp_path / "c", "best", "score", save_top_k=2)

    with pytest.warns(UserWarning, match="is not empty"):
        fit(checkpoint, tmp_path, [3.0, 2.0, 1.0])

    assert files(tmp_path / "c") == ["best-v1.ckpt", "best-v2.ckpt", "best.ckpt"]
    assert (tmp_path / "c" / "best.ckpt").read_text() == "of another run"


def test_without_version_counter_a_name_is_reused(tmp_path: Path) -> None:
    """One file stays, with the latest weights."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "best", "score", save_top_k=1, enable_version_counter=False)

    fit(checkpoint, tmp_path, [3.0, 2.0, 1.0])

    assert files(tmp_path / "c") == ["best.ckpt"]
    assert load_checkpoint_file(tmp_path / "c" / "best.ckpt")["global_step"] == 12


def test_a_constant_name_without_monitor_is_overwritten(tmp_path: Path) -> None:
    """The latest checkpoint takes the place of the one before it, even when all are to be kept."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "only", save_top_k=-1)

    fit(checkpoint, tmp_path)

    assert files(tmp_path / "c") == ["only.ckpt"]


def test_save_last_writes_beside_each_saved_checkpoint(tmp_path: Path) -> None:
    """`last.ckpt` is saved when, and only when, a checkpoint is saved."""
    checkpoint = ModelCheckpoint(tmp_path / "c", monitor="score", save_last=True)

    fit(checkpoint, tmp_path, [1.0, 2.0, 3.0])

    assert files(tmp_path / "c") == ["epoch=0-step=4.ckpt", "last.ckpt"]
    assert load_checkpoint_file(checkpoint.last_model_path)["global_step"] == 4


def test_save_last_alone_is_written_each_epoch(tmp_path: Path) -> None:
    """With `save_top_k=0` the last checkpoint does not wait for the end of training."""
    seen: list[int] = []
    checkpoint = ModelCheckpoint(tmp_path / "c", save_top_k=0, save_last=True)

    class Watch(Scripted):
        def on_train_epoch_start(self) -> None:
            if (tmp_path / "c" / "last.ckpt").exists():
                seen.append(load_checkpoint_file(tmp_path / "c" / "last.ckpt")["global_step"])

    MiniTrainer(callbacks=[checkpoint], max_epochs=3).fit(Watch([0.0] * 3), data(), data(1))

    assert seen == [4, 8]
    assert files(tmp_path / "c") == ["last.ckpt"]


def test_a_last_name_with_fields_is_replaced_as_it_changes(tmp_path: Path) -> None:
    """The former last file goes when the new one has another name."""
    checkpoint = ModelCheckpoint(tmp_path / "c", save_last=True)
    checkpoint.CHECKPOINT_NAME_LAST = "{epoch}-{step}-last"

    fit(checkpoint, tmp_path)

    assert files(tmp_path / "c") == ["epoch=2-step=12-last.ckpt", "epoch=2-step=12.ckpt"]


def test_a_second_run_in_a_folder_does_not_touch_the_first_ones_last(tmp_path: Path) -> None:
    """The second run writes `last-v1.ckpt`, and both are found."""
    fit(ModelCheckpoint(tmp_path / "c", save_last=True), tmp_path, epochs=1)
    second = ModelCheckpoint(tmp_path / "c", save_last=True)

    with pytest.warns(UserWarning, match="is not empty"):
        trainer = fit(second, tmp_path, epochs=1)

    assert os.path.basename(second.last_model_path) == "last-v1.ckpt"
    assert {os.path.basename(path) for path in second.find_last_checkpoints(trainer)} == {"last.ckpt", "last-v1.ckpt"}


def test_a_last_link_points_to_the_file_saved_last_and_never_into_nothing(tmp_path: Path) -> None:
    """When the target is displaced, the link is moved first."""
    dangling: list[str] = []

    class Watching(ModelCheckpoint):
        def _remove_checkpoint(self, trainer: Any, filepath: str) -> None:
            super()._remove_checkpoint(trainer, filepath)
            link = tmp_path / "c" / "last.ckpt"
            if link.is_symlink() and not link.exists():
                dangling.append(filepath)

    checkpoint = Watching(tmp_path / "c", monitor="score", save_last="link")

    fit(checkpoint, tmp_path, [3.0, 2.0, 1.0])

    assert dangling == []
    assert os.readlink(tmp_path / "c" / "last.ckpt") == "epoch=2-step=12.ckpt"
    assert files(tmp_path / "c") == ["epoch=2-step=12.ckpt", "last.ckpt"]


def test_a_new_file_is_complete_before_the_old_one_goes(tmp_path: Path) -> None:
    """At each removal the folder holds another file that can be read."""
    readable: list[int] = []

    class Watching(ModelCheckpoint):
        def _remove_checkpoint(self, trainer: Any, filepath: str) -> None:
            others = [path for path in (tmp_path / "c").iterdir() if str(path) != filepath]
            readable.append(sum("state_dict" in load_checkpoint_file(path) for path in others))
            super()._remove_checkpoint(trainer, filepath)

    fit(Watching(tmp_path / "c"), tmp_path)

    assert readable == [1, 1]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_n_train_steps_counts_optimizer_steps(tmp_path: Path, accumulate: int) -> None:
    """Each n-th step is saved once, also while gradients are accumulated."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{step}", every_n_train_steps=2, save_top_k=-1)

    fit(checkpoint, tmp_path, epochs=2, accumulate_grad_batches=accumulate)

    steps = [2, 4, 6, 8] if accumulate == 1 else [2, 4]
    assert files(tmp_path / "c") == [f"step={step}.ckpt" for step in steps]


def test_every_n_train_steps_works_with_manual_optimization(tmp_path: Path) -> None:
    """Steps that the module takes itself are counted likewise."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{step}", every_n_train_steps=3, save_top_k=-1)
    trainer = MiniTrainer(callbacks=[checkpoint], max_epochs=1)

    trainer.fit(ManualOptimBoringModel(), data(6), data(1))

    assert files(tmp_path / "c") == ["step=3.ckpt", "step=6.ckpt"]


def test_every_n_epochs_leaves_out_the_epochs_between(tmp_path: Path) -> None:
    """Of five epochs, the second and the fourth are saved."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{epoch}", every_n_epochs=2, save_top_k=-1)

    fit(checkpoint, tmp_path, epochs=5)

    assert files(tmp_path / "c") == ["epoch=1.ckpt", "epoch=3.ckpt"]


def test_a_time_interval_saves_when_it_has_passed(tmp_path: Path) -> None:
    """A zero interval saves after each batch, a long one never."""
    often = ModelCheckpoint(tmp_path / "often", "{step}", train_time_interval=timedelta(0), save_top_k=-1)
    never = ModelCheckpoint(tmp_path / "never", "{step}", train_time_interval=timedelta(hours=1), save_top_k=-1)

    fit([often, never], tmp_path, epochs=1)

    assert files(tmp_path / "often") == [f"step={step}.ckpt" for step in (1, 2, 3, 4)]
    assert not (tmp_path / "never").exists()


def test_with_several_validations_per_epoch_it_saves_after_each(tmp_path: Path) -> None:
    """The score in the name is that of the validation just done."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{step}-{score:.0f}", "score", save_top_k=-1)

    fit(checkpoint, tmp_path, [9.0, 8.0, 7.0, 6.0], epochs=2, val_check_interval=0.5)

    assert files(tmp_path / "c") == [f"step={s}-score={v}.ckpt" for s, v in ((2, 9), (4, 8), (6, 7), (8, 6))]


@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_a_step_save_waits_for_the_validation_that_renews_its_metric(tmp_path: Path, interval: float) -> None:
    """The score of the file is never that of an earlier validation."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{step}-{score:.0f}", "score", every_n_train_steps=4, save_top_k=-1)
    scores = [9.0, 8.0] if interval == 1.0 else [1.0, 9.0, 2.0, 8.0]

    fit(checkpoint, tmp_path, scores, epochs=2, val_check_interval=interval)

    assert files(tmp_path / "c") == ["step=4-score=9.ckpt", "step=8-score=8.ckpt"]


def test_a_step_save_whose_metric_is_missing_waits_for_validation(tmp_path: Path) -> None:
    """The save of step 1 happens at the validation after step 4."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{step}", "score", every_n_train_steps=1, save_top_k=-1)

    fit(checkpoint, tmp_path, [9.0], epochs=1)

    assert files(tmp_path / "c") == ["step=4.ckpt"]


def test_a_step_save_by_a_metric_of_training_epochs_begins_after_the_first_epoch(tmp_path: Path) -> None:
    """A metric that the first epoch's validation cannot know is no error then."""

    class EpochLoss(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.step(batch)
            self.log("epoch_loss", loss, on_step=False, on_epoch=True)
            return loss

    checkpoint = ModelCheckpoint(tmp_path / "c", "{step}", "epoch_loss", every_n_train_steps=2, save_top_k=-1)

    MiniTrainer(callbacks=[checkpoint], max_epochs=2).fit(EpochLoss(), data(), data(1))

    assert "step=6.ckpt" in files(tmp_path / "c")


def test_weights_only_leaves_out_the_training_state(tmp_path: Path) -> None:
    """The file has weights and no optimizer states."""
    fit(ModelCheckpoint(tmp_path / "c", save_weights_only=True), tmp_path, epochs=1)

    saved = load_checkpoint_file(next((tmp_path / "c").iterdir()))

    assert "state_dict" in saved
    assert "optimizer_states" not in saved


def test_nothing_is_saved_by_a_fast_dev_run_or_in_the_sanity_check(tmp_path: Path) -> None:
    """Neither leaves a folder behind."""
    fit(ModelCheckpoint(tmp_path / "a", save_last=True), tmp_path, fast_dev_run=True)
    fit(ModelCheckpoint(tmp_path / "b"), tmp_path, epochs=0, num_sanity_val_steps=2)

    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("save_on_exception", [True, False])
def test_an_exception_is_survived_by_a_checkpoint_if_asked_for(tmp_path: Path, save_on_exception: bool) -> None:
    """The state of the last complete step is in the file."""

    class Fails(Scripted):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 2:
                raise ValueError("the data is broken")
            return super().training_step(batch, batch_idx)

    checkpoint = ModelCheckpoint(tmp_path / "c", save_on_exception=save_on_exception)

    with pytest.raises(ValueError, match="the data is broken"):
        MiniTrainer(callbacks=[checkpoint]).fit(Fails([0.0]), data(), data(1))

    assert (tmp_path / "c").exists() == save_on_exception
    if save_on_exception:
        assert files(tmp_path / "c") == ["epoch=0-step=2.ckpt"]


def test_the_on_exception_checkpoint_is_removed_by_a_run_that_ends_well(tmp_path: Path) -> None:
    """It is there after the crash and gone after the next run."""

    class Fails(Scripted):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ValueError("the data is broken")

    checkpoint = OnExceptionCheckpoint(tmp_path)
    with pytest.raises(ValueError, match="the data is broken"):
        MiniTrainer(callbacks=[checkpoint]).fit(Fails([0.0]), data(), data(1))
    after_crash = os.path.exists(checkpoint.ckpt_path)

    fit(checkpoint, tmp_path, epochs=1)

    assert after_crash
    assert not os.path.exists(checkpoint.ckpt_path)


def test_a_nan_score_ranks_last_and_is_reported_once(tmp_path: Path) -> None:
    """A number displaces it."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{epoch}", "score")

    with pytest.warns(UserWarning, match="its value is NaN") as caught:
        fit(checkpoint, tmp_path, [float("nan"), 7.0], epochs=2)

    assert files(tmp_path / "c") == ["epoch=1.ckpt"]
    assert len(caught) == 1


def test_a_missing_monitor_is_an_error_that_names_the_nearest_metric(tmp_path: Path) -> None:
    """It comes at the first save after a validation."""
    checkpoint = ModelCheckpoint(tmp_path / "c", monitor="scores")

    with pytest.raises(MisconfigurationException, match=r"'score', 'train_loss'.*Did you mean `score`"):
        fit(checkpoint, tmp_path)


def test_a_missing_monitor_without_validation_is_a_warning(tmp_path: Path) -> None:
    """Runs without validation data, common while trying things out, go on."""
    checkpoint = ModelCheckpoint(tmp_path / "c", monitor="val_loss")

    with pytest.warns(UserWarning, match="val_loss"):
        MiniTrainer(callbacks=[checkpoint], limit_val_batches=0).fit(BoringModel(), data())

    assert not (tmp_path / "c").exists()


def test_the_loggers_are_told_of_each_file(tmp_path: Path) -> None:
    """A logger's folder holds the checkpoints, and it hears of them."""
    from lt_core.logger import DummyLogger

    told: list[str] = []

    class Listening(DummyLogger):
        save_dir = str(tmp_path)
        name = "runs"
        version = 3

        def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
            told.append(checkpoint_callback.best_model_path)

    fit(ModelCheckpoint(), tmp_path, epochs=1, logger=Listening())

    assert told == [str(tmp_path / "runs" / "version_3" / "checkpoints" / "epoch=0-step=4.ckpt")]


def test_kept_scores_can_be_written_to_a_yaml_file(tmp_path: Path) -> None:
    """Each line is a path and its score."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{epoch}", "score", save_top_k=2)
    fit(checkpoint, tmp_path, [2.0, 1.0, 3.0])

    checkpoint.to_yaml()

    folder = os.path.realpath(tmp_path / "c")
    text = (tmp_path / "c" / "best_k_models.yaml").read_text()
    assert text == f'"{folder}/epoch=0.ckpt": 2.0\n"{folder}/epoch=1.ckpt": 1.0\n'


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"mode": "maximum"}, "mode='maximum'; expected 'min'"),
        ({"save_top_k": -2}, "save_top_k=-2; expected -1 for all"),
        ({"save_top_k": 3}, "nothing to rank"),
        ({"every_n_epochs": -1}, "every_n_epochs=-1"),
        ({"every_n_train_steps": 1, "every_n_epochs": 1}, "mutually exclusive"),
        ({"filename": "{epoch"}, "cannot be read"),
        ({"filename": "{}"}, "a field without a name"),
        ({"save_last": "symlink"}, "save_last='symlink'"),
    ],
)
def test_arguments_that_cannot_work_are_refused_at_once(arguments: dict[str, Any], part: str) -> None:
    """The message says what was received and what to write."""
    with pytest.raises(MisconfigurationException, match=part):
        ModelCheckpoint(**arguments)


def test_a_format_that_does_not_fit_its_metric_is_named(tmp_path: Path) -> None:
    """A float in an integer's format is explained."""
    checkpoint = ModelCheckpoint(tmp_path / "c", "{score:d}", "score")

    with pytest.raises(MisconfigurationException, match=r"'score' in the format 'd'"):
        fit(checkpoint, tmp_path)


def test_a_folder_that_cannot_be_is_found_before_training(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "taken").write_text("")
    model = Scripted([0.0])

    with pytest.raises(MisconfigurationException, match="is a file"):
        MiniTrainer(callbacks=[ModelCheckpoint(tmp_path / "taken" / "c")]).fit(model, data(), data(1))

    assert model.validations == 0


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_without_permission_is_found_before_training(tmp_path: Path) -> None:
    """The message names the folder whose permissions are missing."""
    tmp_path.chmod(0o500)

    with pytest.raises(MisconfigurationException, match="may not be written to"):
        fit(ModelCheckpoint(tmp_path / "c"), tmp_path)


def test_links_need_a_local_folder(tmp_path: Path) -> None:
    """A remote folder is refused when the run begins."""
    with pytest.raises(ValueError, match="links exist only on local"):
        fit(ModelCheckpoint("memory://runs", save_last="link"), tmp_path)


def test_the_per_batch_hook_is_used_only_by_those_who_save_by_step_or_time() -> None:
    """A subclass that overrides it is always called."""

    class Mine(ModelCheckpoint):
        def on_train_batch_end(self, *args: Any) -> None: ...

    assert not ModelCheckpoint().uses_hook("on_train_batch_end")
    assert ModelCheckpoint().uses_hook("on_train_epoch_end")
    assert ModelCheckpoint(every_n_train_steps=1).uses_hook("on_train_batch_end")
    assert ModelCheckpoint(train_time_interval=timedelta(1)).uses_hook("on_train_batch_end")
    assert Mine().uses_hook("on_train_batch_end")


def test_checkpoints_hold_what_callbacks_decided_in_the_same_epoch(tmp_path: Path) -> None:
    """Early stopping's counter in the file includes the check of this epoch."""
    stopping = EarlyStopping("score", patience=5)
    checkpoint = ModelCheckpoint(tmp_path / "c")

    fit([checkpoint, stopping], tmp_path, [1.0, 2.0, 3.0])

    saved = load_checkpoint_file(checkpoint.best_model_path)
    assert saved["callbacks"][stopping.state_key]["wait_count"] == 2


def test_the_state_key_tells_instances_apart() -> None:
    """The documented form of the key."""
    key = ModelCheckpoint(monitor="vl").state_key

    assert key == (
        "ModelCheckpoint{'monitor': 'vl', 'mode': 'min', 'every_n_train_steps': 0, 'every_n_epochs': 1,"
        " 'train_time_interval': None}"
    )


def test_the_time_already_waited_for_survives_a_restart() -> None:
    """A resumed run goes on waiting where the first one was."""
    first = ModelCheckpoint(train_time_interval=timedelta(seconds=100))
    first._last_time_checked = time.monotonic() - 60
    second = ModelCheckpoint(train_time_interval=timedelta(seconds=100))

    second.load_state_dict(first.state_dict())
    second.on_train_start(None, None)

    assert time.monotonic() - second._last_time_checked == pytest.approx(60, abs=5)


def test_all_processes_hear_of_a_folder_that_the_first_cannot_write_to(tmp_path: Path) -> None:
    """The others would otherwise wait for one that has ended."""

    class Second(SingleProcess):
        is_global_zero = False

        def broadcast(self, obj: Any, src: int = 0) -> Any:
            return "said by the first" if obj is None else obj

    trainer = MiniTrainer()
    trainer.strategy = Second(trainer)

    with pytest.raises(MisconfigurationException, match="said by the first"):
        ModelCheckpoint(tmp_path).setup(trainer, BoringModel(), "fit")


def test_last_alone_holds_the_end_of_training_too(tmp_path: Path) -> None:
    """Epochs after the last validation are in it."""
    checkpoint = ModelCheckpoint(tmp_path, save_top_k=0, save_last=True)

    trainer = fit(checkpoint, tmp_path, epochs=3, check_val_every_n_epoch=2)

    assert load_checkpoint_file(checkpoint.last_model_path)["global_step"] == trainer.global_step
