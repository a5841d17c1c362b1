"""What third-party code reads of the Trainer and asks of the module: properties, files, small methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lt_core import Callback, Checkpoint, LightningModule
from lt_core.data_hooks import DataHooks
from lt_core.errors import CheckpointError, MisconfigurationException
from lt_core.logger import Logger
from lt_core.state import RunningStage, TrainerFn, TrainerStatus
from lt_loops import Trainer
from lt_loops.accelerators import CPUAccelerator
from lt_loops.precision import MixedPrecision

Make = Callable[..., Trainer]


def loader(batches: int = 4) -> DataLoader[Any]:
    return DataLoader(torch.ones(batches, 3))


class Model(LightningModule):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(3, width)
        self.seen: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self(batch).square().mean()
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val", self(batch).mean())

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("test", self(batch).mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


# -- properties


def test_a_new_trainer_can_be_asked_everything(quiet: Make, tmp_path: Path) -> None:
    """Before any run each property has the value of nothing done yet."""
    trainer = quiet(max_epochs=3, min_epochs=1, max_steps=7, min_steps=2)

    assert isinstance(trainer.accelerator, CPUAccelerator)
    assert (trainer.global_rank, trainer.local_rank, trainer.node_rank) == (0, 0, 0)
    assert (trainer.world_size, trainer.num_nodes, trainer.num_devices, trainer.device_ids) == (1, 1, 1, [0])
    assert trainer.is_global_zero
    assert (trainer.max_epochs, trainer.min_epochs, trainer.max_steps, trainer.min_steps) == (3, 1, 7, 2)
    assert (trainer.global_step, trainer.current_epoch, trainer.is_last_batch) == (0, 0, False)
    assert (trainer.optimizers, trainer.lr_scheduler_configs) == ([], [])
    assert (trainer.train_dataloader, trainer.val_dataloaders) == (None, None)
    assert (trainer.test_dataloaders, trainer.predict_dataloaders) == (None, None)
    assert (trainer.num_val_batches, trainer.num_test_batches, trainer.num_predict_batches) == ([], [], [])
    assert trainer.num_sanity_val_batches == []
    assert (trainer.callback_metrics, trainer.logged_metrics, trainer.progress_bar_metrics) == ({}, {}, {})
    assert (trainer.logger, trainer.loggers, trainer.log_dir) == (None, [], str(tmp_path))
    assert (trainer.early_stopping_callback, trainer.early_stopping_callbacks) == (None, [])
    assert (trainer.checkpoint_callback, trainer.checkpoint_callbacks) == (None, [])
    assert trainer.progress_bar_callback is None
    assert trainer.ckpt_path is None
    assert trainer.scaler is None
    assert trainer.distributed_sampler_kwargs is None
    assert not trainer.enable_validation
    assert not trainer.received_sigterm
    assert not trainer.should_stop
    assert (trainer.state.status, trainer.state.fn, trainer.state.stage) == (TrainerStatus.INITIALIZING, None, None)
    stages = ("interrupted", "training", "testing", "predicting", "validating", "evaluating", "sanity_checking")
    assert not any(getattr(trainer, name) for name in stages)
    assert trainer.lightning_module is None
    assert trainer.model is None


def test_plain_settings_are_readable_attributes(quiet: Make) -> None:
    """Under the names of the arguments, resolved."""
    trainer = quiet(
        accumulate_grad_batches=2, gradient_clip_val=0.5, gradient_clip_algorithm="value", fast_dev_run=False
    )

    expected = {
        "accumulate_grad_batches": 2,
        "gradient_clip_val": 0.5,
        "gradient_clip_algorithm": "value",
        "fast_dev_run": False,
        "barebones": False,
        "check_val_every_n_epoch": 1,
        "val_check_interval": 1.0,
        "overfit_batches": 0.0,
        "limit_train_batches": 1.0,
        "limit_val_batches": 1.0,
        "limit_test_batches": 1.0,
        "limit_predict_batches": 1.0,
        "num_sanity_val_steps": 2,
        "log_every_n_steps": 50,
        "reload_dataloaders_every_n_epochs": 0,
        "enable_autolog_hparams": True,
    }
    assert {name: getattr(trainer, name) for name in expected} == expected
    for name in ("fit_loop", "validate_loop", "test_loop", "predict_loop", "profiler", "datamodule", "val_check_batch"):
        assert hasattr(trainer, name)


class Reads(Callback):
    """Notes what the trainer says in each stage."""

    def __init__(self) -> None:
        self.read: dict[str, Any] = {}

    def note(self, trainer: Any, hook: str) -> None:
        self.read.setdefault(
            hook,
            (
                str(trainer.state.fn),
                str(trainer.state.stage),
                [
                    n
                    for n in ("training", "validating", "testing", "predicting", "sanity_checking", "evaluating")
                    if getattr(trainer, n)
                ],
                (trainer.current_epoch, trainer.global_step, trainer.is_last_batch),
            ),
        )

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
        self.note(trainer, "sanity")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.note(trainer, "train start")
        self.numbers = (
            trainer.num_training_batches,
            trainer.num_val_batches,
            trainer.num_sanity_val_batches,
            trainer.val_check_batch,
        )
        self.found = (trainer.enable_validation, trainer.model is pl_module, trainer.lightning_module is pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.note(trainer, f"batch {batch_idx}")

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.note(trainer, "validation" if not trainer.sanity_checking else "sanity validation")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.note(trainer, "epoch end")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.note(trainer, "train end")

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self.note(trainer, "test")

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self.note(trainer, "predict")


def test_the_state_is_right_in_each_stage(quiet: Make) -> None:
    """Function, stage, flags and counters as callbacks read them."""
    reads = Reads()
    trainer, model = quiet(max_epochs=1, callbacks=[reads], limit_val_batches=3), Model()

    trainer.fit(model, loader(2), loader(4))
    trainer.validate(model, loader(1), verbose=False)
    trainer.test(model, loader(1), verbose=False)
    trainer.predict(model, loader(1))

    assert reads.read == {
        "sanity": ("fit", "sanity_check", ["sanity_checking", "evaluating"], (0, 0, False)),
        "sanity validation": ("fit", "sanity_check", ["sanity_checking", "evaluating"], (0, 0, False)),
        "train start": ("fit", "train", ["training"], (0, 0, False)),
        "batch 0": ("fit", "train", ["training"], (0, 1, False)),
        "batch 1": ("fit", "train", ["training"], (0, 2, True)),
        "validation": ("fit", "validate", ["validating", "evaluating"], (0, 2, True)),
        "epoch end": ("fit", "train", ["training"], (0, 2, True)),
        "train end": ("fit", "train", ["training"], (1, 2, True)),
        "test": ("test", "test", ["testing", "evaluating"], (1, 2, True)),
        "predict": ("predict", "predict", ["predicting"], (1, 2, True)),
    }
    assert reads.numbers == (2, [3], [2], 2)
    assert reads.found == (True, True, True)
    assert (trainer.state.status, trainer.state.fn, trainer.state.stage) == ("finished", "predict", None)


def test_after_fit_the_results_stay_readable(quiet: Make) -> None:
    """Loaders, optimizers, schedulers, metrics on the CPU."""
    trainer, model, train, val = quiet(max_epochs=1), Model(), loader(), loader(3)

    trainer.fit(model, train, val)

    assert trainer.train_dataloader is train
    assert trainer.val_dataloaders is val
    assert trainer.num_val_batches == [3]
    assert isinstance(trainer.optimizers[0], torch.optim.SGD)
    assert isinstance(trainer.lr_scheduler_configs[0].scheduler, torch.optim.lr_scheduler.StepLR)
    assert (trainer.lr_scheduler_configs[0].interval, trainer.lr_scheduler_configs[0].frequency) == ("epoch", 1)
    assert set(trainer.callback_metrics) == {"loss", "loss_step", "loss_epoch", "val"}
    assert set(trainer.logged_metrics) == {"loss_step", "loss_epoch", "val"}
    assert set(trainer.progress_bar_metrics) == {"loss_step", "loss_epoch"}
    assert all(value.device.type == "cpu" for value in trainer.callback_metrics.values())
    assert type(trainer.progress_bar_metrics["loss_step"]) is float
    assert model.trainer is trainer


def test_stage_flags_logger_and_optimizers_can_be_set(quiet: Make) -> None:
    """Tuners and third-party code do so."""
    trainer = quiet()

    trainer.testing = True
    stage = trainer.state.stage
    trainer.testing = False
    trainer.logger = None
    trainer.optimizers = [torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)]

    assert stage is RunningStage.TESTING
    assert (trainer.state.stage, trainer.loggers, len(trainer.optimizers)) == (None, [], 1)
    trainer.state.fn = TrainerFn.FITTING
    assert trainer.state.fn == "fit"


class Bar(Callback):
    role = "progress_bar"
    is_enabled = True

    def __init__(self) -> None:
        self.lines: list[str] = []

    def print(self, *args: Any, **kwargs: Any) -> None:
        self.lines.append(" ".join(map(str, args)))


class Stopper(Callback):
    role = "early_stopping"


def test_callbacks_are_found_by_what_they_do(make_plain: Make) -> None:
    """The first of its kind and the list; checkpoints come last."""
    saves, stops, bar = Checkpoint(), Stopper(), Bar()

    trainer = make_plain(callbacks=[saves, stops, bar], enable_model_summary=False, logger=False)

    assert trainer.callbacks == [stops, bar, saves]
    assert (trainer.checkpoint_callback, trainer.checkpoint_callbacks) == (saves, [saves])
    assert (trainer.early_stopping_callback, trainer.early_stopping_callbacks) == (stops, [stops])
    assert trainer.progress_bar_callback is bar


@pytest.fixture
def make_plain(tmp_path: Path) -> Make:
    return lambda **arguments: Trainer(accelerator="cpu", default_root_dir=tmp_path, **arguments)


def test_printing_goes_above_the_progress_bar(make_plain: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """From the trainer and from the module; without a bar to the screen."""
    bar = Bar()

    class Prints(Model):
        def on_train_start(self) -> None:
            self.print("from", "module")
            self.trainer.print("from", "trainer")

    make_plain(callbacks=[bar], max_steps=1, logger=False, enable_checkpointing=False, enable_model_summary=False).fit(
        Prints(), loader(), loader(1)
    )
    make_plain(logger=False, enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False).print(
        "bare", end="!"
    )

    assert bar.lines == ["from module", "from trainer"]
    assert capsys.readouterr().out.endswith("bare!")


class Rows(Logger):
    def __init__(self, save_dir: str, log_dir: str | None = None) -> None:
        super().__init__()
        self.rows: list[Any] = []
        self._save_dir, self._log_dir = save_dir, log_dir

    @property
    def name(self) -> str:
        return "rows"

    @property
    def version(self) -> int:
        return 0

    @property
    def save_dir(self) -> str:
        return self._save_dir

    @property
    def log_dir(self) -> str | None:
        return self._log_dir

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append(metrics)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.rows.append(dict(params))


def test_the_log_folder_is_the_first_loggers(quiet: Make) -> None:
    """Its own run folder if it has one, else where it saves."""
    first = quiet(logger=[Rows("saves", "run"), Rows("other")])
    second = quiet(logger=Rows("saves"))

    assert (first.log_dir, second.log_dir) == ("run", "saves")
    assert first.logger is first.loggers[0]


@pytest.mark.parametrize("enabled", [True, False])
def test_hyperparameters_are_logged_at_the_start(quiet: Make, *, enabled: bool) -> None:
    """Unless `enable_autolog_hparams` is off."""
    rows = Rows("saves")

    quiet(max_steps=1, logger=rows, enable_autolog_hparams=enabled, log_every_n_steps=1).fit(
        Model(4), loader(), loader(1)
    )

    assert ({"width": 4} in rows.rows) is enabled


# -- estimated steps


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.ones(4, 3))


@pytest.mark.parametrize(
    ("arguments", "data", "expected"),
    [
        ({"max_epochs": 3}, loader, 12),
        ({"max_epochs": 3, "accumulate_grad_batches": 3}, loader, 6),
        ({"max_epochs": 3, "max_steps": 5}, loader, 5),
        ({"max_epochs": 3, "limit_train_batches": 0.5}, loader, 6),
        ({"max_epochs": -1, "max_steps": 5}, loader, 5),
        ({"max_steps": 5}, lambda: DataLoader(Stream()), 5),
    ],
)
def test_the_number_of_steps_is_known_when_schedulers_are_made(
    quiet: Make, arguments: dict[str, Any], data: Any, expected: int
) -> None:
    """`configure_optimizers` may ask for it, and it is what is then taken."""

    class Asks(Model):
        def configure_optimizers(self) -> Any:
            self.seen["steps"] = self.trainer.estimated_stepping_batches
            return torch.optim.SGD(self.parameters(), lr=0.1)

    model, trainer = Asks(), quiet(**arguments)

    trainer.fit(model, data(), loader(1))

    assert model.seen["steps"] == expected == trainer.global_step


def test_an_endless_run_has_endless_steps(quiet: Make) -> None:
    """Nobody knows where it ends."""
    assert quiet(max_epochs=-1).estimated_stepping_batches == math.inf


# -- the module's own configuration


def test_layers_may_be_made_when_the_trainer_is_there(quiet: Make) -> None:
    """`configure_model` runs in each entry point, in the trainer's precision, before the optimizers."""

    class Late(Model):
        made = 0

        def __init__(self) -> None:
            super().__init__()
            self.layer = None

        def configure_model(self) -> None:
            Late.made += 1
            if self.layer is None:
                self.layer = nn.Linear(3, 2)
                self.seen["dtype"] = self.layer.weight.dtype

    model, trainer = Late(), quiet(max_epochs=1, precision="bf16-true")

    trainer.fit(model, loader(), loader(1))
    trainer.predict(model, loader(1))

    assert (Late.made, model.seen["dtype"]) == (2, torch.bfloat16)


