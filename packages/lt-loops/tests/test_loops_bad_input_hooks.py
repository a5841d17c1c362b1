"""Misspelled, missing and wrongly written hooks are found before anything runs, and reported together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_core import Callback, LightningModule
from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException
from lt_core.hooks import not_a_hook
from lt_core.testing import BoringModel, ManualOptimBoringModel, RandomDataset
from lt_loops import Trainer

Make = Callable[..., Trainer]


class Data(DataHooks):
    """A data module as lt-core alone knows it."""

    trainer: Any = None
    prepare_data_per_node = True

    def train_dataloader(self) -> Any:
        return DataLoader(RandomDataset(32, 4))


def boring(base: type[LightningModule] = BoringModel, **members: Any) -> Any:
    """Make an instance of a class ``Mine`` with these members."""
    return type("Mine", (base,), members)()


def two_loaders(self: Any) -> Any:
    return [DataLoader(RandomDataset(32, 2)), DataLoader(RandomDataset(32, 2))]


def fit_error(trainer: Trainer, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(MisconfigurationException) as caught:
        trainer.fit(*args, **kwargs)
    return str(caught.value)


# -- names


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("configure_optimizer", "configure_optimizers"),
        ("trainning_step", "training_step"),
        ("validation_stpe", "validation_step"),
        ("on_train_epoch_ends", "on_train_epoch_end"),
        ("train_dataloaders", "train_dataloader"),
        ("on_after_backwards", "on_after_backward"),
    ],
)
def test_a_misspelled_hook_of_a_module_is_answered_with_the_one_that_was_meant(
    quiet: Make, wrong: str, meant: str
) -> None:
    """A method that would never be called is an error, not a silence."""
    model = boring(**{wrong: lambda self, *args: None})

    message = fit_error(quiet(max_steps=1), model)

    assert f"`Mine.{wrong}` is no hook and would never be called: did you mean `{meant}`? Rename it" in message


def test_a_misspelled_hook_of_a_callback_is_answered_with_the_one_that_was_meant(quiet: Make) -> None:
    """The callback's class is named."""

    class Watcher(Callback):
        def on_train_batch_ends(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            """Never called."""

    message = fit_error(quiet(max_steps=1, callbacks=[Watcher()]), BoringModel())

    assert "`Watcher.on_train_batch_ends` is no hook" in message
    assert "did you mean `on_train_batch_end`?" in message


def test_a_misspelled_hook_of_a_data_module_is_answered_with_the_one_that_was_meant(quiet: Make) -> None:
    """The data module's class is named."""

    class Digits(Data):
        def val_dataloder(self) -> Any:
            """Never called."""

    message = fit_error(quiet(max_steps=1), BoringModel(), datamodule=Digits())

    assert "`Digits.val_dataloder` is no hook" in message
    assert "did you mean `val_dataloader`?" in message


def test_a_method_that_only_resembles_a_hook_can_be_marked_as_none(quiet: Make) -> None:
    """The way out that the message names works."""
    model = boring(training_steps=not_a_hook(lambda self: 3))
    trainer = quiet(max_steps=1, limit_val_batches=0)

    trainer.fit(model)

    assert trainer.global_step == 1


def test_a_hook_of_an_earlier_version_is_answered_with_todays(quiet: Make) -> None:
    """`training_epoch_end` would be silent otherwise."""
    model = boring(training_epoch_end=lambda self, outputs: None)

    message = fit_error(quiet(max_steps=1), model)

    assert "`Mine.training_epoch_end` is a hook of an earlier version" in message
    assert "write `on_train_epoch_end(self)`" in message


# -- signatures


@pytest.mark.parametrize(
    ("name", "function", "fix"),
    [
        ("training_step", lambda self: None, "Write `def training_step(self, batch, batch_idx)`."),
        ("training_step", lambda self, batch, i, more: None, "Write `def training_step(self, batch, batch_idx)`."),
        ("validation_step", lambda self: None, "Write `def validation_step(self, batch, batch_idx, dataloader_idx)`."),
        ("on_train_epoch_end", lambda self, outputs: None, "Write `def on_train_epoch_end(self)`."),
        ("on_train_batch_end", lambda self, batch: None, "Write `def on_train_batch_end(self, outputs, batch, batch_i"),
        ("configure_optimizers", lambda self, lr: None, "Write `def configure_optimizers(self)`."),
        ("train_dataloader", lambda self, batch_size: None, "Write `def train_dataloader(self)`."),
        ("setup", lambda self: None, "Write `def setup(self, stage)`."),
    ],
)
def test_a_wrong_signature_of_a_module_is_answered_with_the_right_one(
    quiet: Make, name: str, function: Any, fix: str
) -> None:
    """What it is called with and what to write."""
    message = fit_error(quiet(max_steps=1), boring(**{name: function}))

    assert f"`Mine.{name}` takes (" in message
    assert fix in message


def test_a_wrong_signature_of_a_callback_is_answered_with_the_right_one(quiet: Make) -> None:
    """Callbacks get the trainer and the module first."""

    class Watcher(Callback):
        def on_train_start(self) -> None:  # type: ignore[override]
            """Lacks its arguments."""

    message = fit_error(quiet(max_steps=1, callbacks=[Watcher()]), BoringModel())

    assert "`Watcher.on_train_start` takes ()" in message
    assert "Write `def on_train_start(self, trainer, pl_module)`." in message


def test_a_wrong_signature_of_a_data_module_is_answered_with_the_right_one(quiet: Make) -> None:
    """Loader hooks take no arguments."""

    class Digits(Data):
        def val_dataloader(self, batch_size: int) -> Any:  # type: ignore[override]
            """Takes too much."""

    message = fit_error(quiet(max_steps=1), BoringModel(), datamodule=Digits())

    assert "`Digits.val_dataloader` takes (batch_size: " in message
    assert "Write `def val_dataloader(self)`." in message


def test_a_hook_that_cannot_be_called_says_so(quiet: Make) -> None:
    """A number in a hook's place is shown."""
    message = fit_error(quiet(max_steps=1), boring(on_train_start=5))

    assert "`Mine.on_train_start` is 5, which cannot be called." in message


def test_a_step_that_takes_the_iterator_is_answered_with_the_batch(quiet: Make) -> None:
    """The rarely used form is not supported and says so."""
    model = boring(training_step=lambda self, dataloader_iter, batch_idx: None)

    message = fit_error(quiet(max_steps=1), model)

    assert "write `def training_step(self, batch, batch_idx)`" in message


# -- what is missing


@pytest.mark.parametrize("name", ["training_step", "configure_optimizers"])
def test_fit_names_the_method_that_is_missing(quiet: Make, name: str) -> None:
    """With the line to write."""
    model = boring(**{name: getattr(LightningModule, name)})

    message = fit_error(quiet(max_steps=1), model)

    assert f"`Mine` has no `{name}`, which this run needs. Write `def {name}(self" in message


def test_fit_without_training_data_says_the_three_ways_to_give_it(quiet: Make) -> None:
    """A loader, a data module, a method of the module."""
    model = boring(train_dataloader=LightningModule.train_dataloader)

    message = fit_error(quiet(max_steps=1), model)

    assert "There is no train data." in message
    assert "`train_dataloaders=` to fit" in message
    assert "`datamodule=` that has `train_dataloader`" in message
    assert "write `Mine.train_dataloader`" in message


@pytest.mark.parametrize(
    ("entry", "prefix"), [("validate", "val"), ("test", "test"), ("predict", "predict")], ids=lambda value: value
)
def test_the_other_entry_points_name_both_the_step_and_the_data_that_are_missing(
    quiet: Make, entry: str, prefix: str
) -> None:
    """Two items of one error."""
    with pytest.raises(MisconfigurationException) as caught:
        getattr(quiet(), entry)(LightningModule())

    step = "validation_step" if entry == "validate" else f"{entry}_step"
    assert f"`LightningModule` has no `{step}`" in str(caught.value)
    assert f"There is no {prefix} data." in str(caught.value)


def test_a_validation_loader_without_a_step_is_warned_of_and_training_runs(quiet: Make) -> None:
    """Validation is skipped, aloud."""
    model = boring(validation_step=LightningModule.validation_step)
    trainer = quiet(max_steps=2)

    with pytest.warns(UserWarning, match=r"has no `validation_step`: validation is skipped\. Write"):
        trainer.fit(model)

    assert trainer.global_step == 2


def test_a_validation_step_without_a_loader_is_warned_of_and_training_runs(quiet: Make) -> None:
    """Validation is skipped, aloud."""
    model = boring(val_dataloader=LightningModule.val_dataloader)
    trainer = quiet(max_steps=2)

    with pytest.warns(UserWarning, match=r"there is no validation loader: validation is skipped\. Pass `val_dataload"):
        trainer.fit(model)

    assert trainer.global_step == 2


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({"gradient_clip_val": 0.5}, "call `self.clip_gradients(optimizer, gradient_clip_val=…)` in `training_step`"),
        ({"accumulate_grad_batches": 2}, "step the optimizer every n batches in `training_step`"),
    ],
)
def test_what_manual_optimisation_ignores_is_an_error_with_the_manual_way(
    quiet: Make, arguments: dict[str, Any], fix: str
) -> None:
    """Arguments are never accepted and ignored."""
    assert fix in fit_error(quiet(max_steps=1, **arguments), ManualOptimBoringModel())


