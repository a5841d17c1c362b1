"""Defaults of constructor arguments from environment variables, and errors for arguments that do not exist.

A job scheduler or a notebook server sets ``PL_TRAINER_DEVICES=2`` once, and no script has to change. The decorator
that reads them is also the one place where every keyword passes by, so it is here that a misspelled one is found.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar, cast

from lt_core.errors import MisconfigurationTypeError, did_you_mean, nearest
from lt_core.rank_zero import rank_zero_warn

__all__ = ["environment_defaults", "unknown_arguments_error", "with_environment_defaults"]

_Init = TypeVar("_Init", bound=Callable[..., None])


def environment_defaults(owner: str, names: Iterable[str]) -> dict[str, Any]:
    """Return the arguments that the environment sets.

    The variable of the argument ``max_epochs`` of ``Trainer`` is ``PL_TRAINER_MAX_EPOCHS``. Its text is read as a
    Python literal (``3``, ``0.5``, ``True``, ``[0, 1]``) where it is one, and is the value itself otherwise. An empty
    variable counts as not set.

    Args:
        owner: Name of the class, in any case.
        names: Its arguments.

    Example:
        >>> os.environ["PL_TRAINER_MAX_EPOCHS"] = "3"
        >>> environment_defaults("Trainer", ["max_epochs", "accelerator"])
        {'max_epochs': 3}
        >>> del os.environ["PL_TRAINER_MAX_EPOCHS"]
    """
    prefix = f"PL_{owner.upper()}_"
    found = {}
    for name in names:
        text = os.environ.get(prefix + name.upper(), "")
        if text:
            found[name] = _literal(text)
    return found


def unknown_arguments_error(owner: str, unknown: Iterable[str], known: Collection[str]) -> MisconfigurationTypeError:
    """Return the error for keyword arguments that ``owner`` does not have.

    Example:
        >>> print(unknown_arguments_error("Trainer", ["max_epoch"], ["max_epochs", "max_steps"]))
        `Trainer` got an unknown argument `max_epoch`. Did you mean `max_epochs`?...
    """
    names = list(unknown)
    listed = ", ".join(f"`{name}`{_hint(name, known)}" for name in names)
    if len(names) == 1:
        start = f"an unknown argument `{names[0]}`.{did_you_mean(names[0], known)}"
    else:
        start = f"{len(names)} unknown arguments: {listed}."
    expected = f"Expected one of those that `help({owner})` lists: correct the name or remove the argument."
    return MisconfigurationTypeError(f"`{owner}` got {start} {expected}")


def with_environment_defaults(init: _Init) -> _Init:
    """Decorate an ``__init__`` whose arguments are keywords: the environment gives defaults, unknown names are errors.

    What is given explicitly wins over the environment. A subclass reads the variables of its own name. An ``__init__``
    that takes ``**kwargs`` gets unknown names there and judges them itself.

    Raises:
        MisconfigurationTypeError: Something was passed by position, or under a name that does not exist.

    Example:
        >>> class Trainer:
        ...     @with_environment_defaults
        ...     def __init__(self, *, max_epochs=None):
        ...         self.max_epochs = max_epochs
        >>> os.environ["PL_TRAINER_MAX_EPOCHS"] = "3"
        >>> Trainer().max_epochs, Trainer(max_epochs=1).max_epochs
        (3, 1)
        >>> del os.environ["PL_TRAINER_MAX_EPOCHS"]
    """
    parameters = list(inspect.signature(init).parameters.values())[1:]
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    names = [parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD]

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        owner = type(self).__name__
        if args:
            raise _positional_error(owner, args, names)
        unknown = [name for name in kwargs if name not in names]
        if unknown and not open_ended:
            raise unknown_arguments_error(owner, unknown, names)
        _warn_of_misspelled_variables(owner, names)
        init(self, **{**environment_defaults(owner, names), **kwargs})

    return cast(_Init, wrapped)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # what its documentation names
        return text


def _hint(name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    return f" (did you mean `{near}`?)" if near else ""


def _positional_error(owner: str, args: tuple[Any, ...], names: list[str]) -> MisconfigurationTypeError:
    example = f"{names[0]}={args[0]!r}" if names else "name=value"
    return MisconfigurationTypeError(
        f"`{owner}` got {len(args)} argument(s) by position, the first being {args[0]!r}. Expected keyword arguments"
        f" only, because there are many and none is first. Write its name, for example `{owner}({example})`."
    )


def _warn_of_misspelled_variables(owner: str, names: list[str]) -> None:
    prefix = f"PL_{owner.upper()}_"
    known = [name.upper() for name in names]
    for variable in os.environ:
        rest = variable.removeprefix(prefix)
        if rest == variable or rest in known or not os.environ[variable]:
            continue
        near = nearest(rest, known)
        # Without a near name it may well be somebody else's variable.
        if near:
            rank_zero_warn(
                f"The environment variable `{variable}` sets no argument of `{owner}`. Did you mean `{prefix}{near}`?"
            )
