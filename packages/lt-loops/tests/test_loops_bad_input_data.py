"""Loaders, data modules and modules that cannot be used are refused or warned of; empty ones never run for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lt_core.data_hooks import DataHooks
from lt_core.errors import LtError, MisconfigurationException, MisconfigurationTypeError
from lt_core.testing import BoringModel, RandomDataset
from lt_loops import Trainer

Make = Callable[..., Trainer]


class Data(DataHooks):
    """A data module as lt-core alone knows it."""

    trainer: Any = None
    prepare_data_per_node = True

    def train_dataloader(self) -> Any:
        return loader()


class Nothing(IterableDataset[torch.Tensor]):
    """A stream without a length that ends at once."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(())


def loader(length: int = 4, **arguments: Any) -> DataLoader[Any]:
    return DataLoader(RandomDataset(32, length), **arguments)


def boring(**members: Any) -> Any:
    """Make an instance of a class ``Mine`` with these members."""
    return type("Mine", (BoringModel,), members)()


def fit_error(trainer: Trainer, *args: Any, **kwargs: Any) -> LtError:
    with pytest.raises(LtError) as caught:
        trainer.fit(*args, **kwargs)
    return caught.value


# -- what is no module, data module or loader


@pytest.mark.parametrize(
    ("model", "help_"),
    [
        (
            nn.Linear(32, 2),
            "`Trainer.fit` got a Linear as its model. Expected a LightningModule: derive from `lt.Light",
        ),
        (BoringModel, "got the class BoringModel as its model. Expected an instance: write `BoringModel()`."),
        (Data(), "got a Data as its model. Expected a LightningModule"),
        (None, "there is no module from an earlier run. Expected a LightningModule: pass it."),
    ],
)
def test_what_is_no_module_is_a_type_error(quiet: Make, model: Any, help_: str) -> None:
    """What was received, and what would do."""
    error = fit_error(quiet(max_steps=1), model, loader())

    assert isinstance(error, TypeError)
    assert help_ in str(error)


@pytest.mark.parametrize("entry", ["validate", "test", "predict"])
def test_without_a_model_there_must_have_been_a_run(quiet: Make, entry: str) -> None:
    """The other entry points may leave it out only then."""
    with pytest.raises(MisconfigurationTypeError, match=r"no module from an earlier run\. .* pass it"):
        getattr(quiet(), entry)()


def test_a_data_module_and_loaders_are_one_too_many(quiet: Make) -> None:
    """Which of the two is meant is not guessed."""
    error = fit_error(quiet(max_steps=1), BoringModel(), loader(), datamodule=Data())

    assert "got loaders and a data module. Expected one of them: leave `dataloaders` or `datamodule` out." in str(error)


def test_two_data_modules_are_one_too_many(quiet: Make) -> None:
    """One in the place of the loaders, one as itself."""
    error = fit_error(quiet(max_steps=1), BoringModel(), Data(), datamodule=Data())

    assert "got two data modules" in str(error)
    assert "leave one out" in str(error)


@pytest.mark.parametrize("given", [5, [loader()], loader()], ids=["number", "list", "loader"])
def test_what_is_no_data_module_is_a_type_error(quiet: Make, given: Any) -> None:
    """A loader in its place is the usual mistake."""
    error = fit_error(quiet(max_steps=1), BoringModel(), datamodule=given)

    assert isinstance(error, TypeError)
    assert f"`Trainer.fit(datamodule=…)` got a {type(given).__name__}." in str(error)
    assert "pass loaders as `dataloaders`" in str(error)


@pytest.mark.parametrize("given", ["mnist", 5, RandomDataset])
def test_what_is_no_loader_is_told_to_be_wrapped(quiet: Make, given: Any) -> None:
    """Names, numbers and classes cannot be iterated over as batches."""
    error = fit_error(quiet(max_steps=1), BoringModel(), given)

    assert isinstance(error, TypeError)
    assert f"got {given!r}, which is no loader" in str(error)
    assert "Wrap a data set: `DataLoader(dataset, batch_size=32)`." in str(error)


def test_a_loader_hook_without_a_return_is_asked_for_it(quiet: Make) -> None:
    """The most frequent mistake in it."""
    error = fit_error(quiet(max_steps=1), boring(train_dataloader=lambda self: None))

    assert "`Mine.train_dataloader` returned None." in str(error)
    assert "is the `return` missing?" in str(error)


# -- empty loaders