def test_the_modules_callbacks_take_the_place_of_the_trainers(quiet: Make) -> None:
    """Those of the same class are replaced, others added."""

    class Mine(Callback):
        pass

    class Better(Mine):
        pass

    class Brings(Model):
        def configure_callbacks(self) -> Any:
            return [Better()]

    kept = Callback()
    trainer = quiet(max_steps=1, callbacks=[Mine(), kept])

    trainer.fit(Brings(), loader(), loader(1))

    assert [type(callback) for callback in trainer.callbacks] == [Callback, Better]


def test_a_module_is_made_directly_in_the_right_precision(quiet: Make) -> None:
    """`init_module` sets the type of new weights; empty ones are not filled."""
    trainer = quiet(precision="64-true")

    with trainer.init_module():
        model = Model()
    with quiet().init_module(empty_init=True):
        state = torch.get_rng_state()
        nn.Linear(50, 50)
        untouched = torch.equal(state, torch.get_rng_state())

    assert model.layer.weight.dtype == torch.float64
    assert untouched
    assert torch.get_default_dtype() == torch.float32


def test_gathering_on_one_device_adds_no_dimension(quiet: Make) -> None:
    """Numbers and arrays become tensors, collections stay collections."""

    class Gathers(Model):
        def on_train_start(self) -> None:
            self.seen["all"] = self.all_gather({"x": 1.5, "y": [np.ones(2), torch.zeros(2, 3)]}, sync_grads=True)

    model = Gathers()

    quiet(max_steps=1).fit(model, loader(), loader(1))

    found = model.seen["all"]
    assert (found["x"].item(), found["y"][0].shape, found["y"][1].shape) == (1.5, (2,), (2, 3))


