"""What cannot be logged, and where nothing can be, is refused with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_core import Callback
from lt_core.errors import MisconfigurationException
from lt_core.testing import BoringModel
from lt_loops import Trainer

Make = Callable[..., Trainer]


def boring(**members: Any) -> Any:
    """Make an instance of a class ``Mine`` with these members."""
    return type("Mine", (BoringModel,), members)()


def logging_step(*args: Any, **options: Any) -> Callable[..., Any]:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        self.log(*args, **options)
        return self.step(batch)

    return training_step


def fit_error(trainer: Trainer, model: Any) -> MisconfigurationException:
    with pytest.raises(MisconfigurationException) as caught:
        trainer.fit(model)
    return caught.value


@pytest.mark.parametrize(
    ("value", "help_"),
    [
        ("good", "`self.log('a', 'good')` got a str. Expected a number, a tensor with one element or a torchmetrics"),
        ([1.0], "`self.log('a', [1.0])` got a list. Expected a number"),
        ({"b": 1.0}, ("got a dict. Expected a number, a tensor with one element or a torchmetrics `Metric`: log its "
                     "entries with `self.log_dict(…)`.")),
        (None, "`self.log('a', None)` got a NoneType. Expected a number"),
        (torch.ones(3), "got a tensor of shape (3,). Expected a single number: reduce it first"),
    ],
)  # fmt: skip
def test_a_value_that_is_no_number_is_a_value_error(quiet: Make, value: Any, help_: str) -> None:
    """The value that was received, and what would do."""
    error = fit_error(quiet(max_steps=1, limit_val_batches=0), boring(training_step=logging_step("a", value)))

    assert isinstance(error, ValueError)
    assert help_ in str(error)


@pytest.mark.parametrize(
    ("args", "options", "help_"),
    [
        ((1, 2.0), {}, "the key is a int. Expected a string."),
        (("a", torch.tensor(1j)), {}, "log its absolute value or its parts"),
        (("a/dataloader_idx_1", 1.0), {}, "Leave it out of the key, or pass add_dataloader_idx=False."),
        (("a", 1.0), {"on_step": False, "on_epoch": False}, "would log nothing. Set one of them to True."),
        (("a", 1.0), {"reduce_fx": "meen"}, "Did you mean `mean`?"),
        (("a", 1.0), {"reduce_fx": torch.std}, "For anything else log a torchmetrics `Metric`."),
    ],
)
def test_an_argument_of_log_that_cannot_be_meant_is_answered(
    quiet: Make, args: tuple[Any, ...], options: dict[str, Any], help_: str
) -> None:
    """Keys, reductions and combinations."""
    model = boring(training_step=logging_step(*args, **options))

    assert help_ in str(fit_error(quiet(max_steps=1, limit_val_batches=0), model))


def test_the_same_key_with_other_arguments_is_refused(quiet: Make) -> None:
    """Which of the two was meant is not guessed."""

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        self.log("a", 1.0)
        self.log("a", 1.0, on_epoch=True)
        return self.step(batch)

    error = fit_error(quiet(max_steps=1, limit_val_batches=0), boring(training_step=training_step))

    assert "`self.log('a', …)` was called twice in `training_step` with different arguments" in str(error)
    assert "use one set of options, or another key" in str(error)


@pytest.mark.parametrize(
    ("hook", "parameters"),
    [
        ("prepare_data", ""),
        ("setup", "stage"),
        ("configure_optimizers", ""),
        ("on_fit_start", ""),
        ("train_dataloader", ""),
        ("on_before_batch_transfer", "batch, dataloader_idx"),
        ("on_validation_end", ""),
        ("on_train_end", ""),
        ("on_fit_end", ""),
    ],
)
def test_a_hook_that_may_not_log_is_named_with_those_that_may(quiet: Make, hook: str, parameters: str) -> None:
    """Wherever in the run it is."""
    original = getattr(BoringModel, hook)

    def body(self: Any, *args: Any) -> Any:
        self.log("a", 1.0)
        return original(self, *args)

    function = eval(f"lambda self, {parameters}: body(self, {parameters})", {"body": body})
    model = boring(**{hook: function})

    error = fit_error(quiet(max_steps=1, limit_val_batches=1), model)

    assert f"You can't `self.log('a', …)` inside `{hook}`." in str(error)
    assert "move the call to `on_train_epoch_end`, `on_validation_epoch_end` or a step" in str(error)


def test_a_callbacks_hook_that_may_not_log_is_named(quiet: Make) -> None:
    """Callbacks log through the module or through `self.log` of their own; the rule is the same."""

    class Watcher(Callback):
        def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
            pl_module.log("a", 1.0)

    error = fit_error(quiet(max_steps=1, callbacks=[Watcher()]), BoringModel())

    assert "You can't `self.log('a', …)` inside `on_sanity_check_start`." in str(error)


def test_an_epoch_hook_cannot_log_steps(quiet: Make) -> None:
    """It runs once an epoch."""

    def on_train_epoch_end(self: Any) -> None:
        self.log("a", 1.0, on_step=True)

    error = fit_error(
        quiet(max_epochs=1, limit_train_batches=1, limit_val_batches=0), boring(on_train_epoch_end=on_train_epoch_end)
    )

    assert "can only log with on_step=False, on_epoch=True. Leave both arguments out." in str(error)


def test_prediction_logs_nothing(quiet: Make) -> None:
    """Predictions are returned, not reduced."""
    model = boring(predict_step=lambda self, batch, batch_idx: self.log("a", 1.0))

    with pytest.raises(MisconfigurationException, match=r"inside `predict_step`"):
        quiet().predict(model)


def test_logging_outside_of_any_hook_is_refused(quiet: Make) -> None:
    """After the run there is no epoch that the value could belong to."""
    model = BoringModel()
    quiet(max_steps=1, limit_val_batches=0).fit(model)

    with pytest.raises(MisconfigurationException) as caught:
        model.log("a", 1.0)

    assert "was called while no hook is running." in str(caught.value)
    assert "log in a step, in a batch hook, or in an epoch start or end hook" in str(caught.value)


def test_logging_without_a_trainer_does_nothing_and_says_so() -> None:
    """A module can be tried by hand without its logs."""
    model = BoringModel()

    with pytest.warns(UserWarning, match=r"`self\.log\('never before', …\)` does nothing: no trainer is attached\."):
        model.log("never before", 1.0)


# -- batch sizes


class Opaque:
    """A batch of a type of the user's own, in which nothing can be seen."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features


