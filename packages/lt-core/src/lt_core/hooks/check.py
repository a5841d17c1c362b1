"""Checks of what users wrote against the hook table: names and signatures, before anything runs."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, TypeVar

from lt_core.errors import LtError, MisconfigurationException
from lt_core.hooks.calls import is_overridden
from lt_core.hooks.table import HOOKS, Hook, Owner, hook_names

__all__ = ["REMOVED_HOOKS", "check_hooks", "not_a_hook"]

_F = TypeVar("_F", bound=Callable[..., Any])

REMOVED_HOOKS: dict[str, str] = {
    "training_epoch_end": "collect what you need in `training_step` and write `on_train_epoch_end(self)`",
    "validation_epoch_end": "collect what you need in `validation_step` and write `on_validation_epoch_end(self)`",
    "test_epoch_end": "collect what you need in `test_step` and write `on_test_epoch_end(self)`",
    "training_step_end": "write its body at the end of `training_step`",
    "validation_step_end": "write its body at the end of `validation_step`",
    "test_step_end": "write its body at the end of `test_step`",
    "on_epoch_start": "write `on_train_epoch_start`",
    "on_epoch_end": "write `on_train_epoch_end`",
    "on_batch_start": "write `on_train_batch_start(self, batch, batch_idx)`",
    "on_batch_end": "write `on_train_batch_end(self, outputs, batch, batch_idx)`",
    "on_pretrain_routine_start": "write `on_fit_start`",
    "on_pretrain_routine_end": "write `on_fit_start`",
    "on_init_start": "write `setup`",
    "on_init_end": "write `setup`",
    "on_keyboard_interrupt": "write `on_exception(self, trainer, pl_module, exception)`",
    "on_configure_sharded_model": "write `setup`",
    "on_before_accelerator_backend_setup": "write `setup`",
    "on_predict_dataloader": "write `predict_dataloader`",
    "on_train_dataloader": "write `train_dataloader`",
    "on_val_dataloader": "write `val_dataloader`",
    "on_test_dataloader": "write `test_dataloader`",
}
"""Hooks of earlier versions that are never called now, with what to write instead."""

_NOT_A_HOOK = "__lt_not_a_hook__"


def not_a_hook(function: _F) -> _F:
    """Mark a method whose name resembles a hook's and that is meant to be something else.

    Example:
        >>> @not_a_hook
        ... def training_steps(self): ...
    """
    setattr(function, _NOT_A_HOOK, True)
    return function


def _user_methods(instance: object, base: type) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions that classes below ``base`` define, the most derived first."""
    seen: set[str] = set()
    for cls in type(instance).__mro__:
        if cls is base or cls.__module__.split(".")[0] in ("torch", "builtins") or issubclass(base, cls):
            continue
        for name, value in vars(cls).items():
            function = inspect.unwrap(value) if callable(value) else value
            if name not in seen and isinstance(function, FunctionType):
                seen.add(name)
                yield name, function


def _names_used(code: CodeType) -> set[str]:
    """Return the attribute names that a code object and the ones nested in it refer to."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names_used(constant)
    return names


def _one_edit_apart(left: str, right: str) -> bool:
    """Tell whether one character was dropped, added, replaced, or swapped with its neighbour."""
    short, long = sorted((left, right), key=len)
    at = next((index for index, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    swapped = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return swapped or short[at + 1 :] == long[at + 1 :]


def _looks_like(name: str, known: tuple[str, ...]) -> str | None:
    """Return the hook that ``name`` is a misspelling of, or None.

    One typing mistake always counts. Beyond that names must begin alike: ``get_dataloader`` is nobody's
    ``test_dataloader``.
    """
    for hook in known:
        if _one_edit_apart(name, hook):
            return hook
    cutoff = 0.8 if name.startswith("on_") else 0.88
    alike = [hook for hook in known if hook[0] == name[0]]
    found = difflib.get_close_matches(name, alike, n=1, cutoff=cutoff)
    if found:
        return found[0]
    folded = {hook.replace("_", ""): hook for hook in known}
    return folded.get(name.replace("_", "").lower())


def _misspelled(instance: object, base: type, owner: Owner) -> Iterator[LtError]:
    known = hook_names(owner)
    methods = dict(_user_methods(instance, base))
    used: set[str] = set()
    for function in methods.values():
        used |= _names_used(function.__code__)
    for name, function in methods.items():
        if name.startswith("_") or name in known or name in used or getattr(function, _NOT_A_HOOK, False):
            continue
        where = f"`{type(instance).__name__}.{name}`"
        if name in REMOVED_HOOKS:
            yield MisconfigurationException(
                f"{where} is a hook of an earlier version and would never be called. "
                f"Expected a hook of today: {REMOVED_HOOKS[name]}."
            )
            continue
        if name in dir(base):
            continue
        hook = _looks_like(name, known)
        if hook is not None:
            yield MisconfigurationException(
                f"{where} is no hook and would never be called: did you mean `{hook}`? Rename it, or decorate it with "
                f"`@lt_core.not_a_hook` if it is meant to be a method of its own."
            )


def _signature_problem(hook: Hook, method: Callable[..., Any], owner: Owner) -> str | None:
    """Return why ``method`` cannot be called as the table says, or None."""
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return None
    leading = ("trainer", "pl_module") if owner == "callback" and hook.name not in _WITHOUT_TRAINER else ()
    parameters = (*leading, *hook.parameters)
    for count in range(len(parameters), len(parameters) - hook.optional - 1, -1):
        try:
            signature.bind(*(None,) * count)
        except TypeError:
            continue
        return None
    if hook.keywords or hook.optional:
        try:
            signature.bind(*leading, **dict.fromkeys(hook.parameters))
        except TypeError:
            pass
        else:
            return None
    return (
        f"takes {signature}, but it is called with ({', '.join(parameters)}). "
        f"Write `def {hook.name}(self{''.join(', ' + parameter for parameter in parameters)})`."
    )


_WITHOUT_TRAINER = frozenset({"state_dict", "load_state_dict"})


def check_hooks(instance: object, base: type, owner: Owner) -> list[LtError]:
    """Find misspelled and outdated hooks and wrong signatures of a module, callback or data module.

    A method whose name resembles a hook's is no mistake when other code of the class refers to it, or when it is
    decorated with `not_a_hook`.

    Args:
        instance: What the user wrote.
        base: The base class that holds the defaults: `LightningModule`, `Callback` or the data module's class.
        owner: Which column of the table applies.

    Returns:
        The problems, empty when there are none.

    Example:
        >>> from lt_core import Callback
        >>> class Mine(Callback):
        ...     def on_train_epoch_ends(self, trainer, pl_module): ...
        >>> print(check_hooks(Mine(), Callback, "callback")[0])  # doctest: +ELLIPSIS
        `Mine.on_train_epoch_ends` is no hook and would never be called: did you mean `on_train_epoch_end`? ...
    """
    problems = list(_misspelled(instance, base, owner))
    for name in hook_names(owner):
        if not is_overridden(name, instance, base):
            continue
        method = getattr(instance, name)
        if not callable(method):
            text = f"is {method!r}, which cannot be called. Expected a method, or None to switch the hook off."
        else:
            text = _signature_problem(HOOKS[name], method, owner) or ""
        if text:
            problems.append(MisconfigurationException(f"`{type(instance).__name__}.{name}` {text}"))
    return problems