def test_a_module_without_a_trainer_logs_nothing_and_says_so() -> None:
    """What only a trainer can do is an error."""
    model = Model()

    with pytest.warns(UserWarning, match="no trainer is attached"):
        model.log("unattached_key", 1.0)
    with pytest.raises(RuntimeError, match="not attached to a `Trainer`"):
        model.print("x")

    assert (model.current_epoch, model.global_step, model.global_rank, model.local_rank) == (0, 0, 0, 0)
    assert (model.logger, model.loggers, model.automatic_optimization, model.strict_loading) == (None, [], True, True)
    assert (model.device, model.dtype, model.on_gpu) == (torch.device("cpu"), torch.float32, False)


def test_an_attached_module_tells_what_the_trainer_tells(quiet: Make) -> None:
    """Counters, loggers, optimizers, schedulers."""

    class Asks(Model):
        def on_train_epoch_end(self) -> None:
            self.seen["counters"] = (self.current_epoch, self.global_step, self.logger, self.loggers)
            self.seen["optimizer"] = self.optimizers(use_pl_optimizer=False) is self.trainer.optimizers[0]
            self.seen["wrapped"] = self.optimizers().optimizer is self.trainer.optimizers[0]
            self.seen["scheduler"] = self.lr_schedulers() is self.trainer.lr_scheduler_configs[0].scheduler

    model = Asks()

    quiet(max_epochs=1).fit(model, loader(), loader(1))

    assert model.seen == {"counters": (0, 4, None, []), "optimizer": True, "wrapped": True, "scheduler": True}


