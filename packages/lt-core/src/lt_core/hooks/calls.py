"""Precomputed hook calls: who really overrides a hook is found once per run, then only called.

A hook that nobody overrides is None in the plan and costs one comparison; the others are one object whose call runs a
tuple of bound functions.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Protocol

from lt_core.hooks.table import HOOKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lt_core.callback import Callback

__all__ = ["HookCall", "HookCalls", "bind_hook", "is_overridden", "resolve_hook_calls"]


class _Position(Protocol):
    """Where the run is: the hook being executed, as the log sink wants to know it."""

    fx: str | None


def _code_of(function: Any) -> Any:
    """Return what tells two implementations apart, looking through partials, wrappers and bound methods."""
    while True:
        if isinstance(function, partial):
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, FunctionType) and "__wrapped__" in function.__dict__:
            function = function.__dict__["__wrapped__"]
        else:
            return getattr(function, "__code__", function)


def is_overridden(name: str, instance: object, parent: type) -> bool:
    """Tell whether ``instance`` implements ``name`` differently from ``parent``.

    A hook attribute that was set to None counts as not overridden.

    Args:
        name: The method's name.
        instance: The object that may override it.
        parent: The base class whose implementation is the default.

    Example:
        >>> from lt_core import Callback
        >>> class Mine(Callback):
        ...     def on_fit_start(self, trainer, pl_module): ...
        >>> is_overridden("on_fit_start", Mine(), Callback), is_overridden("on_fit_end", Mine(), Callback)
        (True, False)
    """
    mine = getattr(instance, name, None)
    if mine is None:
        return False
    default = getattr(parent, name, None)
    return default is None or _code_of(mine) is not _code_of(default)


class HookCall:
    """One hook with everybody who implements it.

    Calling it runs the implementers in order, tells the log sink which hook is running, and returns what the module
    returned; what callbacks return means nothing.
    """

    __slots__ = ("_answers", "_functions", "_position", "may_log", "name")

    def __init__(
        self,
        name: str,
        functions: Iterable[Callable[..., Any]],
        position: _Position,
        *,
        answers: bool = True,
        may_log: bool = True,
    ) -> None:
        self.name = name
        self.may_log = may_log  # whether anybody runs who does not merely read what was logged
        self._functions = tuple(functions)
        self._position = position
        self._answers = answers  # whether the last function is the module's

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The implementers in calling order."""
        return self._functions

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        position = self._position
        outer, position.fx = position.fx, self.name
        result = None
        try:
            for function in self._functions:
                result = function(*args, **kwargs)
        finally:
            position.fx = outer
        return result if self._answers else None


HookCalls = dict[str, "HookCall | None"]


def bind_hook(name: str, owner: object, parent: type, *leading: Any) -> Callable[..., Any] | None:
    """Return the bound implementation of ``name`` with ``leading`` arguments fixed, or None if not overridden."""
    if not is_overridden(name, owner, parent):
        return None
    method = getattr(owner, name)
    return partial(method, *leading) if leading else method


def resolve_hook_calls(
    trainer: object,
    module: object,
    callbacks: Iterable[Callback],
    position: _Position,
    wrap: Callable[[str, object, Callable[..., Any]], Callable[..., Any]] | None = None,
    before_monitors: Callable[[], object] | None = None,
) -> HookCalls:
    """Find who implements each hook that both callbacks and modules have, in calling order.

    Callbacks come first, then the module; in ``on_train_epoch_end`` the callbacks that monitor metrics follow the
    module.

    Args:
        trainer: What callbacks get as their first argument.
        module: The LightningModule, which callbacks get as their second argument.
        callbacks: The callbacks in calling order.
        position: Is told the running hook's name through its attribute ``fx``; normally the log sink.
        wrap: Given the hook's name, the owner and the bound function, returns what to call instead (profilers).
        before_monitors: Called in ``on_train_epoch_end`` before the callbacks that monitor metrics, where there are
            any: what was logged until then is theirs to read.

    Returns:
        For each hook name a `HookCall`, or None where nobody overrides the hook.
    """
    from lt_core.callback import Callback
    from lt_core.module import LightningModule

    listed = list(callbacks)
    calls: HookCalls = {}
    for name, hook in HOOKS.items():
        if "callback" not in hook.owners and not name.startswith("on_"):
            continue
        functions: list[Callable[..., Any]] = []
        answers = False
        late: list[Callable[..., Any]] = []
        if "callback" in hook.owners:
            for callback in listed:
                function = bind_hook(name, callback, Callback, trainer, module)
                if function is None or not callback.uses_hook(name):
                    continue
                function = wrap(name, callback, function) if wrap else function
                (late if name == "on_train_epoch_end" and callback.monitors else functions).append(function)
        if "module" in hook.owners:
            function = bind_hook(name, module, LightningModule)
            if function is not None:
                functions.append(wrap(name, module, function) if wrap else function)
                answers = not late
        may_log = bool(functions)
        if late:
            functions += late if before_monitors is None else [before_monitors, *late]
        calls[name] = HookCall(name, functions, position, answers=answers, may_log=may_log) if functions else None
    return calls
