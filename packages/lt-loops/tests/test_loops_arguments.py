"""The Trainer's plain arguments: what each accepts, what they mean for each other, how errors help."""

import math
import os
from datetime import timedelta

import pytest

from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.rank_zero import PossibleUserWarning
from lt_loops.arguments import resolve_arguments, resolve_loop_limits


class Bar(Callback):
    role = "progress_bar"


class Saver(Callback):
    role = "checkpoint"


def test_the_defaults_are_those_that_are_documented():
    """Nothing given is what most runs have."""
    arguments = resolve_arguments({})

    assert arguments.fast_dev_run is False
    assert arguments.max_epochs is None
    assert arguments.max_steps == -1
    assert arguments.limit_train_batches == 1.0
    assert isinstance(arguments.limit_train_batches, float)
    assert arguments.val_check_interval == 1.0
    assert arguments.check_val_every_n_epoch == 1
    assert arguments.num_sanity_val_steps == 2
    assert arguments.log_every_n_steps == 50
    assert arguments.enable_checkpointing
    assert not arguments.loggers_off
    assert arguments.asked_for == frozenset()
    assert arguments.default_root_dir == os.getcwd()


def test_arguments_cannot_be_changed():
    """What was resolved holds for the trainer's life."""
    with pytest.raises(AttributeError):
        resolve_arguments({}).max_epochs = 3


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("limit_train_batches", 1, 1),
        ("limit_val_batches", 0.5, 0.5),
        ("limit_test_batches", 7.0, 7),
        ("limit_predict_batches", 0, 0),
        ("max_steps", 1e3, 1000),
        ("max_epochs", -1, -1),
        ("num_sanity_val_steps", -1, math.inf),
        ("check_val_every_n_epoch", None, None),
        ("gradient_clip_val", 0, 0),
        ("gradient_clip_algorithm", "VALUE", "value"),
        ("deterministic", "warn", "warn"),
        ("log_every_n_steps", 0, 0),
        ("max_time", "01:02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("max_time", {"minutes": 30}, timedelta(minutes=30)),
        ("max_time", timedelta(hours=1), timedelta(hours=1)),
        ("barebones", 1, True),
    ],
)
def test_a_value_becomes_its_effective_one(name, value, expected):
    """Types are those that the loops expect."""
    found = getattr(resolve_arguments({name: value}), name)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_epochs", -2, r"`max_epochs=-2` is out of range.*at least 0, or -1"),
        ("max_epochs", "3", r"`max_epochs='3'` is no whole number"),
        ("max_steps", math.inf, r"Write `max_steps=-1`"),
        ("max_steps", None, r"`max_steps=None` is no whole number"),
        ("min_epochs", -1, "`min_epochs=-1` is out of range"),
        ("limit_train_batches", 1.5, r"`limit_train_batches=1.5` is out of range.*fraction"),
        ("limit_val_batches", -1, "`limit_val_batches=-1` is out of range"),
        ("limit_val_batches", True, r"`limit_val_batches=1` for one batch"),
        ("limit_val_batches", "all", r"`limit_val_batches='all'` is no number"),
        ("limit_test_batches", math.nan, "`limit_test_batches=nan` is out of range"),
        ("overfit_batches", -0.1, "`overfit_batches=-0.1` is out of range"),
        ("val_check_interval", 0, r"leaves no time.*limit_val_batches=0"),
        ("val_check_interval", 1.1, "`val_check_interval=1.1` is out of range"),
        ("val_check_interval", "5 minutes", r"'5 minutes'` is no duration.*DD:HH:MM:SS"),
        ("val_check_interval", {"weekz": 1}, "is no duration"),
        ("check_val_every_n_epoch", 1.5, "`check_val_every_n_epoch=1.5` is no whole number"),
        ("check_val_every_n_epoch", 0, "`check_val_every_n_epoch=0` is out of range"),
        ("num_sanity_val_steps", -2, "`num_sanity_val_steps=-2` is out of range"),
        ("log_every_n_steps", -1, "`log_every_n_steps=-1` is out of range"),
        ("accumulate_grad_batches", 0, "`accumulate_grad_batches=0` is out of range"),
        ("accumulate_grad_batches", {0: 4}, "GradientAccumulationScheduler"),
        ("gradient_clip_val", "1", r"`gradient_clip_val='1'` is of type `str`"),
        ("gradient_clip_val", math.nan, "is not a number"),
        ("gradient_clip_algorithm", "norms", "Did you mean `norm`"),
        ("deterministic", "maybe", "`deterministic='maybe'` is unknown"),
        ("benchmark", "yes", "`benchmark='yes'` is neither True nor False"),
        ("fast_dev_run", -1, "`fast_dev_run=-1` is out of range"),
        ("fast_dev_run", 1.5, "`fast_dev_run=True` for one batch"),
        ("reload_dataloaders_every_n_epochs", -1, "is out of range"),
        ("max_time", "12:00", "`max_time='12:00'` is no duration"),
        ("max_time", 60, "`max_time=60` is no duration"),
        ("max_time", {"hours": -1}, "lies in the past"),
        ("default_root_dir", 3, "`default_root_dir=3` is of type `int`"),
        ("num_nodes", 0, "`num_nodes=0` is out of range"),
        ("model_registry", "mine", "model registry"),
    ],
)
def test_a_value_that_cannot_be_meant_is_an_error_that_says_what_to_write(name, value, message):
    """The received value, what was expected, and what to write instead are in the message."""
    with pytest.raises(MisconfigurationException, match=message) as caught:
        resolve_arguments({name: value})

    assert "Expected" in str(caught.value)


