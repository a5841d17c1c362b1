"""Hyperparameters: what `save_hyperparameters` keeps, merges, leaves out and refuses."""

import copy
import dataclasses
import io
import threading
import warnings
from argparse import Namespace
from collections.abc import Iterator, MutableMapping
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn

from lt_core import hparams as hparams_module
from lt_core.attribute_dict import AttributeDict
from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_core.hparams import HyperparametersMixin, given_hyperparameters, unpicklable_hparams
from lt_core.rank_zero import LightningDeprecationWarning


class Base(HyperparametersMixin, nn.Module):
    """A module without arguments of its own."""


class Plain(Base):
    def __init__(self, width, depth=2, *sizes, rate=0.1, **rest):
        super().__init__()
        self.save_hyperparameters()


class Config(MutableMapping[str, Any]):
    """A container with a type of its own, as OmegaConf has one."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __copy__(self) -> "Config":
        return Config(dict(self.values))

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.values[key] = value

    def __delitem__(self, key: str) -> None:
        del self.values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


def saved(*args: Any, **options: Any) -> Base:
    """A module whose `__init__(a, b, c)` saves in the given way."""

    class Saved(Base):
        def __init__(self, a: int, b: str = "b", c: float = 3.0) -> None:
            super().__init__()
            self.save_hyperparameters(*args, **options)

    return Saved(1)


# ---------------------------------------------------------------------------------------------- what is collected


def test_all_arguments_are_kept_with_defaults_and_flattened_kwargs():
    """`self` and `*args` are not among them; attributes and items both work."""
    model = Plain(8, 3, 64, 32, extra="x")

    assert dict(model.hparams) == {"width": 8, "depth": 3, "rate": 0.1, "extra": "x"}
    assert model.hparams.width == model.hparams["width"] == 8
    assert model.hparams_name == "kwargs"


def test_base_class_collects_the_whole_chain_and_the_most_derived_value_wins():
    """The call stands in the base; the derived class renamed nothing and changed a value on its way up."""

    class Parent(Base):
        def __init__(self, width, shared):
            super().__init__()
            self.save_hyperparameters()

    class Child(Parent):
        def __init__(self, own, shared="child"):
            super().__init__(width=2 * own, shared="changed on the way")

    model = Child(5)

    assert dict(model.hparams) == {"width": 10, "shared": "child", "own": 5}


def test_calls_in_base_and_derived_class_merge():
    """Each level may call it."""

    class Parent(Base):
        def __init__(self, a=1):
            super().__init__()
            self.save_hyperparameters()

    class Child(Parent):
        def __init__(self, b, **kwargs):
            super().__init__(**kwargs)
            self.save_hyperparameters("b")
            self.save_hyperparameters({"c": 3})

    assert dict(Child(2, a=7).hparams) == {"b": 2, "a": 7, "c": 3}


def test_arguments_of_another_object_under_construction_are_not_mixed_in():
    """A module made inside the `__init__` of another keeps its own arguments only."""

    class Outer(Base):
        def __init__(self, a="outer", only_outer=True):
            super().__init__()
            self.inner = Plain(width=4)
            self.save_hyperparameters()

    model = Outer()

    assert dict(model.inner.hparams) == {"width": 4, "depth": 2, "rate": 0.1}
    assert dict(model.hparams) == {"a": "outer", "only_outer": True}


def test_call_through_a_helper_method_and_a_wrapped_init_are_understood():
    """Frames in between do not end the search."""

    def wrapping(init):
        def wrapper(self, *args, **kwargs):
            return init(self, *args, **kwargs)

        return wrapper

    class Parent(Base):
        @wrapping
        def __init__(self, a):
            super().__init__()
            self.keep()

        def keep(self):
            self.save_hyperparameters()

    class Child(Parent):
        def __init__(self, b):
            super().__init__(a=b + 1)

    assert dict(Child(1).hparams) == {"a": 2, "b": 1}


def test_call_before_the_module_is_initialised_works():
    """`nn.Module.__init__` neither needs to come first nor forgets what was kept."""

    class Early(Base):
        def __init__(self, a):
            self.save_hyperparameters()
            super().__init__()
            self.layer = nn.Linear(1, 1)

    assert dict(Early(3).hparams) == {"a": 3}
    assert Early(3).log_hyperparams_enabled


def test_init_without_zero_argument_super_is_understood():
    """Older code names the base class."""

    class Old(Base):
        def __init__(self, a):
            nn.Module.__init__(self)
            self.save_hyperparameters()

    assert dict(Old(3).hparams) == {"a": 3}


def test_dataclass_contributes_its_fields_as_they_are():
    """Default factories are called, `__post_init__` may change a value, InitVars are arguments, too."""

    @dataclasses.dataclass(eq=False)
    class Model(HyperparametersMixin):
        width: int
        sizes: list[int] = dataclasses.field(default_factory=lambda: [1, 2])
        scale: dataclasses.InitVar[int] = 3
        total: int = dataclasses.field(init=False, default=0)

        def __post_init__(self, scale):
            self.width *= scale
            self.save_hyperparameters()

    assert dict(Model(2).hparams) == {"width": 6, "sizes": [1, 2], "scale": 3}


def test_frame_says_where_to_look():
    """A helper that saves for an object hands the frame of its caller on."""

    class Model(Base):
        def __init__(self, a):
            super().__init__()
            import inspect

            self.save_hyperparameters(frame=inspect.currentframe())

    assert dict(Model(4).hparams) == {"a": 4}


def test_call_outside_of_init_says_that_nothing_is_kept():
    """There are no arguments any more."""
    with pytest.warns(UserWarning, match=r"`Base\.save_hyperparameters\(\)` was called outside of `__init__`.*Call it"):
        Base().save_hyperparameters()


def test_configuration_that_is_given_from_outside_replaces_the_arguments():
    """A command line notes what the user wrote, not the objects that were made of it."""
    with given_hyperparameters({"width": {"class_path": "W"}}, instantiator="cli.make"):
        model = Plain(width=object())
    after = Plain(width=1)

    assert dict(model.hparams) == {"width": {"class_path": "W"}, "_instantiator": "cli.make"}
    assert "_instantiator" not in after.hparams


# --------------------------------------------------------------------------------------------- names and mappings


def test_named_arguments_only():
    """Strings pick arguments."""
    assert dict(saved("a", "c").hparams) == {"a": 1, "c": 3.0}


def test_name_that_is_no_argument_is_an_error_with_the_nearest_one():
    """A typo is found where it stands."""

    class Model(Base):
        def __init__(self, learning_rate):
            super().__init__()
            self.save_hyperparameters("learning_rat")

    with pytest.raises(MisconfigurationValueError, match=r"'learning_rat'.*Did you mean `learning_rate`\?"):
        Model(0.1)


@pytest.mark.parametrize(
    "container", [{"x": 1, "y": 2}, Namespace(x=1, y=2), MappingProxyType({"x": 1, "y": 2}), AttributeDict(x=1, y=2)]
)
def test_one_mapping_becomes_the_hyperparameters_and_its_argument_is_named(container):
    """The name says to which argument the whole is given back."""

    class Model(Base):
        def __init__(self, other, config):
            super().__init__()
            self.save_hyperparameters(config)

    model = Model(torch.zeros(3), container)

    assert dict(model.hparams) == {"x": 1, "y": 2}
    assert isinstance(model.hparams, AttributeDict)
    assert model.hparams_name == "config"


def test_equal_mapping_is_named_and_an_unrelated_one_is_not():
    """A copy of an argument still belongs to it."""

    class Model(Base):
        def __init__(self, config, *, unrelated=False):
            super().__init__()
            self.save_hyperparameters({"z": 1} if unrelated else dict(config))

    assert Model({"x": 1}).hparams_name == "config"
    assert Model({"x": 1}, unrelated=True).hparams_name is None


def test_container_of_another_kind_keeps_its_type_and_is_not_changed():
    """OmegaConf containers stay what they are; `ignore` acts on a copy."""
    config = Config({"x": 1, "secret": 2})

    class Model(Base):
        def __init__(self, config):
            super().__init__()
            self.save_hyperparameters(config, ignore="secret")
            self.save_hyperparameters(config, ignore="secret")

    model = Model(config)

    assert type(model.hparams) is Config
    assert dict(model.hparams) == {"x": 1}
    assert dict(config) == {"x": 1, "secret": 2}
    assert model.hparams_name == "config"


def test_container_of_another_kind_after_other_hyperparameters_loses_none():
    """Calls merge whatever the kinds."""

    class Model(Base):
        def __init__(self, a, config):
            super().__init__()
            self.save_hyperparameters("a")
            self.save_hyperparameters(config)

    assert dict(Model(1, Config({"x": 2})).hparams) == {"a": 1, "x": 2}


@pytest.mark.parametrize("empty", [None, {}, []])
def test_empty_container_changes_nothing(empty):
    """An optional configuration that was not given."""
    model = Plain(1)
    before = dict(model.hparams)

    model.save_hyperparameters(empty)

    assert dict(model.hparams) == before


@pytest.mark.parametrize("value", [1, 0, 2.5, True, [1], ("a", 1), torch.zeros(2)])
def test_value_that_is_no_mapping_is_an_error(value):
    """It is a ValueError, too, and says what is expected."""
    with pytest.raises(MisconfigurationValueError, match=r"A dictionary, an argparse\.Namespace.*was expected.*Write"):
        saved(value)


def test_mixture_of_names_and_mappings_is_an_error():
    """Nothing of it is dropped silently."""
    with pytest.raises(MisconfigurationTypeError, match="Call it once for each mapping"):
        saved("a", {"x": 1})


def test_assigned_mapping_becomes_the_hyperparameters(monkeypatch):
    """The form of before 1.3, with the modern one said once."""
    monkeypatch.setattr(hparams_module, "_warnings", hparams_module.WarningCache())

    class Old(Base):
        def __init__(self, hparams):
            super().__init__()
            self.hparams = hparams

    with pytest.warns(LightningDeprecationWarning, match=r"self\.save_hyperparameters\(hparams\)"):
        model = Old(Namespace(lr=0.1))
    second = Old({"lr": 0.2})

    assert model.hparams.lr == 0.1
    assert model.hparams_name == "hparams"
    assert model.log_hyperparams_enabled
    assert dict(second.hparams) == dict(second.hparams_initial) == {"lr": 0.2}


@pytest.mark.filterwarnings("ignore::lt_core.rank_zero.LightningDeprecationWarning")
def test_assignment_replaces_and_works_before_the_module_is_initialised():
    """After `x.hparams = d`, `x.hparams == d`."""

    class Old(Base):
        def __init__(self, hparams):
            self.hparams = {"other": 1}
            self.hparams = hparams
            super().__init__()

    model = Old(MappingProxyType({"lr": 0.1}))

    assert dict(model.hparams) == {"lr": 0.1}


@pytest.mark.parametrize("value", [3, "text", [1], None])
def test_assigned_value_that_is_no_mapping_is_an_error(value):
    """The message speaks of the assignment."""
    with pytest.raises(MisconfigurationValueError, match=r"self\.hparams = \.\.\. got .*mapping was expected"):
        Base().hparams = value


# ------------------------------------------------------------------------------------------------- left out, kept


@pytest.mark.parametrize("ignore", ["b", ["b"], ("b",), {"b"}])
def test_ignored_names_are_left_out(ignore):
    """One name or several."""
    assert dict(saved(ignore=ignore).hparams) == {"a": 1, "c": 3.0}


def test_ignored_names_are_taken_out_of_a_mapping_and_of_what_a_base_class_kept():
    """Also from the initial ones, which loggers receive."""

    class Parent(Base):
        def __init__(self, a, secret):
            super().__init__()
            self.save_hyperparameters()

    class Child(Parent):
        def __init__(self, a, secret, config):
            super().__init__(a, secret)
            self.save_hyperparameters(config, ignore=["secret", "token"])

    model = Child(1, "s", {"token": 2, "x": 3})

    assert dict(model.hparams) == dict(model.hparams_initial)
    assert "secret" not in model.hparams
    assert "token" not in model.hparams
    assert model.hparams.x == 3


def test_name_that_is_both_wanted_and_ignored_is_an_error():
    """The two contradict each other."""
    with pytest.raises(MisconfigurationValueError, match="both as a name to keep and in `ignore`"):
        saved("a", ignore="a")


def test_ignore_that_holds_no_names_is_an_error():
    """A module instead of its name would be passed over silently."""
    with pytest.raises(MisconfigurationTypeError, match=r"in `ignore`.*names of arguments were expected"):
        saved(ignore=[nn.Linear])
    with pytest.raises(MisconfigurationTypeError, match=r"got 3 in `ignore`"):
        saved(ignore=3)


def test_removed_hyperparameters_may_be_missing():
    """Names that are not there are passed over."""
    model = Plain(1)

    model.remove_ignored_hparams(["width", "nothing"])

    assert "width" not in model.hparams


def test_module_among_the_hyperparameters_is_warned_of_once():
    """Its weights would be stored twice; a later call about something else does not repeat it."""

    class Model(Base):
        def __init__(self, backbone):
            super().__init__()
            self.save_hyperparameters()
            self.save_hyperparameters({"other": 1})

    with pytest.warns(UserWarning, match=r"'backbone' is an `nn\.Module`.*ignore=\['backbone'\]") as caught:
        Model(nn.Linear(1, 1))

    assert len(caught) == 1


def test_last_call_decides_about_logging():
    """Nothing saved: nothing logged."""
    model = Base()
    assert not model.log_hyperparams_enabled

    model.save_hyperparameters({"a": 1})
    assert model.log_hyperparams_enabled
    model.save_hyperparameters({"b": 1}, logger=False)
    assert not model.log_hyperparams_enabled


# --------------------------------------------------------------------------------------------------------- copies


def test_initial_hyperparameters_stay_as_they_were():
    """Neither changes of values in place, nor changes of the returned copy reach them."""
    sizes = [1, 2]
    model = Plain(sizes)

    sizes.append(3)
    model.hparams.depth = 99
    model.hparams_initial["width"].append(4)

    assert model.hparams.width == [1, 2, 3]
    assert dict(model.hparams_initial) == {"width": [1, 2], "depth": 2, "rate": 0.1}


def test_value_that_cannot_be_copied_is_kept_and_the_others_are_still_copied():
    """An open file or a lock is no reason to fail in `__init__`."""
    lock = threading.Lock()
    sizes = [1]
    model = Plain(lock, depth=sizes)

    sizes.append(2)

    assert model.hparams_initial["width"] is lock
    assert model.hparams_initial["depth"] == [1]


def test_each_object_has_its_own_and_an_empty_one_has_none():
    """Nothing is shared through the class."""
    first, second = Base(), Base()

    first.hparams["a"] = 1

    assert dict(first.hparams) == {"a": 1}
    assert dict(second.hparams) == dict(second.hparams_initial) == {}
    assert second.hparams_name is None


def test_hyperparameters_travel_with_copies_of_the_object():
    """A deep copy has its own."""
    model = Plain(1)

    other = copy.deepcopy(model)
    other.hparams.width = 2

    assert (model.hparams.width, other.hparams.width) == (1, 2)
    assert other.hparams_name == "kwargs"


def test_values_that_cannot_be_pickled_are_named(tmp_path):
    """For the trainer, which takes them out before it saves."""
    with (tmp_path / "file").open("w") as file:
        names = unpicklable_hparams(
            {"lr": 0.1, "loss": lambda x: x, "lock": threading.Lock(), "file": file, "rows": (i for i in [1])}
        )

    assert names == ["loss", "lock", "file", "rows"]


def test_hyperparameters_can_be_saved_by_torch_and_read_safely():
    """As a plain dictionary, which is what goes into a checkpoint."""
    buffer = io.BytesIO()

    torch.save(dict(Plain(1).hparams), buffer)
    buffer.seek(0)

    assert torch.load(buffer, weights_only=True) == {"width": 1, "depth": 2, "rate": 0.1}


def test_no_warning_is_raised_on_the_modern_path():
    """A plain module prints nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert Plain(1).hparams.width == 1
