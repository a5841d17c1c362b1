"""What each setting of the Trainer does to torch, to the module and to the files, and that it leaves no trace."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lt_core import Callback, LightningModule
from lt_core.errors import MisconfigurationException, MisconfigurationValueError, MissingPackageError
from lt_loops import Trainer
from lt_loops.checkpoint_io import TorchCheckpointIO
from lt_loops.precision import Precision
from lt_loops.profilers import AdvancedProfiler, SimpleProfiler
from lt_loops.strategies import SingleDeviceStrategy, StrategyRegistry

Make = Callable[..., Trainer]


def loader(batches: int = 2) -> DataLoader[Any]:
    return DataLoader(torch.ones(batches, 3), batch_size=1)


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.seen: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def note(self, stage: str) -> None:
        """Is overridden by the tests."""

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.note("train")
        return self(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.note("validation")

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.note("test")

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.note("predict")
        return self(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run_all(trainer: Trainer, model: LightningModule) -> None:
    trainer.fit(model, loader(), loader())
    trainer.validate(model, loader(), verbose=False)
    trainer.test(model, loader(), verbose=False)
    trainer.predict(model, loader())


# -- modes of torch


class Gradients(Model):
    def note(self, stage: str) -> None:
        if self.trainer.state.fn != "fit" or stage == "train":
            self.seen[stage] = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        else:
            self.seen["in fit"] = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())


@pytest.mark.parametrize("inference_mode", [True, False])
def test_evaluation_runs_without_gradients(quiet: Make, *, inference_mode: bool) -> None:
    """In inference mode or under `no_grad`; validation within fit always under `no_grad`."""
    model = Gradients()

    run_all(quiet(max_epochs=1, inference_mode=inference_mode), model)

    outside = (False, inference_mode)
    expected = {
        "train": (True, False),
        "in fit": (False, False),
        "validation": outside,
        "test": outside,
        "predict": outside,
    }
    assert model.seen == expected
    assert torch.is_grad_enabled()


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled", "ignore:Error detected in")
def test_anomaly_detection_names_the_operation_and_is_switched_off_afterwards(quiet: Make) -> None:
    """A gradient that is NaN raises while it is on."""

    class Bad(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            assert torch.is_anomaly_enabled()
            return (self(batch) * 0).sum().sqrt() * 0

    with pytest.raises(RuntimeError, match="nan"):
        quiet(max_epochs=1, detect_anomaly=True).fit(Bad(), loader(), loader())

    assert not torch.is_anomaly_enabled()


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_the_users_own_anomaly_mode_stays_on(quiet: Make) -> None:
    """The default of `detect_anomaly` does not switch off what the user switched on."""

    class Looks(Model):
        def note(self, stage: str) -> None:
            self.seen[stage] = torch.is_anomaly_enabled()

    model = Looks()

    with torch.autograd.set_detect_anomaly(mode=True):
        quiet(max_epochs=1).fit(model, loader(), loader())

    assert model.seen == {"train": True, "validation": True}


@pytest.fixture
def _torch_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_torch_settings")
@pytest.mark.parametrize(
    ("value", "enabled", "warn_only"), [(True, True, False), (False, False, False), ("warn", True, True)]
)
def test_deterministic_sets_torchs_algorithms(quiet: Make, value: Any, *, enabled: bool, warn_only: bool) -> None:
    """True, False and "warn" are told to torch; cuBLAS gets its workspace."""
    quiet(deterministic=value)

    assert torch.are_deterministic_algorithms_enabled() is enabled
    assert torch.is_deterministic_algorithms_warn_only_enabled() is warn_only
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if enabled else None)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.usefixtures("_torch_settings")
def test_left_out_settings_change_nothing(quiet: Make) -> None:
    """None leaves the user's own choice."""
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True

    quiet()

    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