def test_errors_of_value_and_of_type_are_also_the_built_in_ones():
    """Code that catches `ValueError` or `TypeError` keeps working."""
    with pytest.raises(ValueError, match="out of range"):
        resolve_arguments({"num_nodes": 0})
    with pytest.raises(TypeError, match="gradient_clip_val"):
        resolve_arguments({"gradient_clip_val": "1"})


def test_all_problems_are_reported_at_once():
    """Nobody fixes one to meet the next."""
    with pytest.raises(MisconfigurationException, match="4 problems were found") as caught:
        resolve_arguments(
            {
                "max_epochs": -3,
                "limit_val_batches": 2.5,
                "enable_checkpointing": False,
                "callbacks": [Saver()],
                "model_registry": "x",
            }
        )

    for part in ("max_epochs=-3", "limit_val_batches=2.5", "enable_checkpointing=False", "model_registry='x'"):
        assert part in str(caught.value)


def test_barebones_switches_everything_off():
    """Without a word about it, everything that costs time is off."""
    arguments = resolve_arguments({"barebones": True})

    assert not arguments.enable_checkpointing
    assert not arguments.enable_progress_bar
    assert not arguments.enable_model_summary
    assert arguments.loggers_off
    assert arguments.log_every_n_steps == 0
    assert arguments.num_sanity_val_steps == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable_checkpointing", True),
        ("logger", True),
        ("enable_progress_bar", True),
        ("enable_model_summary", True),
        ("log_every_n_steps", 1),
        ("num_sanity_val_steps", 1),
        ("fast_dev_run", 2),
        ("detect_anomaly", True),
        ("profiler", "simple"),
    ],
)
def test_barebones_contradicts_what_costs_time(name, value):
    """The error names the other argument, and is a `ValueError`."""
    with pytest.raises(MisconfigurationValueError, match=f"`{name}=.*barebones=True"):
        resolve_arguments({"barebones": True, name: value})


def test_barebones_agrees_with_what_is_off():
    """False and 0 contradict nothing."""
    arguments = resolve_arguments(
        {"barebones": True, "logger": False, "enable_checkpointing": False, "num_sanity_val_steps": 0}
    )

    assert arguments.barebones


def test_a_fast_run_limits_every_stage():
    """A few batches of each, one epoch, no sanity check, validation at the end."""
    arguments = resolve_arguments({"fast_dev_run": 4, "max_epochs": 9, "val_check_interval": "00:00:01:00"})

    assert arguments.fast_dev_run == 4
    assert (arguments.limit_train_batches, arguments.limit_val_batches) == (4, 4)
    assert (arguments.limit_test_batches, arguments.limit_predict_batches) == (4, 4)
    assert (arguments.max_epochs, arguments.max_steps, arguments.num_sanity_val_steps) == (1, 4, 0)
    assert (arguments.val_check_interval, arguments.val_check_time) == (1.0, None)


@pytest.mark.parametrize(("given", "expected"), [(1, True), (True, True), (0, False), (False, False)])
def test_a_fast_run_of_one_batch_is_the_same_as_true(given, expected):
    """One batch is the usual fast run."""
    assert resolve_arguments({"fast_dev_run": given}).fast_dev_run is expected


