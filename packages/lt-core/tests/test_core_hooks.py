"""The hook table, the base classes that it describes, the calls resolved from it and the page written from it."""

from __future__ import annotations

import inspect
from functools import partial, wraps
from pathlib import Path
from types import SimpleNamespace

import pytest

from lt_core import Callback, DataHooks, LightningModule
from lt_core.hooks import CALL_ORDER, HOOKS, Block, hook_names, is_overridden, resolve_hook_calls
from lt_core.hooks.page import hooks_page
from lt_core.module_hooks import ModelHooks
from lt_core.testing import BoringModel, RecordingCallback, RecordingModule

WITHOUT_TRAINER = {"state_dict", "load_state_dict"}
NOT_HOOKS = {"uses_hook", "state_key", "role", "monitors", *WITHOUT_TRAINER}
PAGE = Path(__file__).parents[3] / "docs" / "hooks.md"


def _parameters(function: object) -> list[str]:
    names = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    return names[1:]


def _public_methods(cls: type) -> set[str]:
    return {name for name, value in vars(cls).items() if inspect.isfunction(value) and name[0] != "_"}


@pytest.mark.parametrize("name", hook_names("callback"))
def test_a_callback_hook_of_the_table_exists_with_its_parameters(name: str) -> None:
    """The base class has the method, with trainer and module before the table's parameters."""
    method = getattr(Callback, name)

    assert _parameters(method) == ["trainer", "pl_module", *HOOKS[name].parameters]


@pytest.mark.parametrize("name", hook_names("module"))
def test_a_module_hook_of_the_table_exists_with_its_parameters(name: str) -> None:
    """The base class has the method; steps take anything, the others take the table's parameters."""
    method = getattr(LightningModule, name)

    if name in ("training_step", "validation_step", "test_step", "predict_step"):
        assert str(inspect.signature(method)).startswith("(self, *args")
    else:
        assert _parameters(method) == list(HOOKS[name].parameters)


def test_every_method_of_the_callback_class_is_a_hook_of_the_table() -> None:
    """No hook of the base class is missing from the table."""
    assert _public_methods(Callback) - NOT_HOOKS == set(hook_names("callback"))


def test_every_method_of_the_hook_mixins_is_a_hook_of_the_table() -> None:
    """No hook of the modules' and data modules' base classes is missing from the table."""
    steps = {"training_step", "validation_step", "test_step", "predict_step", "configure_gradient_clipping"}

    assert _public_methods(ModelHooks) | _public_methods(DataHooks) | steps == set(hook_names("module"))
    assert _public_methods(DataHooks) | {"on_exception"} == set(hook_names("datamodule"))


def test_optional_parameters_of_the_table_have_defaults_in_the_base_classes() -> None:
    """What a user may leave out, the base class gives a default."""
    for name in hook_names("callback"):
        parameters = list(inspect.signature(getattr(Callback, name)).parameters.values())
        defaults = sum(parameter.default is not parameter.empty for parameter in parameters)

        assert defaults == HOOKS[name].optional, name


def test_the_call_order_holds_every_hook_that_a_run_calls() -> None:
    """Each hook of the table stands in the order, except those that come with an event."""

    def names(order: tuple[object, ...]) -> set[str]:
        return {name for entry in order for name in (names(entry.body) if isinstance(entry, Block) else {entry})}

    found = set().union(*(names(order) for order in CALL_ORDER.values()))

    assert set(HOOKS) - found == {"configure_sharded_model", "on_exception", "on_save_checkpoint"}
    assert found <= set(HOOKS)


@pytest.mark.skipif(not PAGE.parent.exists(), reason="the documentation is not beside the package")
def test_the_page_of_the_documentation_is_the_one_written_from_the_table() -> None:
    """docs/hooks.md is up to date; write it anew with `python -m lt_core.hooks.page > docs/hooks.md`."""
    assert PAGE.read_text(encoding="utf-8") == hooks_page()


def test_calls_come_from_callbacks_first_then_from_the_module() -> None:
    """The resolved call runs the callbacks in their order, then the module."""
    module = RecordingModule()
    callbacks = [RecordingCallback(module.calls, "first"), RecordingCallback(module.calls, "second")]

    calls = resolve_hook_calls(object(), module, callbacks, SimpleNamespace(fx=None))
    calls["on_train_start"]()

    assert [call.who for call in module.calls] == ["first", "second", "module"]


def test_a_hook_nobody_overrides_resolves_to_none() -> None:
    """An empty hook costs one comparison."""
    calls = resolve_hook_calls(object(), BoringModel(), [Callback()], SimpleNamespace(fx=None))

    assert all(call is None for call in calls.values())
    assert "training_step" not in calls


def test_a_call_names_its_hook_while_it_runs_and_puts_the_outer_one_back() -> None:
    """Nested hooks see their own name; an exception puts the outer name back too."""
    position = SimpleNamespace(fx="outer")
    seen = []

    class Failing(Callback):
        def on_train_start(self, trainer, pl_module):
            seen.append(position.fx)
            raise RuntimeError

    calls = resolve_hook_calls(object(), BoringModel(), [Failing()], position)
    with pytest.raises(RuntimeError):
        calls["on_train_start"]()

    assert seen == ["on_train_start"]
    assert position.fx == "outer"


@pytest.mark.parametrize("overridden", [False, True])
def test_only_the_module_answers_a_hook(overridden: bool) -> None:
    """What a callback returns is dropped, also where the module does not have the hook."""

    class Answering(Callback):
        def on_train_batch_start(self, *args):
            return -1

    class Module(BoringModel):
        def on_train_batch_start(self, batch, batch_idx):
            return 5

    module = Module() if overridden else BoringModel()
    calls = resolve_hook_calls(object(), module, [Answering()], SimpleNamespace(fx=None))

    assert calls["on_train_batch_start"](None, 0) == (5 if overridden else None)


def test_a_wrapper_may_stand_around_every_call() -> None:
    """`wrap` gets the hook, its owner and the bound function, and what it returns is called."""
    seen = []
    callback = RecordingCallback()

    def wrap(name, owner, function):
        return lambda *args: (seen.append((name, owner)), function(*args))

    calls = resolve_hook_calls(object(), BoringModel(), [callback], SimpleNamespace(fx=None), wrap)
    calls["on_fit_start"]()

    assert seen == [("on_fit_start", callback)]
    assert len(callback.calls) == 1


def test_overriding_is_seen_through_partials_wrappers_and_instance_attributes() -> None:
    """What counts is whether the code differs from the base class's."""

    class Plain(Callback):
        pass

    class Wrapped(Callback):
        @wraps(Callback.on_fit_start)
        def on_fit_start(self, trainer, pl_module):
            """Only passes on to the base class."""

    assigned, switched_off, bound = Plain(), RecordingCallback(), Plain()
    assigned.on_fit_start = lambda trainer, pl_module: None
    switched_off.on_fit_start = None
    bound.on_fit_start = partial(Callback.on_fit_start, bound)

    assert not is_overridden("on_fit_start", Plain(), Callback)
    assert not is_overridden("on_fit_start", Wrapped(), Callback)
    assert not is_overridden("on_fit_start", bound, Callback)
    assert not is_overridden("on_fit_start", switched_off, Callback)
    assert is_overridden("on_fit_start", assigned, Callback)
    assert is_overridden("on_fit_start", RecordingCallback(), Callback)