@pytest.mark.usefixtures("_torch_settings")
@pytest.mark.parametrize("benchmark", [True, False])
def test_benchmark_sets_cudnn(quiet: Make, *, benchmark: bool) -> None:
    """Both values are set."""
    torch.backends.cudnn.benchmark = not benchmark

    quiet(benchmark=benchmark)

    assert torch.backends.cudnn.benchmark is benchmark


# -- barebones and the environment


def test_barebones_runs_the_loop_and_nothing_else(tmp_path: Path) -> None:
    """No callbacks, no loggers, no sanity check, and `self.log` says that it does nothing."""

    class Logs(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            self.log("barebones_loss", 1.0)
            return super().training_step(batch, batch_idx)

        def note(self, stage: str) -> None:
            self.seen[stage] = self.seen.get(stage, 0) + 1

    model, trainer = Logs(), Trainer(accelerator="cpu", barebones=True, max_epochs=1, default_root_dir=tmp_path)

    with pytest.warns(UserWarning, match="barebones"):
        trainer.fit(model, loader(), loader())

    assert (trainer.callbacks, trainer.loggers, trainer.callback_metrics) == ([], [], {})
    assert model.seen == {"train": 2, "validation": 2}
    assert list(tmp_path.iterdir()) == []


def test_arguments_may_come_from_the_environment(quiet: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """They steer a real run, and what is passed wins."""
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "2")
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "1")
    monkeypatch.setenv("PL_TRAINER_NUM_SANITY_VAL_STEPS", "0")
    monkeypatch.setenv("PL_TRAINER_GRADIENT_CLIP_ALGORITHM", "value")
    trainer = quiet(limit_train_batches=2)

    trainer.fit(Model(), loader(), loader())

    assert (trainer.current_epoch, trainer.global_step) == (2, 4)
    assert trainer.gradient_clip_algorithm == "value"