@pytest.mark.parametrize("empty", [loader(0), loader(3, batch_size=4, drop_last=True), []], ids=["set", "drop", "list"])
def test_an_empty_training_loader_trains_nothing_and_that_is_said(quiet: Make, empty: Any) -> None:
    """The warning names what to look at."""
    trainer = quiet(max_steps=5, limit_val_batches=0)

    with pytest.warns(UserWarning, match=r"The train loader number 0 \(\w+\) has no batches.*check .*`drop_last`"):
        trainer.fit(BoringModel(), empty)

    assert trainer.global_step == 0


def test_an_empty_validation_loader_is_warned_of_and_training_runs(quiet: Make) -> None:
    """Training has its data."""
    trainer = quiet(max_steps=2)

    with pytest.warns(UserWarning, match=r"The val loader number 0 \(DataLoader\) has no batches"):
        trainer.fit(BoringModel(), loader(), loader(0))

    assert trainer.global_step == 2


@pytest.mark.parametrize("entry", ["validate", "test", "predict"])
def test_an_empty_evaluation_gives_no_results_and_that_is_said(quiet: Make, entry: str) -> None:
    """No numbers are made up."""
    with pytest.warns(UserWarning, match="has no batches: nothing is read of it"):
        results = getattr(quiet(), entry)(BoringModel(), loader(0))

    assert results == []


@pytest.mark.parametrize("empty", [DataLoader(Nothing()), iter(())], ids=["stream", "iterator"])
def test_an_empty_stream_does_not_run_for_ever(quiet: Make, empty: Any) -> None:
    """Only steps end the run, and there are none."""
    trainer = quiet(max_steps=5, limit_val_batches=0)

    error = fit_error(trainer, BoringModel(), empty)

    assert "yielded no batch in epoch 0. Expected at least one in each epoch" in str(error)


def test_a_generator_that_is_read_out_does_not_run_for_ever(quiet: Make) -> None:
    """It gives one epoch; the second is empty."""
    trainer = quiet(max_steps=5, limit_val_batches=0)

    error = fit_error(trainer, BoringModel(), (torch.randn(1, 32) for _ in range(3)))

    assert "yielded no batch in epoch 1." in str(error)
    assert "an iterator or generator can be read once only" in str(error)
    assert trainer.global_step == 3


def test_an_empty_stream_in_a_run_that_ends_is_warned_of(quiet: Make) -> None:
    """The epoch is counted."""
    trainer = quiet(max_epochs=1, limit_val_batches=0)

    with pytest.warns(UserWarning, match=r"yielded no batch in epoch 0\."):
        trainer.fit(BoringModel(), DataLoader(Nothing()))

    assert (trainer.current_epoch, trainer.global_step) == (1, 0)


def test_a_batch_that_is_none_is_skipped_and_that_is_said(quiet: Make) -> None:
    """As a collate function returns it that found nothing usable."""
    gaps = DataLoader(list(torch.randn(4, 32)), collate_fn=lambda rows: None)
    model = boring(configure_optimizers=lambda self: torch.optim.SGD(self.parameters(), lr=0.1))
    trainer = quiet(max_epochs=1, limit_val_batches=0)

    with pytest.warns(UserWarning, match="The training loader yielded None: the batch is skipped"):
        trainer.fit(model, gaps)

    assert trainer.current_epoch == 1


# -- limits that only the data shows to be wrong


def test_a_fraction_of_less_than_a_batch_is_answered_with_the_smallest(quiet: Make) -> None:
    """Rounded down to nothing, it would train nothing without a word."""
    error = fit_error(quiet(limit_train_batches=0.1, max_epochs=1), BoringModel(), loader(4))

    assert isinstance(error, MisconfigurationException)
    assert "Write `limit_train_batches=0.25` or `limit_train_batches=1`" in str(error)


def test_a_fraction_of_a_stream_is_answered_with_a_count(quiet: Make) -> None:
    """A stream has no length."""
    error = fit_error(quiet(limit_train_batches=0.5, max_epochs=1), BoringModel(), DataLoader(Nothing()))

    assert "Write, for example, `limit_train_batches=100`." in str(error)


def test_an_interval_longer_than_the_epoch_is_answered_with_its_length(quiet: Make) -> None:
    """Validation would never run."""
    error = fit_error(quiet(val_check_interval=100, max_epochs=1), BoringModel(), loader(4))

    assert isinstance(error, ValueError)
    assert "Write `val_check_interval=4`, `check_val_every_n_epoch=None` to count batches across epochs" in str(error)