def opaque_loader() -> DataLoader[Any]:
    return DataLoader(list(torch.randn(6, 32)), batch_size=2, collate_fn=lambda rows: Opaque(torch.stack(rows)))


def uneven_loader() -> DataLoader[Any]:
    def collate(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"features": torch.stack(rows), "lengths": torch.zeros(5)}

    return DataLoader(list(torch.randn(6, 32)), batch_size=2, collate_fn=collate)


def step_on(get: Callable[[Any], torch.Tensor], **options: Any) -> Callable[..., Any]:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = self.step(get(batch))
        self.log("loss", loss, on_epoch=True, **options)
        return loss

    return training_step


def test_a_batch_of_unknown_type_is_handed_on_as_it_is(quiet: Make) -> None:
    """Training needs to know nothing of it."""
    model = boring(training_step=lambda self, batch, batch_idx: self.step(batch.features))
    trainer = quiet(max_epochs=1, limit_val_batches=0)

    trainer.fit(model, opaque_loader())

    assert trainer.global_step == 3


def test_the_size_of_a_batch_of_unknown_type_is_asked_for(quiet: Make) -> None:
    """An epoch mean is weighted by it, and it is never guessed."""
    model = boring(training_step=step_on(lambda batch: batch.features))

    with pytest.raises(MisconfigurationException) as caught:
        quiet(max_epochs=1, limit_val_batches=0).fit(model, opaque_loader())

    assert "the batch, a Opaque, holds no tensor" in str(caught.value)
    assert "`self.log('loss', value, batch_size=…)`" in str(caught.value)


def test_a_batch_whose_tensors_disagree_is_asked_for_its_size(quiet: Make) -> None:
    """The candidates are shown."""
    model = boring(training_step=step_on(lambda batch: batch["features"]))

    with pytest.raises(MisconfigurationException) as caught:
        quiet(max_epochs=1, limit_val_batches=0).fit(model, uneven_loader())

    assert "its tensors have the first dimensions [2, 5]" in str(caught.value)
    assert "`self.log('loss', value, batch_size=…)`" in str(caught.value)


@pytest.mark.parametrize(
    ("get", "loader"),
    [(lambda batch: batch.features, opaque_loader), (lambda batch: batch["features"], uneven_loader)],
)
def test_a_batch_size_that_is_passed_is_enough(quiet: Make, get: Any, loader: Any) -> None:
    """The fix that the message names works."""
    trainer = quiet(max_epochs=1, limit_val_batches=0)

    trainer.fit(boring(training_step=step_on(get, batch_size=2)), loader())

    assert "loss_epoch" in trainer.callback_metrics
