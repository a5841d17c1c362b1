"""What the Trainer is constructed with wrongly is an error that says what to write instead, all of it at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import lt_core
import lt_loops
from lt_core import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_loops import Trainer


class Bar(Callback):
    role = "progress_bar"


class Saver(Callback):
    role = "checkpoint"


@pytest.mark.parametrize(
    ("arguments", "help_"),
    [
        ({"max_epoch": 3}, "`Trainer` got an unknown argument `max_epoch`. Did you mean `max_epochs`?"),
        ({"gradient_clip": 3}, "Did you mean `gradient_clip_val`?"),
        ({"max_epoch": 3, "acelerator": "cpu"}, "2 unknown arguments: "),
    ],
)
def test_an_unknown_argument_is_answered_with_the_nearest_name(arguments: dict[str, Any], help_: str) -> None:
    """The error is a TypeError, as for any Python call, and holds the name that was meant."""
    with pytest.raises(MisconfigurationTypeError) as caught:
        Trainer(**arguments)

    assert isinstance(caught.value, TypeError)
    assert help_ in str(caught.value)


def test_an_argument_by_position_is_answered_with_its_name() -> None:
    """The first argument is not guessed."""
    with pytest.raises(MisconfigurationTypeError, match=r"`Trainer\(accelerator=5\)`"):
        Trainer(5)  # type: ignore[misc]


def test_contradicting_arguments_are_reported_all_at_once() -> None:
    """Four mistakes are one error with four numbered items."""
    with pytest.raises(MisconfigurationException) as caught:
        Trainer(
            max_epochs=-5,
            limit_train_batches=1.5,
            check_val_every_n_epoch=None,
            val_check_interval=0.5,
            barebones=True,
            detect_anomaly=True,
        )

    message = str(caught.value)
    assert message.startswith("4 problems were found:")
    assert "1. `max_epochs=-5`" in message
    assert "2. `limit_train_batches=1.5`" in message
    assert "Write an int, such as `val_check_interval=1000`" in message
    assert "Remove `detect_anomaly` or `barebones`." in message


def test_numbers_and_names_are_reported_at_once() -> None:
    """Plain arguments, the strategy and the profiler: nobody corrects one only to hear of the next."""
    with pytest.raises(MisconfigurationException) as caught:
        Trainer(max_epochs=-5, min_steps=-1, accelerator="cpu", strategy="single_devise", profiler="simpel")

    message = str(caught.value)
    assert message.startswith("4 problems were found:")
    assert "2. `min_steps=-1`" in message
    assert "3. There is no strategy 'single_devise'." in message
    assert "4. `profiler='simpel'`" in message
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("arguments", "help_"),
    [
        ({"callbacks": [Bar(), Bar()]}, "2 progress bars: Bar, Bar. Expected one"),
        ({"callbacks": [Bar()], "enable_progress_bar": False}, "Remove `enable_progress_bar=False` or the callback."),
        ({"callbacks": Saver(), "enable_checkpointing": False}, "Remove `enable_checkpointing=False` or the callback."),
        ({"barebones": True, "profiler": "simple"}, "Remove `profiler` or `barebones`."),
        ({"barebones": True, "fast_dev_run": True}, "Remove `fast_dev_run` or `barebones`."),
        ({"barebones": True, "enable_progress_bar": True}, "Remove `enable_progress_bar` or `barebones`."),
    ],
)
def test_what_cannot_both_be_is_an_error_that_names_both(arguments: dict[str, Any], help_: str) -> None:
    """The message says which of the two to remove."""
    with pytest.raises(MisconfigurationException) as caught:
        Trainer(**arguments)

    assert help_ in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "kind", "help_"),
    [
        ({"limit_train_batches": -1}, ValueError, "Write, for example, `limit_train_batches=10`"),
        ({"limit_val_batches": 1.5}, ValueError, "a fraction of them (a float from 0.0 to 1.0)"),
        ({"limit_test_batches": "all"}, TypeError, "`limit_test_batches=1.0` for all"),
        ({"limit_predict_batches": -0.1}, ValueError, "`limit_predict_batches=0.1`"),
        ({"overfit_batches": -2}, ValueError, "Write, for example, `overfit_batches=10`"),
        ({"fast_dev_run": -1}, ValueError, "Expected a whole number of at least 0"),
        ({"fast_dev_run": 0.5}, TypeError, "Write `fast_dev_run=True` for one batch"),
        ({"max_epochs": 1.5}, TypeError, "or -1 for no limit, or None"),
        ({"max_epochs": float("inf")}, TypeError, "Write `max_epochs=-1`."),
        ({"max_steps": -2}, ValueError, "Write, for example, `max_steps=-1`."),
        ({"max_steps": None}, TypeError, "Write, for example, `max_steps=1`."),
        ({"min_epochs": -1}, ValueError, "a whole number of at least 0"),
        ({"max_time": "1h"}, ValueError, "'DD:HH:MM:SS'"),
        ({"max_time": {"hour": 1}}, TypeError, "{'hours': 2}"),
        ({"val_check_interval": 0}, ValueError, "To switch validation off write `limit_val_batches=0`."),
        ({"val_check_interval": 1.5}, ValueError, "Write, for example, `val_check_interval=10`"),
        ({"check_val_every_n_epoch": 0}, ValueError, "a whole number of at least 1, or None"),
        ({"num_sanity_val_steps": -2}, ValueError, "or -1 for no limit"),
        ({"log_every_n_steps": -1}, ValueError, "a whole number of at least 0, or None"),
        ({"accumulate_grad_batches": 0}, ValueError, "a whole number of at least 1"),
        ({"accumulate_grad_batches": {0: 4}}, TypeError, "GradientAccumulationScheduler(scheduling={0: 4})"),
        ({"gradient_clip_val": "0.5"}, TypeError, "Write, for example, `gradient_clip_val=1.0`."),
        ({"gradient_clip_algorithm": "norn"}, ValueError, "Did you mean `norm`?"),
        ({"deterministic": "warm"}, ValueError, "Did you mean `warn`?"),
        ({"inference_mode": "yes"}, TypeError, "Write `inference_mode=True` or `inference_mode=False`."),
        ({"reload_dataloaders_every_n_epochs": -1}, ValueError, "a whole number of at least 0"),
        ({"default_root_dir": 5}, TypeError, "Write, for example, `default_root_dir='runs'`."),
        ({"num_nodes": 2}, ValueError, "or leave `num_nodes` out."),
        ({"num_nodes": 0}, ValueError, "Expected a whole number of at least 1"),
    ],
)
def test_a_value_out_of_range_is_answered_with_one_that_works(
    arguments: dict[str, Any], kind: type[Exception], help_: str
) -> None:
    """Each is also the built-in error of its kind and shows the value that was received."""
    with pytest.raises(MisconfigurationException) as caught:
        Trainer(**arguments)

    ((name, value),) = arguments.items()
    assert isinstance(caught.value, kind)
    assert f"`{name}={value!r}`" in str(caught.value)
    assert help_ in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "help_"),
    [
        ({"strategy": "single_devise"}, "Did you mean `single_device`?"),
        ({"strategy": "nothing like it"}, "There is no strategy 'nothing like it'. Expected one of: "),
        ({"accelerator": "cpuu"}, "Did you mean `cpu`?"),
        ({"accelerator": "cpu", "precision": "16-mixd"}, "Did you mean `16-mixed`?"),
        ({"accelerator": "cpu", "precision": 17}, 'Write `precision="32-true"` for the usual one.'),
        ({"accelerator": "cpu", "devices": "many"}, "Write `devices=1`."),
        ({"accelerator": "cpu", "devices": 0}, 'Write `devices=1`, or `devices="auto"`.'),
        ({"accelerator": "cpu", "strategy": "single_device", "devices": 2}, "names 2 devices. Expected one: pass"),
        ({"accelerator": "cpu", "devices": 1.5}, "a positive number was expected"),
        ({"accelerator": "cpu", "profiler": "simpel"}, "Did you mean `simple`?"),
        ({"accelerator": "cpu", "plugins": ["x"]}, "There is no cluster environment 'x'. Expected one of: kubeflow"),
        ({"accelerator": "cpu", "plugins": [5]}, "got 5, a int. Expected a `Precision`, a `CheckpointIO`, a `Cluster"),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_exist(arguments: dict[str, Any], help_: str) -> None:
    """Strategies, accelerators, precisions, devices, profilers and plugins alike."""
    with pytest.raises(MisconfigurationException) as caught:
        Trainer(logger=False, **arguments)

    assert help_ in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "help_"),
    [
        ({"callbacks": [Bar]}, "`callbacks[0]` is the class `Bar`. Expected an instance"),
        ({"callbacks": ["early stopping"]}, "Derive it from `Callback`."),
        ({"logger": "tensorboard"}, "got 'tensorboard', a str. Expected True, False, a logger or a list"),
        ({"logger": [Bar]}, "pass an instance of a class derived from `lt_core.Logger`"),
    ],
)
def test_what_is_no_callback_or_logger_is_a_type_error(arguments: dict[str, Any], help_: str) -> None:
    """A class instead of an instance is the usual mistake."""
    with pytest.raises(MisconfigurationTypeError) as caught:
        Trainer(accelerator="cpu", **arguments)

    assert help_ in str(caught.value)


def test_the_environment_is_held_to_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that comes from a variable is refused as if it had been passed."""
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "-7")

    with pytest.raises(MisconfigurationValueError, match=r"`max_epochs=-7` is out of range"):
        Trainer()