def test_overfitting_sets_the_limits_of_training_and_validation():
    """Test and prediction keep theirs, also in a fast run."""
    arguments = resolve_arguments({"overfit_batches": 2, "limit_test_batches": 5})
    fast = resolve_arguments({"overfit_batches": 2, "fast_dev_run": True})

    assert (arguments.limit_train_batches, arguments.limit_val_batches, arguments.limit_test_batches) == (2, 2, 5)
    assert (fast.limit_train_batches, fast.limit_test_batches) == (2, 1)


def test_validation_may_go_by_time():
    """The interval is then in seconds, and no number of batches."""
    arguments = resolve_arguments({"val_check_interval": {"minutes": 2}, "check_val_every_n_epoch": None})

    assert arguments.val_check_time == 120.0
    assert arguments.val_check_interval is None


def test_a_fraction_of_an_epoch_contradicts_counting_across_epochs():
    """A number of batches or a duration is asked for."""
    with pytest.raises(MisconfigurationException, match=r"check_val_every_n_epoch=None.*val_check_interval=1000"):
        resolve_arguments({"val_check_interval": 0.5, "check_val_every_n_epoch": None})


def test_a_callback_contradicts_the_argument_that_switches_it_off():
    """Checkpoints and progress bars are found by their role."""
    with pytest.raises(MisconfigurationException, match=r"enable_checkpointing=False.*`Saver`"):
        resolve_arguments({"enable_checkpointing": False, "callbacks": Saver()})
    with pytest.raises(MisconfigurationException, match=r"enable_progress_bar=False.*`Bar`"):
        resolve_arguments({"enable_progress_bar": False, "callbacks": [Bar()]})


def test_two_progress_bars_are_an_error():
    """They would write to the same lines."""
    with pytest.raises(MisconfigurationException, match="2 progress bars"):
        resolve_arguments({"callbacks": [Bar(), Bar()]})


def test_a_callback_must_be_an_instance_of_one():
    """A class without parentheses is what this usually is."""
    with pytest.raises(MisconfigurationTypeError, match=r"`callbacks\[0\]` is the class `Bar`.*Write `Bar\(\)`"):
        resolve_arguments({"callbacks": [Bar]})


def test_a_deterministic_run_does_not_benchmark():
    """Unless told otherwise, of which it warns."""
    assert resolve_arguments({"deterministic": True}).benchmark is False
    assert resolve_arguments({}).benchmark is None
    with pytest.warns(PossibleUserWarning, match="benchmark=True"):
        assert resolve_arguments({"deterministic": "warn", "benchmark": True}).benchmark is True


def test_it_is_known_which_defaults_were_asked_for():
    """An explicit True makes a missing package an error."""
    arguments = resolve_arguments({"enable_progress_bar": True, "enable_checkpointing": None, "logger": True})

    assert arguments.asked_for == {"enable_progress_bar", "logger"}


@pytest.mark.parametrize(("logger", "off"), [(False, True), ([], True), (None, False), (True, False)])
def test_loggers_are_off_when_told_so(logger, off):
    """None is the default, which is on."""
    assert resolve_arguments({"logger": logger}).loggers_off is off


def test_a_home_directory_is_expanded(monkeypatch, tmp_path):
    """As a shell would."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert resolve_arguments({"default_root_dir": "~/runs"}).default_root_dir == str(tmp_path / "runs")


def test_without_any_limit_training_ends_after_a_thousand_epochs():
    """It is said, because it is rarely meant."""
    with pytest.warns(PossibleUserWarning, match="max_epochs=-1"):
        limits = resolve_loop_limits(resolve_arguments({}), has_timer=False)

    assert limits == (0, 1000)


@pytest.mark.parametrize(
    ("raw", "has_timer", "expected"),
    [
        ({}, True, (0, -1)),
        ({"max_steps": 5}, False, (0, -1)),
        ({"max_epochs": 3, "min_epochs": 2}, False, (2, 3)),
        ({"max_epochs": 3, "min_steps": 2}, False, (1, 3)),
    ],
)
def test_the_limits_of_the_loop_follow_from_what_was_given(raw, has_timer, expected):
    """Another limit takes the place of a number of epochs."""
    assert resolve_loop_limits(resolve_arguments(raw), has_timer=has_timer) == expected