# -- several loaders


@pytest.mark.parametrize("name", ["validation_step", "on_validation_batch_start", "on_validation_batch_end"])
def test_a_hook_without_dataloader_idx_is_told_that_there_are_several_loaders(quiet: Make, name: str) -> None:
    """The step and both batch hooks alike."""
    lacking = (lambda self, outputs, batch, i: None) if name.endswith("end") else (lambda self, batch, i: None)
    members = {"validation_step": lambda self, batch, i, dataloader_idx: None, name: lacking}
    model = boring(val_dataloader=two_loaders, **members)

    with pytest.raises(RuntimeError) as caught:
        quiet(max_steps=1).fit(model)

    assert f"several loaders, and `Mine.{name}` does not take `dataloader_idx`" in str(caught.value)
    assert f"write `def {name}(self, …, dataloader_idx=0)`" in str(caught.value)


def test_a_callback_without_dataloader_idx_is_told_that_there_are_several_loaders(quiet: Make) -> None:
    """The callback is named, no TypeError from the depth."""

    class Watcher(Callback):
        def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
            """Lacks the last argument."""

    model = boring(test_dataloader=two_loaders, test_step=lambda self, batch, i, dataloader_idx: None)

    with pytest.raises(RuntimeError, match=r"`Watcher\.on_test_batch_end` does not take `dataloader_idx`"):
        quiet(callbacks=[Watcher()]).test(model)


