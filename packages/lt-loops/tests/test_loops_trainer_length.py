"""How long the Trainer trains, how much of the data it reads, and when it validates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

from lt_core import Callback, LightningModule
from lt_core.errors import MisconfigurationException, MissingPackageError
from lt_core.logger import DummyLogger, Logger
from lt_core.roles import load_role
from lt_loops import Trainer

Make = Callable[..., Trainer]


class Model(LightningModule):
    """Notes ``("train", epoch, batch_idx)`` and ``("val", global step)`` for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.trained: list[tuple[int, int]] = []
        self.validated: list[int] = []
        self.validations: list[int] = []
        self.tested = self.predicted = 0

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.trained.append((self.current_epoch, batch_idx))
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(batch_idx)

    def on_validation_start(self) -> None:
        if not self.trainer.sanity_checking:
            self.validations.append(self.global_step)

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.tested += 1

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.predicted += 1
        return batch

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(batches: int = 4) -> DataLoader[Any]:
    return DataLoader(torch.ones(batches, 1))


class Stream(IterableDataset[Tensor]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.ones(self.length, 1))


def fit(make: Make, train: Any = None, val: Any = None, **arguments: Any) -> tuple[Trainer, Model]:
    model, trainer = Model(), make(**arguments)
    trainer.fit(model, loader() if train is None else train, val)
    return trainer, model


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
        if trainer.global_step >= self.step:
            trainer.should_stop = True


# -- epochs and steps


