"""What the Trainer does with loaders: several of them, reloading, train and eval mode, devices, results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lt_core import LightningModule
from lt_core.combined_loader import CombinedLoader
from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException
from lt_loops import Trainer

Make = Callable[..., Trainer]


def loader(batches: int, value: float = 1.0) -> DataLoader[Any]:
    return DataLoader(torch.full((batches, 1), value))


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.batches: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.batches.append(batch)
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


# -- several loaders in training


@pytest.mark.parametrize(("mode", "batches"), [("min_size", 2), ("max_size", 3), ("max_size_cycle", 3)])
def test_training_reads_several_loaders_in_each_mode(quiet: Make, mode: str, batches: int) -> None:
    """A batch holds one of each loader, in the form in which the loaders were given."""
    model = Model()
    trainer = quiet(max_epochs=2)

    trainer.fit(model, CombinedLoader({"a": loader(2, 1.0), "b": loader(3, 2.0)}, mode))

    assert trainer.num_training_batches == batches
    assert len(model.batches) == 2 * batches
    last = model.batches[batches - 1]
    assert set(last) == {"a", "b"}
    assert (last["a"] is None) == (mode == "max_size")
    assert last["b"].item() == 2.0


def test_training_on_one_loader_after_another_is_an_error(quiet: Make) -> None:
    """The message says how to join data sets."""
    with pytest.raises(ValueError, match="ConcatDataset"):
        quiet(max_epochs=1).fit(Model(), CombinedLoader([loader(2), loader(3)], "sequential"))


@pytest.mark.parametrize(
    ("given", "check"),
    [
        (lambda: [loader(2), loader(3)], lambda batch: isinstance(batch, list) and len(batch) == 2),
        (lambda: (loader(2), loader(3)), lambda batch: len(batch) == 2),
        (lambda: {"a": loader(2), "b": [loader(3), loader(4)]}, lambda batch: len(batch["b"]) == 2),
    ],
)
def test_a_collection_of_loaders_is_a_collection_of_batches(quiet: Make, given: Any, check: Any) -> None:
    """Lists, tuples, dicts and nestings of them, cut to the longest and cycled as documented."""
    model, loaders = Model(), given()

    trainer = quiet(max_epochs=1, limit_train_batches=2)
    trainer.fit(model, loaders)

    assert len(model.batches) == 2
    assert all(check(batch) for batch in model.batches)
    assert type(trainer.train_dataloader) is type(loaders)


# -- several loaders in evaluation


class Evaluates(Model):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.batches.append((dataloader_idx, batch_idx))
        self.log("mean", batch.mean())
        self.log("both", batch.mean(), on_step=True, on_epoch=True)
        self.log(f"own_{dataloader_idx}", batch.mean(), add_dataloader_idx=False)
        self.log("hidden", batch.mean(), logger=False)

    def on_validation_epoch_end(self) -> None:
        self.log("at_end", 7.0)

    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        self.log("at_end", 7.0)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return batch * 10 + dataloader_idx


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_an_evaluation_of_one_loader_returns_one_dict(quiet: Make, stage: str) -> None:
    """Python numbers under the loggers' names."""
    results = getattr(quiet(), stage)(Evaluates(), loader(2, 3.0), verbose=False)

    assert results == [{"mean": 3.0, "both_epoch": 3.0, "own_0": 3.0, "at_end": 7.0}]
    assert all(type(value) is float for value in results[0].values())


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_an_evaluation_of_several_loaders_returns_a_dict_for_each(quiet: Make, stage: str) -> None:
    """Names carry the loader's number, what was logged at the end stands in each."""
    model = Evaluates()
    trainer = quiet()

    results = getattr(trainer, stage)(model, [loader(2, 3.0), loader(1, 5.0)], verbose=False)

    assert model.batches == [(0, 0), (0, 1), (1, 0)]
    first, second = (
        {f"mean/dataloader_idx_{i}": value, f"both_epoch/dataloader_idx_{i}": value, f"own_{i}": value, "at_end": 7.0}
        for i, value in enumerate((3.0, 5.0))
    )
    assert results == [first, second]
    assert trainer.callback_metrics["hidden/dataloader_idx_1"].item() == 5.0
    assert trainer.callback_metrics["both/dataloader_idx_0"].item() == 3.0


