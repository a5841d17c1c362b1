"""The callbacks of a run: the user's, the defaults that installed packages provide, the module's own, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from lt_core.callback import Callback
from lt_core.errors import LtError, MisconfigurationException, MisconfigurationTypeError
from lt_core.hooks import is_overridden
from lt_core.rank_zero import rank_zero_info
from lt_core.roles import load_role, require_role

if TYPE_CHECKING:
    from lt_loops.arguments import Arguments

__all__ = ["StateKeyError", "build_callbacks", "merge_callbacks", "reorder"]

FACTORY_GROUPS = ("lt.callbacks_factory", "lightning.pytorch.callbacks_factory")
"""Entry-point groups whose functions return callbacks that every trainer gets."""


class StateKeyError(LtError, RuntimeError):
    """Two callbacks with state share a key, so that one's state would overwrite the other's."""


def build_callbacks(given: Any, arguments: Arguments, wanted: dict[str, bool | None]) -> list[Callback]:
    """Return the trainer's callbacks: the given list, extended in place by the defaults, in order.

    Args:
        given: None, a callback, or a list of them.
        arguments: The resolved arguments.
        wanted: For ``checkpoint``, ``progress_bar`` and ``model_summary``, what the user asked for: True, False, or
            None when it was left at its default.

    Raises:
        MissingPackageError: A role was asked for explicitly and nobody fills it.
        StateKeyError: Two callbacks with state have the same key.
    """
    callbacks = _as_list(given)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise MisconfigurationTypeError(
                f"`Trainer(callbacks=…)` got {callback!r}, a {type(callback).__name__}. Expected callbacks: derive "
                "from "
                "`lt.Callback`, and pass an instance, not the class."
            )
    enabled = {
        "checkpoint": arguments.enable_checkpointing,
        "progress_bar": arguments.enable_progress_bar,
        "model_summary": arguments.enable_model_summary,
    }
    _add_default(callbacks, "checkpoint", enabled, wanted)
    if arguments.max_time is not None:
        if _has(callbacks, "timer"):
            rank_zero_info("`Trainer(max_time=…)` is ignored: the callbacks hold a Timer already.")
        else:
            timer = require_role("timer", f"`Trainer(max_time={arguments.max_time!r})`")
            callbacks.append(timer(duration=arguments.max_time, interval="step"))
    _add_default(callbacks, "progress_bar", enabled, wanted)
    _add_default(callbacks, "model_summary", enabled, wanted)
    for factory in _factories():
        callbacks.extend(_as_list(factory()))
    _check_state_keys(callbacks)
    callbacks[:] = reorder(callbacks)
    return callbacks


def _as_list(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, list):
        return given
    return list(given) if isinstance(given, Iterable) and not isinstance(given, Callback) else [given]


def _has(callbacks: Sequence[Callback], role: str) -> bool:
    return any(callback.role == role for callback in callbacks)


def _add_default(
    callbacks: list[Callback], role: str, enabled: dict[str, bool], wanted: dict[str, bool | None]
) -> None:
    if not enabled[role]:
        return
    if _has(callbacks, role):
        if role == "progress_bar" and sum(callback.role == role for callback in callbacks) > 1:
            raise MisconfigurationException(
                f"`Trainer(callbacks={callbacks!r})` holds several progress bars. Expected one at most: remove the "
                "others."
            )
        return
    asked = wanted.get(role)
    factory = require_role(role, f"`Trainer(enable_{_ARGUMENTS[role]}=True)`") if asked else load_role(role)
    made = factory() if factory is not None else None
    if made is not None:
        callbacks.append(made)


_ARGUMENTS = {"checkpoint": "checkpointing", "progress_bar": "progress_bar", "model_summary": "model_summary"}


@lru_cache(maxsize=1)
def _factories() -> tuple[Any, ...]:
    return tuple(point.load() for group in FACTORY_GROUPS for point in entry_points(group=group))


def _check_state_keys(callbacks: Sequence[Callback]) -> None:
    seen: dict[str, Callback] = {}
    for callback in callbacks:
        if not is_overridden("state_dict", callback, Callback):
            continue
        other = seen.setdefault(callback.state_key, callback)
        if other is not callback:
            raise StateKeyError(
                f"Two callbacks have the state key {callback.state_key!r}: {other!r} and {callback!r}. Expected "
                "different keys, "
                "or one state would overwrite the other: give them different arguments, or override `state_key`."
            )


def reorder(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return the callbacks with tuners first and checkpoints last; else the order stays.

    Example:
        >>> from lt_core import Callback, Checkpoint
        >>> [type(callback).__name__ for callback in reorder([Checkpoint(), Callback()])]
        ['Callback', 'Checkpoint']
    """
    rank = {"tuner": 0, "checkpoint": 2}
    return sorted(callbacks, key=lambda callback: rank.get(callback.role or "", 1))


def merge_callbacks(callbacks: list[Callback], from_module: Any) -> list[Callback]:
    """Return the trainer's callbacks with those that the module brings; one of the same class takes the other's place.

    Args:
        callbacks: The trainer's.
        from_module: What ``configure_callbacks`` returned.
    """
    brought = _as_list(from_module)
    if not brought:
        return callbacks
    classes = {type(callback) for callback in brought}

    def replaced(callback: Callback) -> bool:
        kind = type(callback)
        return kind is not Callback and any(issubclass(cls, kind) for cls in classes)

    dropped = [type(callback).__name__ for callback in callbacks if replaced(callback)]
    if dropped:
        rank_zero_info(
            f"The module's `configure_callbacks` replaces these callbacks of the trainer: {', '.join(dropped)}."
        )
    merged = [callback for callback in callbacks if not replaced(callback)]
    merged += [callback for callback in brought if callback not in merged]
    _check_state_keys(merged)
    return reorder(merged)
