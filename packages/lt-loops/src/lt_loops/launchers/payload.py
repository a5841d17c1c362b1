"""Send a trainer and a call to another process by value, and name what cannot be sent.

torch's own way of sending tensors to a process shares their memory, so that all ranks would train the same weights.
"""

from __future__ import annotations

import io
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationException

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Payload", "UnpicklableError", "dumps", "loads"]

_DEPTH = 6
_FAILURES = (pickle.PicklingError, TypeError, AttributeError, RuntimeError, ValueError, NotImplementedError)


class UnpicklableError(MisconfigurationException):
    """Something that the ranks need cannot be sent to another process."""


class _ByValue(ForkingPickler):
    """Pickles what `multiprocessing` can send, and tensors with their contents.

    Args:
        file: Where to.
        name_of: Returns the name under which the receiver knows an object already, or None.
    """

    def __init__(self, file: io.BytesIO, name_of: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        shared = (torch.Tensor, torch.UntypedStorage, torch.storage.TypedStorage)
        table = dict(self.dispatch_table)
        for kind in list(table):
            if isinstance(kind, type) and (issubclass(kind, shared) or kind.__name__.endswith("Storage")):
                del table[kind]
        self.dispatch_table = table
        self._name_of = name_of

    def persistent_id(self, obj: Any) -> Any:
        return None if self._name_of is None else self._name_of(obj)


def dumps(value: Any, name_of: Callable[[Any], Any] | None = None) -> bytes:
    """Return ``value`` pickled, its tensors with their contents.

    Args:
        value: What to pickle.
        name_of: Returns the name under which the receiver knows an object already, or None.

    Example:
        >>> loads(dumps({"weight": torch.ones(2)}))["weight"].is_shared()
        False
    """
    file = io.BytesIO()
    _ByValue(file, name_of).dump(value)
    return file.getvalue()


class _Known(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, object_of: Callable[[Any], Any]) -> None:
        super().__init__(file)
        self._object_of = object_of

    def persistent_load(self, name: Any) -> Any:
        return self._object_of(name)


def loads(data: bytes, object_of: Callable[[Any], Any] | None = None) -> Any:
    """Return what `dumps` pickled.

    Args:
        data: The pickle, made by another process of this run.
        object_of: Returns the object of a name that ``name_of`` gave.
    """
    if object_of is None:
        return pickle.loads(data)
    return _Known(io.BytesIO(data), object_of).load()


class Payload:
    """A trainer and the call that a rank makes of it; pickled while the rank's process is started, opened in it.

    Args:
        trainer: The trainer.
        call: The call.
    """

    def __init__(self, trainer: Any, call: Any) -> None:
        self._content: Any = (trainer, call)
        self._data: bytes | None = None

    def __getstate__(self) -> dict[str, Any]:
        try:
            data = dumps(self._content)
        except _FAILURES as error:
            trainer, call = self._content
            raise _explained(trainer, call, error) from error
        return {"_content": None, "_data": data}

    def open(self) -> tuple[Any, Any]:
        """Return the trainer and the call."""
        if self._content is None and self._data is not None:
            self._content, self._data = loads(self._data), None
        content: tuple[Any, Any] = self._content
        return content


def _explained(trainer: Any, call: Any, error: Exception) -> UnpicklableError:
    """Return an error that names the innermost attribute that cannot be pickled."""
    roots = {name: value for name, value in call.arguments.items() if value is not None}
    roots |= {f"callbacks[{index}]": callback for index, callback in enumerate(trainer.callbacks)}
    roots |= {f"loggers[{index}]": logger for index, logger in enumerate(trainer.loggers)}
    roots["trainer"] = trainer
    for name, value in roots.items():
        found = _culprit(name, value, _DEPTH, set())
        if found is not None:
            path, culprit = found
            what = f"`{path}` is {_described(culprit)}"
            break
    else:
        what = "something in the trainer"
    return UnpicklableError(
        f"The ranks are new processes, and not everything can be sent to them: {what}, and cannot be pickled "
        f"({error}). Expected what can: write a function at the top level of a module instead of a lambda or a local "
        'one, open files and connections in `setup`, or pass `strategy="ddp"` or `"ddp_fork"`, which send nothing.'
    )


def _described(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return f"the {type(value).__name__} `{name}`" if name is not None else f"a {type(value).__qualname__}"


def _culprit(path: str, value: Any, depth: int, seen: set[int]) -> tuple[str, Any] | None:
    """Return the innermost part of ``value`` that cannot be pickled, with its path."""
    if id(value) in seen or _can_be_pickled(value):
        return None
    seen.add(id(value))
    for name, part in _parts(value) if depth else ():
        found = _culprit(f"{path}{name}", part, depth - 1, seen)
        if found is not None:
            return found
    return path, value


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    attributes = getattr(value, "__dict__", None)
    if not isinstance(attributes, dict):
        return []
    parts = []
    for name, part in attributes.items():
        if isinstance(value, torch.nn.Module) and name == "_modules":
            parts += [(f".{child}", module) for child, module in part.items()]
        else:
            parts.append((f".{name}", part))
    return parts


def _can_be_pickled(value: Any) -> bool:
    try:
        dumps(value)
    except _FAILURES:
        return False
    return True
