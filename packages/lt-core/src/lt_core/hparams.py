"""Hyperparameters of modules and data modules: collected from ``__init__``, kept, compared, handed to loggers.

A checkpoint can only be turned back into an object when it says with which arguments the object was made. The one
line ``self.save_hyperparameters()`` in ``__init__`` notes them, without the user repeating each name.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from lt_core.attribute_dict import AttributeDict
from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError, did_you_mean
from lt_core.rank_zero import WarningCache, rank_zero_warn

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = [
    "AttributeDict",
    "HyperparametersMixin",
    "given_hyperparameters",
    "init_arguments",
    "unpicklable_hparams",
]

# Everything that the values' own code is known to raise when it is asked for a copy or for its bytes.
_COPY_ERRORS = (
    AttributeError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    copy.Error,
    pickle.PickleError,
)

_KWARGS = "kwargs"  # `hparams_name` of hyperparameters that are the arguments themselves

_given: ContextVar[dict[str, Any] | None] = ContextVar("_given", default=None)
_warnings = WarningCache()


@contextmanager
def given_hyperparameters(hparams: Mapping[str, Any], instantiator: str) -> Iterator[None]:
    """Let ``save_hyperparameters`` note these values instead of the arguments that ``__init__`` received.

    For whoever builds modules from a configuration (a command line, for example): the configuration can be written to
    a checkpoint and read again, the objects that were made of it often cannot.

    Args:
        hparams: The configuration.
        instantiator: Import path of the function that makes the object of it; noted with the values.

    Example:
        >>> class Net(HyperparametersMixin):
        ...     def __init__(self, layer):
        ...         self.save_hyperparameters()
        >>> with given_hyperparameters({"layer": {"size": 3}}, "my.function"):
        ...     net = Net(layer=object())
        >>> dict(net.hparams)
        {'layer': {'size': 3}, '_instantiator': 'my.function'}
    """
    token = _given.set({**hparams, "_instantiator": instantiator})
    try:
        yield
    finally:
        _given.reset(token)


class HyperparametersMixin:
    """Keeps the hyperparameters of an object, for checkpoints and loggers.

    Example:
        >>> class Net(HyperparametersMixin):
        ...     def __init__(self, width, depth=2, device="cpu"):
        ...         super().__init__()
        ...         self.save_hyperparameters(ignore="device")
        >>> Net(width=8).hparams
        "depth": 2
        "width": 8
    """

    # torch.jit.script would compile them.
    __jit_unused_properties__: ClassVar[list[str]] = [
        "hparams",
        "hparams_initial",
        "hparams_name",
        "log_hyperparams_enabled",
    ]

    # Class-level defaults, so that hyperparameters can be saved before the base classes are initialised.
    _hparams: MutableMapping[str, Any] | None = None
    _hparams_initial: MutableMapping[str, Any] | None = None
    _hparams_name: str | None = None
    _log_hyperparams: bool = False

    def save_hyperparameters(
        self,
        *args: Any,
        ignore: str | Iterable[str] | None = None,
        frame: FrameType | None = None,
        logger: bool = True,
    ) -> None:
        """Keep arguments of ``__init__`` as hyperparameters; call it inside ``__init__``.

        Further calls, also those of base classes, add to what is there.

        Args:
            args: Nothing: all arguments that the ``__init__`` of this class and of its base classes received; where
                a name comes twice, the most derived class decides. Names: these arguments only. Or one dictionary,
                ``argparse.Namespace``, OmegaConf container or other mapping: its entries.
            ignore: A name or names to leave out; also removed if a base class kept them.
            frame: Where to look for the arguments; None: the caller.
            logger: Whether loggers receive the hyperparameters when a run starts. The last call decides.

        Raises:
            MisconfigurationValueError: A name is no argument, or what was given is no mapping.
            MisconfigurationTypeError: The form of the call is none of the above.
        """
        if frame is None:
            here = inspect.currentframe()
            frame = here.f_back if here is not None else None
        ignored = _ignored_names(ignore)
        object.__setattr__(self, "_log_hyperparams", logger)
        if len(args) == 1 and _is_empty(args[0]):
            return
        found = _given.get() if _given.get() is not None else init_arguments(self, frame)
        if found is None and not args:
            rank_zero_warn(
                f"`{type(self).__name__}.save_hyperparameters()` was called outside of `__init__`, where there are no"
                " arguments to keep. Call it inside `__init__`, or pass a dictionary.",
            )
        arguments = {name: value for name, value in (found or {}).items() if name not in ignored}
        values, name = _chosen(args, arguments, ignored)
        merged = _merged(self.hparams, _container(values, "save_hyperparameters()"))
        self._keep(merged, name, ignored)
        _warn_of_modules(merged, values)

    def remove_ignored_hparams(self, ignore_list: Iterable[str]) -> None:
        """Forget hyperparameters, for example those that a base class kept.

        Args:
            ignore_list: Their names; a name that is not there is passed over.
        """
        for name in ignore_list:
            self.hparams.pop(name, None)

    @property
    def hparams(self) -> Any:
        """The hyperparameters, to be read and changed as items or attributes.

        An :class:`AttributeDict`, or the container itself where an OmegaConf container or the like was kept. A mapping
        or a Namespace can be assigned, as code from before 1.3 does; it replaces what was there.
        """
        if self._hparams is None:
            object.__setattr__(self, "_hparams", AttributeDict())
        return self._hparams

    @hparams.setter
    def hparams(self, hparams: Mapping[str, Any] | Namespace) -> None:
        values = _container(hparams, "self.hparams = ...")
        _warnings.deprecation(
            "`self.hparams = hparams` is understood; since 1.3 it is written `self.save_hyperparameters(hparams)`."
        )
        arguments = init_arguments(self, inspect.currentframe()) or {}
        object.__setattr__(self, "_log_hyperparams", True)
        self._keep(values, _name_of(hparams, arguments), ())
        _warn_of_modules(values, values)

    @property
    def hparams_initial(self) -> Any:
        """A copy of the hyperparameters as they were when they were last saved; loggers receive these."""
        return AttributeDict() if self._hparams_initial is None else _snapshot(self._hparams_initial)

    @property
    def hparams_name(self) -> str | None:
        """How a checkpoint's hyperparameters are given back to ``__init__``.

        The name of the one argument that takes them all, ``"kwargs"`` where each is an argument of its own, None where
        neither is known.
        """
        return self._hparams_name

    @property
    def log_hyperparams_enabled(self) -> bool:
        """Whether loggers receive the hyperparameters when a run starts."""
        return self._log_hyperparams

    def _keep(self, hparams: MutableMapping[str, Any], name: str | None, ignored: Iterable[str]) -> None:
        # Around `nn.Module.__setattr__`, which may not be ready yet.
        object.__setattr__(self, "_hparams", hparams)
        object.__setattr__(self, "_hparams_name", name)
        self.remove_ignored_hparams(ignored)
        object.__setattr__(self, "_hparams_initial", _snapshot(hparams))


def init_arguments(obj: object, frame: FrameType | None) -> dict[str, Any] | None:
    """Collect the arguments with which the running ``__init__`` methods of ``obj`` were called.

    ``**kwargs`` are flattened in, ``*args`` left out. An ``__init__`` of another object, in which ``obj`` is being
    made, does not count. A dataclass contributes its fields.

    Args:
        obj: The object being initialised.
        frame: Where to start; all callers of it are looked at.

    Returns:
        Names and values, base classes first, so that derived ones override them; None if no ``__init__`` of ``obj`` is
        running.
    """
    levels: list[dict[str, Any]] = []
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__init__" and code.co_argcount > 0:
            local = frame.f_locals
            if local.get(code.co_varnames[0]) is obj:
                levels.append(_arguments(code, local))
        frame = frame.f_back
    fields = dataclasses.fields(obj) if dataclasses.is_dataclass(obj) else ()
    if not levels and not fields:
        return None
    found: dict[str, Any] = {}
    for level in levels:
        found.update(level)
    # `__post_init__` may have changed a field, and a default factory is not in the frame as a value.
    missing = object()
    values = {field.name: getattr(obj, field.name, missing) for field in fields if field.init}
    found.update({name: value for name, value in values.items() if value is not missing})
    return found


def _arguments(code: CodeType, local: Mapping[str, Any]) -> dict[str, Any]:
    count = code.co_argcount + code.co_kwonlyargcount
    found = {name: local[name] for name in code.co_varnames[1:count] if name in local}
    if code.co_flags & inspect.CO_VARKEYWORDS:
        position = count + bool(code.co_flags & inspect.CO_VARARGS)
        found.update(local.get(code.co_varnames[position], {}))
    return found


def _ignored_names(ignore: Any) -> tuple[str, ...]:
    if ignore is None:
        return ()
    names = (ignore,) if isinstance(ignore, str) else tuple(ignore) if isinstance(ignore, Iterable) else (ignore,)
    for name in names:
        if not isinstance(name, str):
            raise MisconfigurationTypeError(
                f"save_hyperparameters got {name!r} in `ignore`. The names of arguments were expected. Write, for"
                ' example, ignore=["backbone"].'
            )
    return names


def _is_empty(given: Any) -> bool:
    return given is None or (isinstance(given, (Mapping, list, tuple, set, frozenset)) and len(given) == 0)


def _chosen(args: tuple[Any, ...], arguments: dict[str, Any], ignored: tuple[str, ...]) -> tuple[Any, str | None]:
    if not args:
        return arguments, _KWARGS if arguments else None
    if len(args) == 1 and not isinstance(args[0], str):
        return args[0], _name_of(args[0], arguments)
    for name in args:
        if not isinstance(name, str):
            raise MisconfigurationTypeError(
                f"save_hyperparameters got {len(args)} arguments, among them one of type {type(name).__name__}. Either"
                " names of arguments or one mapping were expected. Call it once for each mapping."
            )
        if name in ignored:
            raise MisconfigurationValueError(
                f"save_hyperparameters got {name!r} both as a name to keep and in `ignore`. One of the two was"
                " expected. Leave it out of one of them."
            )
        if name not in arguments:
            raise MisconfigurationValueError(
                f"save_hyperparameters got the name {name!r}. The name of an argument of `__init__` was expected, one"
                f" of {sorted(arguments)}.{did_you_mean(name, arguments)} Pass a dictionary for values that are no"
                " arguments."
            )
    return {name: arguments[name] for name in args}, _KWARGS


def _name_of(given: Any, arguments: Mapping[str, Any]) -> str | None:
    for name, value in arguments.items():
        if value is given:
            return name
    for name, value in arguments.items():
        # Arrays and tensors among the arguments answer `==` with something that is neither true nor false.
        if isinstance(value, (Mapping, Namespace)) and bool(value == given):
            return name
    return None


def _container(values: Any, wanted_by: str) -> MutableMapping[str, Any]:
    if isinstance(values, Namespace):
        return AttributeDict(vars(values))
    if isinstance(values, MutableMapping) and not isinstance(values, dict):
        # An OmegaConf container and its like keep their type; the copy keeps the caller's own from being changed.
        return copy.copy(values)
    if isinstance(values, Mapping):
        return AttributeDict(values)
    raise MisconfigurationValueError(
        f"{wanted_by} got {values!r} of type {type(values).__name__}. A dictionary, an argparse.Namespace, an OmegaConf"
        ' container or another mapping was expected. Write, for example, {"lr": 0.1}.'
    )


def _merged(current: MutableMapping[str, Any], new: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if set(current) <= set(new):
        return new
    if not isinstance(current, dict):
        current = AttributeDict(current)
    current.update(new)
    return current


def _warn_of_modules(hparams: Mapping[str, Any], new: Any) -> None:
    names = vars(new) if isinstance(new, Namespace) else new
    for name in names:
        if isinstance(hparams.get(name), nn.Module):
            rank_zero_warn(
                f"The hyperparameter {name!r} is an `nn.Module`: its weights are in the checkpoint's `state_dict` and"
                f" would be in its hyperparameters once more. Leave it out: save_hyperparameters(ignore=[{name!r}])."
            )


def _snapshot(hparams: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    try:
        return copy.deepcopy(hparams)
    except _COPY_ERRORS:
        # Something in it cannot be copied, an open file for example; the rest still is.
        result = copy.copy(hparams)
        for name, value in hparams.items():
            result[name] = _copy_or_same(value)
        return result


def _copy_or_same(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except _COPY_ERRORS:
        return value


class _Nowhere:
    """Takes bytes and drops them: pickling is tried without holding the result."""

    def write(self, data: Any) -> int:
        return len(data)


def unpicklable_hparams(hparams: Mapping[str, Any]) -> list[str]:
    """Return the names of the hyperparameters that cannot be written to a checkpoint.

    Args:
        hparams: Names and values.

    Example:
        >>> unpicklable_hparams({"lr": 0.1, "loss": lambda x: x})
        ['loss']
    """
    return [name for name, value in hparams.items() if not _is_picklable(value)]


def _is_picklable(value: Any) -> bool:
    try:
        pickle.Pickler(_Nowhere()).dump(value)
    except _COPY_ERRORS:
        return False
    return True