# -- files


def test_saving_needs_a_module(quiet: Make, tmp_path: Path) -> None:
    """Before any run there is nothing to save."""
    with pytest.raises(AttributeError, match="No module"):
        quiet().save_checkpoint(tmp_path / "x.ckpt")


class Stateful(Callback):
    def state_dict(self) -> dict[str, Any]:
        return {"count": 3}

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["theirs"] = 1


def test_a_checkpoint_has_the_known_layout(quiet: Make, tmp_path: Path) -> None:
    """The keys that users' tools read."""
    trainer, model = quiet(max_epochs=1, callbacks=[Stateful()]), Model()
    trainer.fit(model, loader(), loader(1))

    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    trainer.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)

    whole, weights = (torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("whole", "weights"))
    small = {
        "epoch",
        "global_step",
        "pytorch-lightning_version",
        "state_dict",
        "loops",
        "hparams_name",
        "hyper_parameters",
    }
    large = {"callbacks", "optimizer_states", "lr_schedulers", "theirs"}
    assert small | large <= set(whole)
    assert small == set(weights)
    assert (whole["epoch"], whole["global_step"], whole["hyper_parameters"]) == (1, 4, {"width": 2})
    assert whole["callbacks"] == {"Stateful": {"count": 3}}
    assert set(whole["loops"]) == {"fit_loop", "validate_loop", "test_loop", "predict_loop"}
    assert set(whole["state_dict"]) == {"layer.weight", "layer.bias"}
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_a_file_of_weights_alone_does_not_resume(quiet: Make, tmp_path: Path) -> None:
    """It does for evaluation; for fit the message says why not."""
    trainer, model = quiet(max_epochs=1), Model()
    trainer.fit(model, loader(), loader(1))
    trainer.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)
    other = Model()

    quiet().validate(other, loader(1), ckpt_path=tmp_path / "weights.ckpt", verbose=False)

    assert torch.equal(other.layer.weight, model.layer.weight)
    with pytest.raises(CheckpointError, match="holds the weights only"):
        quiet(max_epochs=2).fit(Model(), loader(), loader(1), ckpt_path=tmp_path / "weights.ckpt")