def test_validation_within_fit_names_its_loaders(quiet: Make) -> None:
    """The monitor of a callback finds the numbered names."""
    trainer = quiet(max_epochs=1)

    trainer.fit(Evaluates(), loader(1), [loader(2, 3.0), loader(1, 5.0)])

    assert trainer.callback_metrics["mean/dataloader_idx_1"].item() == 5.0
    assert isinstance(trainer.val_dataloaders, list)
    assert trainer.num_val_batches == [2, 1]


@pytest.mark.parametrize("limit", [1.0, 1])
@pytest.mark.parametrize(("mode", "count"), [("max_size_cycle", 3), ("min_size", 2), ("max_size", 3)])
def test_evaluation_may_read_its_loaders_side_by_side(quiet: Make, mode: str, count: int, limit: float) -> None:
    """Then there is one batch of all, and no loader number."""
    seen: list[Any] = []

    class Side(Model):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            seen.append(batch)
            self.log("x", float(batch_idx), batch_size=1)

    loaders = CombinedLoader([loader(2), loader(3)], mode)
    results = quiet(limit_val_batches=limit).validate(Side(), loaders, verbose=False)

    assert len(seen) == (count if isinstance(limit, float) else 1)
    assert len(seen[0]) == 2
    assert list(results[0]) == ["x"]


def test_a_step_that_takes_no_loader_number_is_an_error_with_several(quiet: Make) -> None:
    """The message shows the argument."""

    class Without(Model):
        def test_step(self, batch: Any, batch_idx: int) -> None: ...

    with pytest.raises(RuntimeError, match="dataloader_idx"):
        quiet().test(Without(), [loader(1), loader(1)])


def test_results_are_printed_unless_told_otherwise(quiet: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """`verbose` decides."""
    quiet().validate(Evaluates(), loader(1), verbose=False)
    silent = capsys.readouterr().out
    quiet().validate(Evaluates(), loader(1, 3.0))
    printed = capsys.readouterr().out

    assert silent == ""
    assert "at_end" in printed
    assert "7.0" in printed


# -- prediction


def test_prediction_returns_a_list_or_a_list_for_each_loader(quiet: Make) -> None:
    """One loader gives a flat list."""
    one = quiet().predict(Evaluates(), loader(2, 1.0))
    two = quiet().predict(Evaluates(), [loader(1, 1.0), loader(2, 2.0)])

    assert [output.item() for output in one] == [10, 10]
    assert [[output.item() for output in outputs] for outputs in two] == [[10], [21, 21]]


def test_prediction_keeps_nothing_when_told_so(quiet: Make) -> None:
    """None comes back, and nothing is held in memory."""
    trainer = quiet()

    assert trainer.predict(Evaluates(), loader(2), return_predictions=False) is None
    assert trainer.predict_loop.predictions == [[]]


def test_prediction_calls_forward_by_default(quiet: Make) -> None:
    """A module without `predict_step` predicts with `forward`."""

    class Forward(Model):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    assert [output.item() for output in quiet().predict(Forward(), loader(1))] == [2.0]


def test_prediction_reads_its_loaders_one_after_another_only(quiet: Make) -> None:
    """Another mode is an error."""
    with pytest.raises(ValueError, match="sequential"):
        quiet().predict(Evaluates(), CombinedLoader([loader(1), loader(1)], "max_size_cycle"))


def test_logging_while_predicting_is_an_error(quiet: Make) -> None:
    """There is nothing that would collect it."""

    class Logs(Model):
        def predict_step(self, batch: Any, batch_idx: int) -> None:
            self.log("x", 1.0)

    with pytest.raises(MisconfigurationException, match="log"):
        quiet().predict(Logs(), loader(1))


# -- the module of an evaluation


def test_an_evaluation_without_a_module_uses_the_last_one_with_its_best_weights(quiet: Make) -> None:
    """Without a checkpoint callback there are none, and the message says what to do."""
    trainer, model = quiet(), Evaluates()
    with pytest.raises(TypeError, match="pass it"):
        trainer.test(dataloaders=loader(1))
    trainer.validate(model, loader(1), verbose=False)

    with pytest.warns(UserWarning, match="best"), pytest.raises(ValueError, match="no checkpoint callback"):
        trainer.test(dataloaders=loader(1))


# -- reloading


class Reloads(Model):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def train_dataloader(self) -> Any:
        self.asked.append(f"train {self.current_epoch}")
        return loader(1)

    def val_dataloader(self) -> Any:
        self.asked.append(f"val {self.current_epoch}")
        return loader(1)

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (0, ["val 0", "train 0"]),
        (1, ["val 0", "train 0", "train 1", "val 1", "train 2", "val 2", "train 3", "val 3"]),
        (2, ["val 0", "train 0", "train 2", "val 2"]),
    ],
)
def test_loaders_are_asked_for_anew_each_that_many_epochs(quiet: Make, every: int, expected: list[str]) -> None:
    """Train and validation together."""
    model = Reloads()

    quiet(max_epochs=4, reload_dataloaders_every_n_epochs=every).fit(model)

    assert model.asked == expected