@pytest.mark.parametrize("entry", ["validate", "test", "predict"])
def test_a_step_that_demands_dataloader_idx_is_told_that_there_is_one_loader(quiet: Make, entry: str) -> None:
    """A default value is the fix."""
    step = "validation_step" if entry == "validate" else f"{entry}_step"
    model = boring(**{step: lambda self, batch, batch_idx, dataloader_idx: None})

    with pytest.raises(RuntimeError) as caught:
        getattr(quiet(), entry)(model)

    assert f"There is one loader, and `Mine.{step}` demands `dataloader_idx`. Expected a default value" in str(
        caught.value
    )


# -- all of it at once


def test_all_that_is_wrong_is_one_error_before_data_is_read(quiet: Make) -> None:
    """A misspelled module hook, a wrong callback signature and a missing method; nothing was prepared or moved."""
    done: list[str] = []

    class Mine(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(32, 2)

        def prepare_data(self) -> None:
            done.append("prepare_data")

        def setup(self, stage: str) -> None:
            done.append("setup")

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch).sum()

        def validation_stpe(self, batch: Any, batch_idx: int) -> None:
            """Never called."""

        def train_dataloader(self) -> Any:
            done.append("train_dataloader")
            return DataLoader(RandomDataset(32, 4))

    class Watcher(Callback):
        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            done.append("callback setup")

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any) -> None:  # type: ignore[override]
            """Lacks two arguments."""

    message = fit_error(quiet(max_steps=1, callbacks=[Watcher()]), Mine())

    assert message.startswith("3 problems were found:")
    assert "1. `Mine.validation_stpe` is no hook" in message
    assert "2. `Watcher.on_train_batch_end` takes (trainer: " in message
    assert "3. `Mine` has no `configure_optimizers`" in message
    assert done == []
