"""Several fits of one trainer, checkpoints that cannot be loaded, and what a run that failed leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_core import Callback, Checkpoint
from lt_core.data_hooks import DataHooks
from lt_core.errors import CheckpointError, LtError, MisconfigurationException
from lt_core.logger import Logger
from lt_core.testing import BoringModel, RandomDataset
from lt_loops import Trainer

Make = Callable[..., Trainer]


def boring(**members: Any) -> Any:
    """Make an instance of a class ``Mine`` with these members."""
    return type("Mine", (BoringModel,), members)()


def weights(model: BoringModel) -> torch.Tensor:
    return model.layer.weight.detach().clone()


# -- a second fit


def test_a_second_fit_with_another_model_trains_it_from_zero(quiet: Make) -> None:
    """Epochs and steps are those of the new model."""
    trainer = quiet(max_epochs=2, limit_train_batches=3, limit_val_batches=0)
    trainer.fit(BoringModel())
    other = BoringModel()
    before = weights(other)

    trainer.fit(other)

    assert not torch.equal(weights(other), before)
    assert (trainer.current_epoch, trainer.global_step) == (2, 6)


def test_a_second_fit_with_the_same_model_goes_on(quiet: Make) -> None:
    """Nothing is left to do at the same limit; with a higher one the rest is done."""
    trainer = quiet(max_epochs=1, limit_train_batches=3, limit_val_batches=0)
    model = BoringModel()
    trainer.fit(model)
    after_one = weights(model)

    trainer.fit(model)

    assert torch.equal(weights(model), after_one)
    assert (trainer.current_epoch, trainer.global_step) == (1, 3)

    trainer.fit_loop.max_epochs = 2
    trainer.fit(model)

    assert not torch.equal(weights(model), after_one)
    assert (trainer.current_epoch, trainer.global_step) == (2, 6)


@pytest.mark.parametrize("entry", ["fit", "validate", "predict"])
def test_a_run_inside_a_run_is_refused(quiet: Make, entry: str) -> None:
    """Both would write to the same counters; the fix is another trainer."""

    class Nested(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            getattr(trainer, entry)(pl_module)

    trainer = quiet(max_epochs=1, limit_train_batches=2, limit_val_batches=1, callbacks=[Nested()])

    with pytest.raises(MisconfigurationException) as caught:
        trainer.fit(BoringModel())

    assert f"`Trainer.{entry}` was called while `Trainer.fit` is running." in str(caught.value)
    assert "or use another Trainer" in str(caught.value)


# -- checkpoints


class Keeper(Checkpoint):
    """Saves nothing."""

    best_model_path = ""


def saved(quiet: Make, path: Path, **options: Any) -> Path:
    trainer = quiet(max_steps=1, limit_val_batches=0)
    trainer.fit(BoringModel())
    trainer.save_checkpoint(path, **options)
    return path


def resume_error(quiet: Make, ckpt_path: Any, **arguments: Any) -> LtError:
    with pytest.raises(LtError) as caught:
        quiet(max_steps=2, limit_val_batches=0, **arguments).fit(BoringModel(), ckpt_path=ckpt_path)
    return caught.value


def test_a_checkpoint_that_is_not_there_is_a_file_not_found_error(quiet: Make, tmp_path: Path) -> None:
    """The path is shown."""
    error = resume_error(quiet, tmp_path / "none.ckpt")

    assert isinstance(error, FileNotFoundError)
    assert "none.ckpt" in str(error)


def test_a_checkpoint_with_a_similar_name_is_suggested(quiet: Make, tmp_path: Path) -> None:
    """A misspelled path is answered with the file that is there."""
    saved(quiet, tmp_path / "epoch=1.ckpt")

    assert "epoch=1.ckpt" in str(resume_error(quiet, tmp_path / "epoch=2.ckpt"))


def test_a_folder_is_no_checkpoint(quiet: Make, tmp_path: Path) -> None:
    """The path of a file is wanted."""
    assert "is a folder. The path of a checkpoint file was expected." in str(resume_error(quiet, tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"], ids=["empty", "text"])
def test_a_file_that_is_no_checkpoint_says_so(quiet: Make, tmp_path: Path, content: bytes) -> None:
    """Empty files are what a full disk leaves."""
    path = tmp_path / "broken.ckpt"
    path.write_bytes(content)

    error = resume_error(quiet, path)

    assert isinstance(error, CheckpointError)
    assert "broken.ckpt" in str(error)


def test_an_empty_path_is_a_value_error(quiet: Make) -> None:
    """It is no way to say None."""
    error = resume_error(quiet, "")

    assert isinstance(error, ValueError)
    assert "`ckpt_path=''` is empty. Expected a path, 'best', 'last' or None." in str(error)


def test_the_best_checkpoint_needs_a_checkpoint_callback(quiet: Make) -> None:
    """The fix is to add one."""
    error = resume_error(quiet, "best")

    assert isinstance(error, ValueError)
    assert "add `ModelCheckpoint(monitor=…)` to `Trainer(callbacks=[…])`, or pass a path" in str(error)


def test_the_best_checkpoint_must_have_been_saved(quiet: Make) -> None:
    """A callback alone is not enough."""
    error = resume_error(quiet, "best", callbacks=[Keeper()], enable_checkpointing=None)

    assert "no best checkpoint was saved yet. Expected a finished fit" in str(error)


def test_a_missing_last_checkpoint_is_warned_of_and_training_begins(quiet: Make) -> None:
    """So that one command line serves the first start and every restart."""
    trainer = quiet(max_steps=1, limit_val_batches=0)

    with pytest.warns(UserWarning, match="no last checkpoint was found, nothing is loaded"):
        trainer.fit(BoringModel(), ckpt_path="last")

    assert trainer.global_step == 1


def test_training_cannot_go_on_from_weights_alone(quiet: Make, tmp_path: Path) -> None:
    """The message names what is missing and both ways out."""
    path = saved(quiet, tmp_path / "weights.ckpt", weights_only=True)

    message = str(resume_error(quiet, path))

    assert "`optimizer_states` is missing, it holds the weights only" in message
    assert "load the weights with `load_from_checkpoint` and fit without `ckpt_path`" in message


def test_a_checkpoint_of_another_model_names_the_keys(quiet: Make, tmp_path: Path) -> None:
    """Torch's own message."""
    path = saved(quiet, tmp_path / "boring.ckpt")
    other = boring()
    other.second = torch.nn.Linear(2, 2)

    with pytest.raises(RuntimeError, match=r"second\.weight"):
        quiet(max_steps=2).fit(other, ckpt_path=path)