def test_a_misspelled_variable_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning holds the variable that was meant."""
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCH", "7")

    with pytest.warns(UserWarning, match="Did you mean `PL_TRAINER_MAX_EPOCHS`?"):
        Trainer(accelerator="cpu", logger=False)


_ASK_FOR_ROLES = """
from lt_loops import Trainer

asked = [{"enable_checkpointing": True}, {"enable_progress_bar": True}, {"enable_model_summary": True},
         {"logger": True}, {"max_time": {"hours": 1}}]
for arguments in asked:
    try:
        Trainer(accelerator="cpu", **arguments)
    except ModuleNotFoundError as error:
        print(error)
print([type(callback).__name__ for callback in Trainer(accelerator="cpu").callbacks])
"""


def test_a_role_that_was_asked_for_and_is_not_installed_is_answered_with_the_install_line(tmp_path: Path) -> None:
    """In a process that sees torch, lt-core and lt-loops only; what was left at its default is skipped."""
    for site in {Path(torch.__file__).parents[1], *(Path(path) for path in sys.path if path.endswith("-packages"))}:
        for entry in site.iterdir():
            if not entry.name.lower().startswith(("lt_", "lt-", "_lt", "__editable__", "_editable")):
                link = tmp_path / entry.name
                if entry.suffix != ".pth" and not link.exists():
                    link.symlink_to(entry)
    for package in (lt_core, lt_loops):
        name = package.__name__
        if not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(Path(package.__file__).parent)

    done = subprocess.run(
        [sys.executable, "-S", "-c", _ASK_FOR_ROLES],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    lines = done.stdout.splitlines()
    assert len(lines) == 6, done.stderr
    assert "`Trainer(enable_checkpointing=True)` asks for" in lines[0]
    assert lines[0].endswith("Run `pip install lt-callbacks`.")
    assert "`Trainer(enable_progress_bar=True)`" in lines[1]
    assert lines[1].endswith("Run `pip install lt-callbacks`.")
    assert lines[2].endswith("Run `pip install lt-callbacks`.")
    assert "`Trainer(logger=True)`" in lines[3]
    assert lines[3].endswith("Run `pip install lt-loggers`.")
    assert "`Trainer(max_time=" in lines[4]
    assert lines[5] == "[]"