@pytest.mark.parametrize(
    ("limits", "steps", "epochs"),
    [
        ({"max_epochs": 2}, 8, 2),
        ({"max_epochs": 0}, 0, 0),
        ({"max_steps": 6}, 6, 1),
        ({"max_steps": 8}, 8, 2),
        ({"max_steps": 0}, 0, 0),
        ({"max_steps": 3, "max_epochs": 5}, 3, 1),
        ({"max_steps": 100, "max_epochs": 1}, 4, 1),
    ],
)
@pytest.mark.filterwarnings("ignore:.*validation:UserWarning")
def test_fit_ends_at_the_first_limit(quiet: Make, limits: dict[str, int], steps: int, epochs: int) -> None:
    """Steps and epochs are limited independently."""
    trainer, model = fit(quiet, **limits)

    assert trainer.global_step == len(model.trained) == steps
    # The epoch in which `max_steps` is reached counts as well: its last hooks run.
    assert trainer.current_epoch == (epochs if limits.get("max_steps") not in (6, 3) else -(-steps // 4))


@pytest.mark.filterwarnings("ignore:.*validation:UserWarning")
def test_without_limits_a_stop_request_still_ends_fit(quiet: Make) -> None:
    """`max_epochs=-1` runs until somebody stops it."""
    trainer, _ = fit(quiet, max_epochs=-1, callbacks=[StopAt(9)])

    assert trainer.global_step == 9


@pytest.mark.parametrize(
    ("limits", "steps"),
    [({"min_epochs": 2}, 8), ({"min_steps": 6}, 6), ({"min_epochs": 1, "min_steps": 7}, 7), ({}, 2)],
)
@pytest.mark.filterwarnings("ignore:.*validation:UserWarning")
def test_a_stop_request_waits_for_the_minimum(quiet: Make, limits: dict[str, int], steps: int) -> None:
    """Neither too few epochs nor too few steps are trained."""
    trainer, _ = fit(quiet, max_epochs=5, callbacks=[StopAt(2)], **limits)

    assert trainer.global_step == steps
    assert trainer.should_stop


def test_a_time_limit_without_a_timer_says_what_to_install(quiet: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer is a role; asking for it where nobody fills it is an error with the install line."""
    monkeypatch.setattr("lt_core.roles._fillers", dict)

    with pytest.raises(MissingPackageError, match="pip install lt-callbacks"):
        quiet(max_time="00:00:01:00")


@pytest.mark.skipif(load_role("timer") is None, reason="no installed package fills the role `timer`")
@pytest.mark.filterwarnings("ignore:.*validation:UserWarning")
@pytest.mark.parametrize("max_time", ["00:00:00:01", timedelta(milliseconds=100), {"milliseconds": 100}])
def test_a_time_limit_ends_fit(quiet: Make, max_time: Any) -> None:
    """Each form of the limit is taken by the timer."""
    before = time.monotonic()

    trainer, _ = fit(quiet, train=loader(100), max_time=max_time)

    assert trainer.global_step > 0
    assert time.monotonic() - before < 10


# -- parts of the data


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (3, 3), (0.5, 2), (1.0, 4), (9, 4), (0, 0), (0.0, 0)])
def test_a_limit_holds_for_its_stage_alone(quiet: Make, limit: float, count: int) -> None:
    """Integers count batches, floats are parts of them, for each of the four stages."""
    model = Model()

    quiet(max_epochs=1, limit_train_batches=limit, limit_val_batches=2).fit(model, loader(), loader())
    trained = len(model.trained)
    trainer = quiet(limit_val_batches=limit, limit_test_batches=limit, limit_predict_batches=limit)
    model.validated.clear()
    trainer.validate(model, loader())
    trainer.test(model, loader())
    trainer.predict(model, loader())

    assert (trained, len(model.validated), model.tested, model.predicted) == (count,) * 4


def test_fit_limits_validation_per_loader(quiet: Make) -> None:
    """Each validation loader gives as many batches as the limit says."""
    trainer, _ = fit_with_two_val_loaders(quiet, limit_val_batches=0.5, num_sanity_val_steps=1)

    assert trainer.num_val_batches == [2, 3]
    assert trainer.num_sanity_val_batches == [1, 1]


class TwoLoaders(Model):
    def validation_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int) -> None:  # type: ignore[override]
        self.validated.append(dataloader_idx)


def fit_with_two_val_loaders(make: Make, **arguments: Any) -> tuple[Trainer, TwoLoaders]:
    model, trainer = TwoLoaders(), make(max_epochs=1, **arguments)
    trainer.fit(model, loader(1), [loader(4), loader(6)])
    return trainer, model


@pytest.mark.parametrize(("steps", "count"), [(0, 0), (3, 6), (-1, 10), (None, 4)])
def test_the_sanity_check_runs_that_many_batches_of_each_loader(quiet: Make, steps: Any, count: int) -> None:
    """-1 means all, and the default is two."""
    _, model = fit_with_two_val_loaders(quiet, num_sanity_val_steps=steps)

    assert len(model.validated) == count + 10


@pytest.mark.parametrize(("runs", "count"), [(True, 1), (2, 2)])
def test_a_fast_run_does_a_little_of_everything(make_default: Make, runs: Any, count: int) -> None:
    """All stages run that many batches; nothing is written or stopped."""
    model = Model()
    trainer = make_default(fast_dev_run=runs, max_epochs=7, logger=Rows(), check_val_every_n_epoch=3)

    trainer.fit(model, loader(), loader())
    trainer.test(model, loader())
    trainer.predict(model, loader())

    assert len(model.trained) == len(model.validated) == model.tested == model.predicted == count
    assert (trainer.max_epochs, trainer.max_steps, trainer.num_sanity_val_steps) == (1, count, 0)
    assert isinstance(trainer.logger, DummyLogger)


class Rows(Logger):
    @property
    def name(self) -> str:
        return "rows"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise AssertionError("a fast run logs nothing")

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("a fast run logs nothing")


@pytest.fixture
def make_default(tmp_path: Any) -> Make:
    def make(**arguments: Any) -> Trainer:
        return Trainer(
            accelerator="cpu",
            default_root_dir=tmp_path,
            enable_progress_bar=False,
            enable_model_summary=False,
            **arguments,
        )

    return make


@pytest.mark.parametrize(("batches", "count"), [(2, 2), (0.5, 2)])
@pytest.mark.filterwarnings("ignore:.*overfit.*:UserWarning")
def test_overfitting_repeats_the_same_batches_unshuffled(quiet: Make, batches: float, count: int) -> None:
    """Train and validation keep their own data and both are cut to the same size."""
    train = DataLoader(torch.arange(4.0).reshape(4, 1), shuffle=True)

    trainer, model = fit(quiet, train, loader(), max_epochs=2, overfit_batches=batches, num_sanity_val_steps=0)

    assert isinstance(train.sampler, RandomSampler)
    assert isinstance(trainer.train_dataloader.sampler, SequentialSampler)
    assert len(model.trained) == len(model.validated) == 2 * count
    assert trainer.num_training_batches == count


# -- when validation runs


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [4, 8, 12]),
        ({"check_val_every_n_epoch": 2}, [8]),
        ({"val_check_interval": 0.5}, [2, 4, 6, 8, 10, 12]),
        ({"val_check_interval": 3}, [3, 7, 11]),
        ({"val_check_interval": 1}, list(range(1, 13))),
        ({"val_check_interval": 3, "check_val_every_n_epoch": None}, [3, 6, 9, 12]),
        ({"val_check_interval": 5, "check_val_every_n_epoch": None}, [5, 10]),
        ({"val_check_interval": timedelta(microseconds=1)}, list(range(1, 13))),
        ({"val_check_interval": {"hours": 1}}, []),
        ({"val_check_interval": "00:01:00:00", "check_val_every_n_epoch": None}, []),
        ({"limit_val_batches": 0}, []),
        ({"max_steps": 6, "val_check_interval": 2}, [2, 4, 6]),
    ],
)
def test_validation_runs_after_these_steps(quiet: Make, arguments: dict[str, Any], expected: list[int]) -> None:
    """By epoch, by part of one, by batches within it or across epochs, and by the clock."""
    _, model = fit(quiet, None, loader(1), max_epochs=3, num_sanity_val_steps=0, **arguments)

    assert model.validations == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [4, 8]),
        ({"val_check_interval": 3}, [3, 7]),
        ({"val_check_interval": 3, "check_val_every_n_epoch": None}, [3, 6]),
        ({"limit_train_batches": 2}, [2, 4]),
        ({"limit_train_batches": 3, "val_check_interval": 2}, [2, 5]),
    ],
)
def test_validation_runs_where_the_length_is_unknown(
    quiet: Make, arguments: dict[str, Any], expected: list[int]
) -> None:
    """A stream is validated at its end, or each that many batches."""
    _, model = fit(
        quiet, DataLoader(Stream(4), batch_size=1), loader(1), max_epochs=2, num_sanity_val_steps=0, **arguments
    )

    assert model.validations == expected


def test_a_part_of_an_unknown_length_is_an_error(quiet: Make) -> None:
    """A float interval needs a length, and the message says what to write."""
    with pytest.raises(MisconfigurationException, match="val_check_interval=1000"):
        fit(quiet, DataLoader(Stream(4)), loader(1), max_epochs=1, val_check_interval=0.5)
    with pytest.raises(MisconfigurationException, match="limit_train_batches=100"):
        fit(quiet, DataLoader(Stream(4)), loader(1), max_epochs=1, limit_train_batches=0.5)


def test_a_stop_request_within_an_epoch_is_followed_by_a_last_validation(quiet: Make) -> None:
    """What was trained is measured before fit returns."""
    _, model = fit(quiet, None, loader(1), max_epochs=3, callbacks=[StopAt(2)])

    assert model.validations == [2]


def test_a_second_fit_goes_on_where_the_first_one_ended(quiet: Make) -> None:
    """With the same limit nothing is left to do; with a higher one training continues."""
    trainer, model = fit(quiet, None, loader(1), max_epochs=1)

    trainer.fit(model, loader(), loader(1))
    after_same_limit = len(model.trained)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(model, loader(), loader(1))

    assert after_same_limit == 4
    assert model.trained[4:] == [(epoch, batch) for epoch in (1, 2) for batch in range(4)]
    assert (trainer.current_epoch, trainer.global_step, trainer.max_epochs) == (3, 12, 3)


def test_a_second_fit_of_another_module_begins_from_zero(quiet: Make) -> None:
    """The counters belong to the module that was trained."""
    trainer, _ = fit(quiet, None, loader(1), max_epochs=1)
    other = Model()

    trainer.fit(other, loader(), loader(1))

    assert other.trained == [(0, batch) for batch in range(4)]
    assert trainer.global_step == 4


def test_a_raised_step_limit_continues_training(quiet: Make) -> None:
    """`fit_loop.max_steps` may be changed between fits as well."""
    trainer, model = fit(quiet, None, loader(1), max_steps=3)

    trainer.fit_loop.max_steps = 5
    trainer.fit(model, loader(), loader(1))

    assert trainer.global_step == 5
