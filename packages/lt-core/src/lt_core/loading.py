"""Making a module or data module from a checkpoint: first the arguments it was made with, then its state.

The hyperparameters in the file say how ``__init__`` was called. What the caller passes wins over what is stored; what
is stored and no longer an argument is left out, so that code can move on from its checkpoints.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, MutableMapping
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

import torch

from lt_core.attribute_dict import AttributeDict
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.errors import (
    CheckpointError,
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    did_you_mean,
)
from lt_core.hparams_files import load_hparams_file
from lt_core.rank_zero import rank_zero_warn

__all__ = ["class_only_method", "load_datamodule", "load_module"]

T = TypeVar("T")
CheckpointSource: TypeAlias = str | os.PathLike[str] | IO[bytes]

# Where files of 0.7 and before kept the hyperparameters; the older first.
_EARLIER_KEYS = ("hparams", "module_arguments")

# What LightningCLI notes as the function that made the module. Only these names are understood: a checkpoint does not
# choose which function is called.
_KNOWN_INSTANTIATORS = ("lightning.pytorch.cli.instantiate_module", "pytorch_lightning.cli.instantiate_module")


class _ClassOnlyMethod(classmethod):  # type: ignore[type-arg]
    """A class method that refuses to be called on an instance.

    ``model.load_from_checkpoint(path)`` would return a new object and leave ``model`` as it is, which nobody who
    writes it means.

    Example:
        >>> class Net:
        ...     @class_only_method
        ...     def load(cls, path):
        ...         return cls.__name__, path
        >>> Net.load("a.ckpt")
        ('Net', 'a.ckpt')
        >>> Net().load("a.ckpt")
        Traceback (most recent call last):
        ...
        lt_core.errors.MisconfigurationTypeError: `load` was called on an instance of Net, ...
    """

    def __get__(self, instance: Any, owner: type | None = None) -> Callable[..., Any]:
        bound: Callable[..., Any] = super().__get__(None, type(instance) if owner is None else owner)
        if instance is None:
            return bound

        # Only the call is refused: inspection and TorchScript read the attribute.
        @functools.wraps(bound)
        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            name, kind = bound.__name__, type(instance).__name__
            raise MisconfigurationTypeError(
                f"`{name}` was called on an instance of {kind}, which would stay as it is. It is called on the class"
                f" and returns a new object. Write `model = {kind}.{name}(...)`."
            )

        return refuse


if TYPE_CHECKING:
    # Type checkers know what a classmethod binds to.
    class_only_method = classmethod
else:
    class_only_method = _ClassOnlyMethod


def load_module(
    cls: type[T],
    checkpoint_path: CheckpointSource,
    map_location: Any = None,
    hparams_file: str | os.PathLike[str] | None = None,
    strict: bool | None = None,  # noqa: FBT001 - the order of `load_from_checkpoint`
    weights_only: bool | None = None,  # noqa: FBT001 - the order of `load_from_checkpoint`
    **kwargs: Any,
) -> T:
    """Make a module from a checkpoint.

    Args:
        cls: The module's class, a ``LightningModule``.
        checkpoint_path: The file, or an open binary file.
        map_location: Where tensors go, as in ``torch.load``. None: where they were if that device exists, else the CPU.
        hparams_file: A ``.yaml``, ``.yml`` or ``.csv`` file whose values replace the stored hyperparameters.
        strict: Whether the names of the weights must match exactly. None: as the module's ``strict_loading`` says.
        weights_only: Whether only tensors and plain values are read; None means True.
        kwargs: Arguments of ``__init__``, or entries of the one mapping it takes; they win over stored values.

    Returns:
        The module with its weights, in training mode, on the device of the first weight.

    Raises:
        CheckpointError: The file cannot be read or holds no module.
        MisconfigurationTypeError: ``__init__`` needs an argument that is neither stored nor given, or is given one that
            it does not take.
        MisconfigurationValueError: ``strict`` contradicts the module, or the file asks for an unknown class.
    """
    checkpoint = _read(cls, checkpoint_path, map_location, hparams_file, weights_only)
    state_dict = checkpoint.get("state_dict")
    if not isinstance(state_dict, Mapping):
        raise CheckpointError(
            f"The checkpoint {_shown(checkpoint_path)} has the entries {sorted(map(str, checkpoint))[:10]}. An entry"
            " `state_dict` with the module's weights was expected. If the file is such a dictionary itself, load it"
            " with `model.load_state_dict(...)`."
        )
    module: Any = _construct(cls, checkpoint, kwargs, earlier_keys=_EARLIER_KEYS)
    exactly = _strictness(module, strict)
    module.configure_model()
    module.on_load_checkpoint(checkpoint)
    # Looked up again: the hook may have put another one there.
    state_dict = checkpoint["state_dict"]
    keys = module.load_state_dict(state_dict, strict=exactly)
    if not exactly:
        _warn_of_differences(keys)
    if not state_dict:
        rank_zero_warn(f"The checkpoint {_shown(checkpoint_path)} holds no weights: the module has its initial ones.")
    device = next((value.device for value in state_dict.values() if isinstance(value, torch.Tensor)), None)
    loaded: T = module if device is None else module.to(device)
    return loaded


def load_datamodule(
    cls: type[T],
    checkpoint_path: CheckpointSource,
    map_location: Any = None,
    hparams_file: str | os.PathLike[str] | None = None,
    weights_only: bool | None = None,  # noqa: FBT001 - the order of `load_from_checkpoint`
    **kwargs: Any,
) -> T:
    """Make a data module from a checkpoint; its ``load_state_dict`` is called if the file holds its state.

    Args:
        cls: The data module's class.
        checkpoint_path: The file, or an open binary file.
        map_location: As for :func:`load_module`.
        hparams_file: As for :func:`load_module`.
        weights_only: As for :func:`load_module`.
        kwargs: As for :func:`load_module`.

    Raises:
        CheckpointError: The file cannot be read.
        MisconfigurationTypeError: As for :func:`load_module`.
        MisconfigurationValueError: The file asks for an unknown class.
    """
    checkpoint = _read(cls, checkpoint_path, map_location, hparams_file, weights_only)
    datamodule: Any = _construct(cls, checkpoint, kwargs, earlier_keys=())
    state = checkpoint.get(type(datamodule).__qualname__)
    if state is not None:
        datamodule.load_state_dict(state)
    made: T = datamodule
    return made


def _read(
    cls: Any,
    path: CheckpointSource,
    map_location: Any,
    hparams_file: str | os.PathLike[str] | None,
    weights_only: bool | None,  # noqa: FBT001 - handed through
) -> dict[str, Any]:
    checkpoint = load_checkpoint_file(path, map_location, weights_only)
    if hparams_file is not None:
        checkpoint[cls.CHECKPOINT_HYPER_PARAMS_KEY] = load_hparams_file(hparams_file)
    return checkpoint


def _construct(cls: Any, checkpoint: dict[str, Any], given: dict[str, Any], earlier_keys: tuple[str, ...]) -> Any:
    stored: dict[str, Any] = {}
    for key in (*earlier_keys, cls.CHECKPOINT_HYPER_PARAMS_KEY):
        stored.update(_entries(checkpoint.get(key)))
    kind, stored = _class_of(cls, stored)
    accepted, takes_any = _init_parameters(kind)
    whole = checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_NAME)
    if whole in accepted:
        arguments = _with_whole(whole, stored, given, accepted, checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_TYPE))
    else:
        arguments = {**stored, **given}
        _refuse_unknown(kind, given, accepted, takes_any=takes_any)
    # The hooks see the hyperparameters that were used.
    checkpoint[cls.CHECKPOINT_HYPER_PARAMS_KEY] = {**stored, **given}
    if not takes_any:
        arguments = {name: value for name, value in arguments.items() if name in accepted}
    _refuse_missing(kind, arguments, accepted)
    return kind(**arguments)


def _entries(stored: Any) -> Mapping[str, Any]:
    if isinstance(stored, Namespace):
        return vars(stored)
    return stored if isinstance(stored, Mapping) else {}


def _init_parameters(cls: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters that can be given by name, and whether any other name is taken, too."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    accepted = {parameter.name: parameter for parameter in parameters if parameter.kind in named}
    return accepted, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _with_whole(
    whole: str, stored: dict[str, Any], given: dict[str, Any], accepted: Mapping[str, Any], container_type: Any
) -> dict[str, Any]:
    """Make the arguments for an ``__init__`` that takes all hyperparameters as the one argument ``whole``."""
    if whole in given:
        return dict(given)
    # Attribute access, too: the one argument may have been a Namespace.
    values: Any = AttributeDict({**stored, **{name: value for name, value in given.items() if name not in accepted}})
    if inspect.isclass(container_type) and issubclass(container_type, MutableMapping):
        make: Callable[..., Any] = container_type
        values = make(dict(values))
    return {**{name: value for name, value in given.items() if name in accepted}, whole: values}


def _refuse_unknown(cls: Any, given: Mapping[str, Any], accepted: Mapping[str, Any], *, takes_any: bool) -> None:
    for name in given:
        if not takes_any and name not in accepted:
            raise MisconfigurationTypeError(
                f"load_from_checkpoint got the argument {name!r}. An argument of `{cls.__name__}.__init__` was"
                f" expected, one of {sorted(accepted)}.{did_you_mean(name, accepted)} Leave it out, or let `__init__`"
                " take it."
            )


def _refuse_missing(cls: Any, arguments: Mapping[str, Any], accepted: Mapping[str, inspect.Parameter]) -> None:
    missing = [
        name
        for name, parameter in accepted.items()
        if parameter.default is inspect.Parameter.empty and name not in arguments
    ]
    if missing:
        example = ", ".join(f"{name}=..." for name in missing)
        raise MisconfigurationTypeError(
            f"The checkpoint holds the hyperparameters {sorted(arguments)}. `{cls.__name__}.__init__` was expected to"
            f" get {missing}, too. Write `{cls.__name__}.load_from_checkpoint(path, {example})`; with"
            " `self.save_hyperparameters()` in `__init__` later checkpoints hold them."
        )


def _class_of(cls: Any, stored: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the class to make, and the stored values without what a command line noted about it."""
    arguments = dict(stored)
    instantiator = arguments.pop("_instantiator", None)
    if instantiator is None:
        return cls, arguments
    if instantiator not in _KNOWN_INSTANTIATORS:
        raise MisconfigurationValueError(
            f"The checkpoint asks for the function {instantiator!r} to make the module. One of"
            f" {list(_KNOWN_INSTANTIATORS)} was expected: a file does not choose what code is run. If you trust it,"
            f" delete `_instantiator` from its `{cls.CHECKPOINT_HYPER_PARAMS_KEY}`."
        )
    path = arguments.pop("_class_path", None)
    kind = cls if path is None else _imported_subclass(cls, path)
    for name, value in arguments.items():
        if isinstance(value, Mapping) and "class_path" in value:
            raise MisconfigurationException(
                f"The checkpoint was written by a command line and describes {name!r} by its class"
                f" {value['class_path']!r}. An object was expected there. Make it and pass it:"
                f" `{kind.__name__}.load_from_checkpoint(path, {name}=...)`."
            )
    return kind, arguments