def test_loaders_may_come_from_a_data_module_in_two_ways(quiet: Make) -> None:
    """By name or as the second argument; with loaders beside it, it is an error."""

    class Data(DataHooks):
        trainer = None

        def train_dataloader(self) -> Any:
            return loader(2)

    trainer = quiet(max_epochs=1)
    trainer.fit(Model(), Data())
    trainer.fit(Model(), datamodule=Data())

    assert trainer.global_step == 2
    with pytest.raises(MisconfigurationException, match="leave"):
        trainer.fit(Model(), loader(1), datamodule=Data())


def test_a_sampler_is_told_each_epoch(quiet: Make) -> None:
    """So that a distributed or seeded order changes."""

    class Sampler(torch.utils.data.SequentialSampler):
        epochs: ClassVar[list[int]] = []

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

    data = torch.ones(2, 1)

    quiet(max_epochs=3).fit(Model(), DataLoader(data, sampler=Sampler(data)))

    assert Sampler.epochs == [0, 1, 2]


# -- train and eval mode


class Modes(Model):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(1)).eval()
        self.modes: dict[str, Any] = {}

    def note(self, stage: str) -> None:
        self.modes.setdefault(
            stage, (self.training, self.layer.training, self.frozen.training, self.frozen[1].training)
        )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.note(f"train {self.current_epoch}")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.note("sanity" if self.trainer.sanity_checking else "validation")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.note("test")

    def predict_step(self, batch: Any, batch_idx: int) -> None:
        self.note("predict")
        return batch


def test_each_submodule_keeps_its_own_mode(quiet: Make) -> None:
    """Evaluation runs in eval mode; afterwards what was frozen is frozen still, and nothing else is."""
    model, trainer = Modes(), quiet(max_epochs=2)

    trainer.fit(model, loader(1), loader(1))
    trainer.test(model, loader(1), verbose=False)
    trainer.predict(model, loader(1))

    training, evaluating = (True, True, False, False), (False, False, False, False)
    assert model.modes == {
        "sanity": evaluating,
        "train 0": training,
        "validation": evaluating,
        "train 1": training,
        "test": evaluating,
        "predict": evaluating,
    }
    model.note("after")
    assert model.modes["after"] == training


def test_a_module_that_is_in_eval_mode_is_trained_in_it(quiet: Make) -> None:
    """The Trainer does not decide for the user."""
    model = Modes()
    model.eval()

    quiet(max_epochs=1).fit(model, loader(1), loader(1))

    assert model.modes["train 0"] == (False, False, False, False)


def test_an_own_return_to_train_mode_is_called_instead(quiet: Make) -> None:
    """`on_validation_model_eval` and `on_validation_model_train` replace what the Trainer does."""

    class Own(Modes):
        def on_validation_model_eval(self) -> None:
            self.layer.eval()

        def on_validation_model_train(self) -> None:
            self.frozen.train()

    model = Own()

    quiet(max_epochs=1, num_sanity_val_steps=0).fit(model, loader(1), loader(1))

    assert model.modes["validation"] == (True, False, False, False)
    assert (model.layer.training, model.frozen.training) == (False, True)