def test_a_checkpoint_of_other_optimizers_is_counted(quiet: Make, tmp_path: Path) -> None:
    """Lightning would drop the rest without a word."""
    path = saved(quiet, tmp_path / "boring.ckpt")
    model = boring(configure_optimizers=lambda self: torch.optim.SGD(self.parameters(), lr=0.1))

    with pytest.raises(CheckpointError, match=r"1 entries of `lr_schedulers` and this run has 0"):
        quiet(max_steps=2, limit_val_batches=0).fit(model, ckpt_path=path)


class Unknown:
    """A class that no safe reader knows."""


def test_a_class_that_the_safe_reader_refuses_is_named_with_the_way_to_read_it(quiet: Make, tmp_path: Path) -> None:
    """An explicit word reads it."""
    path = tmp_path / "unsafe.ckpt"
    checkpoint = torch.load(saved(quiet, tmp_path / "safe.ckpt"), weights_only=True)
    torch.save({**checkpoint, "mine": Unknown()}, path)

    message = str(resume_error(quiet, path))

    assert "Unknown" in message
    assert "weights_only=False" in message

    trainer = quiet(max_steps=2, limit_val_batches=0)
    trainer.fit(BoringModel(), ckpt_path=path, weights_only=False)

    assert trainer.global_step == 2


