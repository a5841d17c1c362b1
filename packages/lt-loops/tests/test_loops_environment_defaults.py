"""Arguments from the environment, and arguments that do not exist."""

import pytest

from lt_core.errors import MisconfigurationTypeError
from lt_loops.environment_defaults import with_environment_defaults


class Trainer:
    @with_environment_defaults
    def __init__(self, *, max_epochs=None, accelerator="auto", devices="auto"):
        self.given = (max_epochs, accelerator, devices)


class Special(Trainer):
    pass


class Open:
    @with_environment_defaults
    def __init__(self, *, max_epochs=None, **older):
        self.older = older


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("True", True), ("None", None), ("[0, 1]", [0, 1]), ("gpu", "gpu"), ("00:01:00:00",) * 2],
)
def test_a_variable_is_a_literal_or_its_own_text(monkeypatch, text, value):
    """Numbers and lists are read, names stay names."""
    monkeypatch.setenv("PL_TRAINER_DEVICES", text)

    assert Trainer().given[2] == value


def test_an_argument_wins_over_the_environment(monkeypatch):
    """Also where it is given as its own default."""
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "3")

    assert Trainer(max_epochs=None).given[0] is None
    assert Trainer().given[0] == 3


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    """Schedulers export them."""
    monkeypatch.setenv("PL_TRAINER_ACCELERATOR", "")

    assert Trainer().given[1] == "auto"


def test_a_subclass_reads_the_variables_of_its_own_name(monkeypatch):
    """And not those of its base."""
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "3")
    monkeypatch.setenv("PL_SPECIAL_MAX_EPOCHS", "4")

    assert Special().given[0] == 4


def test_a_misspelled_variable_is_warned_of(monkeypatch):
    """One that is near to nothing may be somebody else's."""
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCH", "3")
    monkeypatch.setenv("PL_TRAINER_QQQQ", "3")

    with pytest.warns(UserWarning, match="Did you mean `PL_TRAINER_MAX_EPOCHS`") as caught:
        Trainer()

    assert len(caught) == 1


def test_an_unknown_argument_is_an_error_with_the_nearest_name():
    """It is a `TypeError`, as Python's own."""
    with pytest.raises(TypeError, match=r"unknown argument `max_epoch`. Did you mean `max_epochs`"):
        Trainer(max_epoch=3)
    with pytest.raises(
        MisconfigurationTypeError, match=r"2 unknown arguments: `device` \(did you mean `devices`\?\), `x`"
    ):
        Trainer(device=1, x=2)


def test_an_argument_by_position_is_an_error_that_shows_the_name():
    """There is no first argument to remember."""
    with pytest.raises(TypeError, match=r"by position.*`Trainer\(max_epochs=3\)`"):
        Trainer(3)


def test_a_constructor_that_takes_anything_judges_for_itself():
    """Older names are translated there."""
    assert Open(gpus=1).older == {"gpus": 1}


def test_the_signature_stays_visible():
    """Help and tools see the arguments."""
    import inspect

    assert list(inspect.signature(Trainer).parameters) == ["max_epochs", "accelerator", "devices"]