def test_the_path_that_was_loaded_can_be_read_and_set(quiet: Make, tmp_path: Path) -> None:
    """A path that is assigned holds for the following runs, and an argument wins over it."""
    trainer, model = quiet(max_epochs=1), Model()
    trainer.fit(model, loader(), loader(1))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    paths: list[Any] = []

    class Notes(Model):
        def on_test_start(self) -> None:
            paths.append(self.trainer.ckpt_path)

    other = quiet()
    other.ckpt_path = str(tmp_path / "x.ckpt")
    other.test(Notes(), loader(1), verbose=False)
    other.ckpt_path = None
    other.test(Notes(), loader(1), verbose=False)

    assert paths == [str(tmp_path / "x.ckpt"), None]
    assert other.ckpt_path is None


@pytest.mark.parametrize("ckpt_path", ["missing.ckpt"])
def test_a_missing_file_is_a_file_not_found_error(quiet: Make, tmp_path: Path, ckpt_path: str) -> None:
    """As with any file."""
    with pytest.raises(FileNotFoundError, match="missing"):
        quiet(max_epochs=1).fit(Model(), loader(), loader(1), ckpt_path=tmp_path / ckpt_path)


def test_a_data_modules_state_travels_with_the_checkpoint(quiet: Make, tmp_path: Path) -> None:
    """Under its class's name."""

    class Data(DataHooks):
        trainer: Any = None
        position = 0

        def train_dataloader(self) -> Any:
            return loader()

        def val_dataloader(self) -> Any:
            return loader(1)

        def state_dict(self) -> dict[str, Any]:
            return {"position": self.position}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.position = state["position"]

    data, other = Data(), Data()
    data.position = 5
    trainer = quiet(max_epochs=1)
    trainer.fit(Model(), datamodule=data)
    trainer.save_checkpoint(tmp_path / "x.ckpt")

    quiet(max_epochs=2).fit(Model(), datamodule=other, ckpt_path=tmp_path / "x.ckpt")

    assert other.position == 5


def test_fewer_epochs_than_the_checkpoint_has_is_an_error(quiet: Make, tmp_path: Path) -> None:
    """Reached limits return at once instead."""
    trainer = quiet(max_epochs=2)
    trainer.fit(Model(), loader(), loader(1))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    again = quiet(max_epochs=2)

    again.fit(Model(), loader(), loader(1), ckpt_path=tmp_path / "x.ckpt")

    assert (again.current_epoch, again.global_step) == (2, 8)
    with pytest.raises(MisconfigurationException, match="at least 2"):
        quiet(max_epochs=1).fit(Model(), loader(), loader(1), ckpt_path=tmp_path / "x.ckpt")


def test_a_scaler_is_shown_and_saved(quiet: Make, tmp_path: Path) -> None:
    """Under the name of the precision's class."""
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=16.0))
    trainer = quiet(max_epochs=1, plugins=precision)
    trainer.fit(Model(), loader(), loader(1))

    trainer.save_checkpoint(tmp_path / "x.ckpt")

    assert isinstance(trainer.scaler, torch.amp.GradScaler)
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["MixedPrecision"]["scale"] == 16.0