def test_a_checkpoint_that_is_further_than_the_limit_is_answered_with_the_least_limit(
    quiet: Make, tmp_path: Path
) -> None:
    """Nothing would be trained."""
    trainer = quiet(max_epochs=2, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(BoringModel())
    trainer.save_checkpoint(tmp_path / "two.ckpt")

    with pytest.raises(MisconfigurationException, match=r"Expected at least 2: raise `max_epochs`"):
        quiet(max_epochs=1).fit(BoringModel(), ckpt_path=tmp_path / "two.ckpt")


# -- what a failed run leaves behind


class Broken(RuntimeError):
    """The user's own error."""


class Failing(Callback):
    """Fails once, in one hook, and notes what it is told."""

    def __init__(self, hook: str) -> None:
        self.hook = hook
        self.told: list[tuple[str, str]] = []
        setattr(self, hook, self._fail)

    def _fail(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        setattr(self, self.hook, lambda *args, **kwargs: None)
        raise Broken(self.hook)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.told.append((type(exception).__name__, str(trainer.state.status)))


class Notes(Logger):
    """Keeps how it was ended."""

    name = "notes"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Not looked at."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Not looked at."""

    def finalize(self, status: str) -> None:
        self.ends.append(status)


class Told(DataHooks):
    """A data module that notes exceptions."""

    trainer: Any = None
    prepare_data_per_node = True

    def __init__(self) -> None:
        self.told: list[str] = []

    def train_dataloader(self) -> Any:
        return DataLoader(RandomDataset(32, 4))

    def val_dataloader(self) -> Any:
        return DataLoader(RandomDataset(32, 2))

    def on_exception(self, exception: BaseException) -> None:
        self.told.append(type(exception).__name__)


@pytest.mark.parametrize(
    "hook",
    [
        "setup",
        "on_fit_start",
        "on_sanity_check_start",
        "on_validation_batch_start",
        "on_train_start",
        "on_train_batch_end",
        "on_validation_epoch_end",
        "on_train_epoch_end",
        "on_train_end",
        "teardown",
    ],
)
def test_a_run_that_failed_tells_everybody_and_leaves_the_trainer_usable(quiet: Make, hook: str) -> None:
    """Callbacks, data module and loggers are told once, and the next fit trains as a fresh trainer does."""
    failing, notes, data = Failing(hook), Notes(), Told()
    trainer = quiet(max_epochs=2, callbacks=[failing], logger=notes, log_every_n_steps=1)

    with pytest.raises(Broken, match=hook):
        trainer.fit(BoringModel(), datamodule=data)

    assert failing.told == [("Broken", "interrupted")]
    assert data.told == ["Broken"]
    assert notes.ends == ["failed"]
    assert trainer.state.stage is None

    torch.manual_seed(0)
    model = BoringModel()
    trainer.fit(model, datamodule=Told())
    torch.manual_seed(0)
    fresh = BoringModel()
    quiet(max_epochs=2).fit(fresh, datamodule=Told())

    assert torch.equal(model.layer.weight, fresh.layer.weight)
    assert (trainer.current_epoch, trainer.global_step) == (2, 8)
    assert notes.ends == ["failed", "success"]


def test_a_mistake_that_is_found_before_the_run_leaves_the_trainer_usable(quiet: Make) -> None:
    """As in a notebook, where the cell is corrected and run again."""
    trainer = quiet(max_epochs=1, limit_train_batches=2, limit_val_batches=0)
    with pytest.raises(MisconfigurationException):
        trainer.fit(boring(trainning_step=lambda self: None))

    trainer.fit(BoringModel())

    assert trainer.global_step == 2


@pytest.mark.parametrize("entry", ["fit", "validate", "test", "predict"])
def test_an_evaluation_that_fails_gives_the_modules_their_modes_back(quiet: Make, entry: str) -> None:
    """Otherwise the next fit would train in evaluation mode."""

    def fail(self: Any, batch: Any, batch_idx: int) -> Any:
        raise Broken

    name = {"fit": "validation_step", "validate": "validation_step"}.get(entry, f"{entry}_step")
    model = boring(**{name: fail})

    with pytest.raises(Broken):
        getattr(quiet(max_steps=1), entry)(model)

    assert model.training
    assert model.layer.training


def test_a_resume_that_fails_is_not_resumed_by_the_next_fit(quiet: Make, tmp_path: Path) -> None:
    """What was read from the file and not used yet is forgotten."""
    path = saved(quiet, tmp_path / "one.ckpt")
    failing = Failing("on_train_start")
    trainer = quiet(max_steps=3, limit_val_batches=0, callbacks=[failing])
    with pytest.raises(Broken):
        trainer.fit(BoringModel(), ckpt_path=path)

    trainer.fit(BoringModel())

    assert trainer.global_step == 3
    assert trainer.fit_loop.resume is None


def test_a_failing_on_exception_does_not_keep_the_run_from_ending(quiet: Make) -> None:
    """The first error is shown as the context of the second, and the trainer can be used again."""

    class Worse(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            raise Broken("first")

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            raise Broken("second")

    trainer = quiet(max_steps=1, limit_val_batches=0, callbacks=[Worse()])
    with pytest.raises(Broken, match="second") as caught:
        trainer.fit(BoringModel())

    assert str(caught.value.__context__) == "first"
    trainer.callbacks.clear()
    trainer.fit(BoringModel())
    assert trainer.global_step == 1