def test_the_root_folder_is_the_current_one_unless_told_otherwise(
    quiet: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path object, a string and `~` are taken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert quiet(default_root_dir=None).default_root_dir == str(tmp_path)
    assert quiet(default_root_dir="~/runs/../logs").default_root_dir == str(tmp_path / "logs")
    assert quiet(default_root_dir=tmp_path).log_dir == str(tmp_path)


@pytest.mark.parametrize(
    ("argument", "package"),
    [
        ("logger", "lt-loggers"),
        ("enable_checkpointing", "lt-callbacks"),
        ("enable_progress_bar", "lt-callbacks"),
        ("enable_model_summary", "lt-callbacks"),
    ],
)
def test_a_default_that_is_asked_for_and_not_installed_is_an_error_with_the_install_line(
    quiet: Make, monkeypatch: pytest.MonkeyPatch, argument: str, package: str
) -> None:
    """Left at its default, it is left out."""
    monkeypatch.setattr("lt_core.roles._fillers", dict)

    with pytest.raises(MissingPackageError, match=f"pip install {package}"):
        quiet(**{argument: True})
    trainer = quiet(**{argument: None})

    assert trainer.callbacks == []
    assert trainer.loggers == []


# -- precision


@pytest.mark.filterwarnings("ignore:.*precision=.*:UserWarning")
@pytest.mark.parametrize(
    ("given", "name", "weights", "computed"),
    [
        (None, "32-true", torch.float32, torch.float32),
        ("32-true", "32-true", torch.float32, torch.float32),
        (32, "32-true", torch.float32, torch.float32),
        ("32", "32-true", torch.float32, torch.float32),
        ("64-true", "64-true", torch.float64, torch.float64),
        (64, "64-true", torch.float64, torch.float64),
        ("bf16-mixed", "bf16-mixed", torch.float32, torch.bfloat16),
        ("bf16", "bf16-mixed", torch.float32, torch.bfloat16),
        ("16-mixed", "bf16-mixed", torch.float32, torch.bfloat16),
        (16, "bf16-mixed", torch.float32, torch.bfloat16),
        ("bf16-true", "bf16-true", torch.bfloat16, torch.bfloat16),
        ("16-true", "16-true", torch.float16, torch.float16),
    ],
)
def test_a_precision_holds_in_every_stage(quiet: Make, given: Any, name: str, weights: Any, computed: Any) -> None:
    """Weights, inputs and outputs have its numbers; afterwards torch's default is what it was."""

    class Types(Model):
        def forward(self, x: Tensor) -> Tensor:
            output = self.layer(x)
            self.seen[str(self.trainer.state.stage)] = (self.layer.weight.dtype, output.dtype)
            return output

        def validation_step(self, batch: Tensor, batch_idx: int) -> None:
            self(batch)

        test_step = validation_step

    model, trainer = Types(), quiet(max_epochs=1, precision=given, num_sanity_val_steps=0)

    run_all(trainer, model)

    assert model.seen == dict.fromkeys(("train", "validate", "test", "predict"), (weights, computed))
    assert trainer.precision == trainer.precision_plugin.precision == name
    assert trainer.scaler is None
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(("given", "message"), [(16, "bf16-mixed"), ("bf16", "bf16-mixed"), ("16-mixed", "bf16-mixed")])
def test_an_old_or_unsuitable_precision_is_warned_of(quiet: Make, given: Any, message: str) -> None:
    """The warning says what to write."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet(precision=given)

    assert any(message in str(warning.message) for warning in caught)


def test_a_precision_by_name_and_as_a_plugin_contradict_each_other(quiet: Make) -> None:
    """One of them is to be left out, even if both mean the same."""
    with pytest.raises(MisconfigurationValueError, match="twice"):
        quiet(precision="32-true", plugins=[Precision()])


# -- plugins, strategies, profilers


class Doubling(Precision):
    """Doubles each batch."""

    precision = "doubling"
    converts_input = True

    def convert_input(self, data: Any) -> Any:
        return data * 2


class Files(TorchCheckpointIO):
    def __init__(self) -> None:
        self.saved: list[str] = []

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        self.saved.append(f"{Path(path).name} {storage_options}")
        super().save_checkpoint(checkpoint, path)


def test_plugins_take_the_place_of_the_defaults(quiet: Make, tmp_path: Path) -> None:
    """A precision sees the batches, a checkpoint plugin writes the files."""
    files = Files()

    class Sees(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            self.seen["batch"] = batch.max().item()
            return super().training_step(batch, batch_idx)

    model, trainer = Sees(), quiet(max_epochs=1, plugins=[Doubling(), files])

    trainer.fit(model, loader(), loader())
    trainer.save_checkpoint(tmp_path / "x.ckpt", storage_options="fast")

    assert (model.seen["batch"], trainer.precision) == (2.0, "doubling")
    assert files.saved == ["x.ckpt fast"]
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize(
    ("plugins", "message"),
    [([Files(), Files()], "several"), ([3], "3"), ("fast", "fast"), ([Precision(), Doubling()], "several")],
)
def test_wrong_plugins_are_errors(quiet: Make, plugins: Any, message: str) -> None:
    """One of a kind at most, and only kinds that there are."""
    with pytest.raises(MisconfigurationException, match=message):
        quiet(plugins=plugins)


class Theirs(SingleDeviceStrategy):
    """What another package may bring."""

    strategy_name = "theirs"
    steps: ClassVar[list[str]] = []

    def step_function(self, name: str) -> Callable[..., Any]:
        function = super().step_function(name)

        def step(*args: Any) -> Any:
            Theirs.steps.append(name)
            return function(*args)

        return step


@pytest.fixture
def _registered() -> Iterator[None]:
    StrategyRegistry.register("theirs", Theirs, description="a test's own")
    yield
    StrategyRegistry.remove("theirs")


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("strategy", ["theirs", "THEIRS"])
def test_a_third_partys_strategy_works_by_its_name(quiet: Make, strategy: str) -> None:
    """It gets the accelerator and the precision, and its steps are the ones that run."""
    Theirs.steps.clear()
    trainer = quiet(max_epochs=1, strategy=strategy, precision="64-true")

    run_all(trainer, Model())

    assert isinstance(trainer.strategy, Theirs)
    assert trainer.precision == "64-true"
    assert {"training_step", "validation_step", "test_step", "predict_step"} == set(Theirs.steps)
    assert trainer.strategy.accelerator is not None


def test_a_strategy_may_be_passed_itself(quiet: Make) -> None:
    """What it was made with stays, unless the Trainer is told otherwise."""
    strategy = SingleDeviceStrategy("cpu", precision_plugin=Doubling())

    assert quiet(strategy=strategy).strategy is strategy
    assert quiet(strategy=strategy).precision == "doubling"
    assert quiet(strategy=strategy, precision="64-true").precision == "64-true"


def test_an_unknown_strategy_is_an_error_with_the_known_ones(quiet: Make) -> None:
    """And with the nearest name."""
    with pytest.raises(ValueError, match="single_device"):
        quiet(strategy="single_devise")


@pytest.mark.parametrize("name", ["simple", "advanced", "SIMPLE"])
def test_a_profiler_by_name_reports_at_the_end(quiet: Make, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The hooks and steps that ran stand in the report."""

    class Hooked(Model):
        def on_train_epoch_start(self) -> None:
            pass

    with caplog.at_level("INFO"):
        quiet(max_epochs=1, profiler=name).fit(Hooked(), loader(), loader())

    assert "on_train_epoch_start" in caplog.text
    assert "training_step" in caplog.text


@pytest.mark.parametrize("profiler", [SimpleProfiler, AdvancedProfiler])
def test_a_profiler_writes_its_report_to_a_file(quiet: Make, tmp_path: Path, profiler: Any) -> None:
    """One per stage, named after it."""
    trainer = quiet(max_epochs=1, profiler=profiler(dirpath=tmp_path, filename="report"))

    trainer.fit(Model(), loader(), loader())
    trainer.test(Model(), loader(), verbose=False)

    assert "training_step" in (tmp_path / "fit-report.txt").read_text()
    assert "test_step" in (tmp_path / "test-report.txt").read_text()


def test_a_checkpoint_is_measured_by_the_profiler(quiet: Make, tmp_path: Path) -> None:
    """Under the name of the method."""
    profiler = SimpleProfiler(dirpath=tmp_path, filename="report")

    class Saves(Callback):
        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.save_checkpoint(tmp_path / "x.ckpt")

    quiet(max_epochs=1, profiler=profiler, callbacks=[Saves()]).fit(Model(), loader(), loader())

    assert "save_checkpoint" in (tmp_path / "fit-report.txt").read_text()


# -- compiled modules


def test_a_compiled_module_is_taken_and_its_steps_run_compiled(quiet: Make) -> None:
    """What torch.compile returns is unwrapped; a second call does not wrap it once more."""
    frames: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        frames.append(graph)
        return graph.forward

    class Plain(Model):
        def validation_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return self(batch)

    model = Plain()
    compiled = torch.compile(model, backend=backend)
    trainer = quiet(max_epochs=1)

    trainer.fit(compiled, loader(), loader())
    trainer.fit(compiled, loader(), loader())

    assert trainer.lightning_module is model
    assert trainer.global_step == 2
    assert frames
    assert model.training_step._torchdynamo_orig_callable == Plain.training_step.__get__(model)


def test_a_compiled_module_learns_what_a_plain_one_learns(quiet: Make) -> None:
    """Forward and backward go through torch's compiler, with the backend that needs no C++ compiler."""
    torch.manual_seed(0)
    plain, whole = Model(), Model()
    whole.load_state_dict(plain.state_dict())

    quiet(max_epochs=1).fit(torch.compile(whole, backend="aot_eager"), loader(), loader())
    quiet(max_epochs=1).fit(plain, loader(), loader())

    assert torch.allclose(whole.layer.weight, plain.layer.weight, atol=1e-6)