def _imported_subclass(cls: Any, path: Any) -> Any:
    # Only what is imported already is looked at: importing runs code, and a file does not choose which.
    module, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    found = getattr(sys.modules.get(module), name, None)
    if isinstance(found, type) and issubclass(found, cls):
        return found
    raise MisconfigurationValueError(
        f"The checkpoint asks for the class {path!r}. A subclass of {cls.__name__} that is imported already was"
        " expected. If you trust the file, import the module that defines the class before loading."
    )


def _strictness(module: Any, strict: bool | None) -> bool:  # noqa: FBT001 - handed through
    chosen: bool = module.strict_loading
    if strict is None:
        return chosen
    if strict and not chosen:
        raise MisconfigurationValueError(
            f"load_from_checkpoint got strict=True, and {type(module).__name__}.strict_loading is False. The same value"
            " was expected in both places. Leave `strict` out, or set `strict_loading` to True."
        )
    return strict


def _warn_of_differences(keys: Any) -> None:
    if keys.missing_keys:
        rank_zero_warn(
            f"These weights of the module are not in the checkpoint and stay as they are: {keys.missing_keys}"
        )
    if keys.unexpected_keys:
        rank_zero_warn(
            f"These weights of the checkpoint are not in the module and are left out: {keys.unexpected_keys}"
        )


def _shown(path: CheckpointSource) -> str:
    return repr(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else "in the open file"
