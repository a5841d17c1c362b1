"""Hyperparameters and metric names brought into the form that loggers store.

Every backend wants flat names and plain values; doing it here once keeps them the same in all of them.
"""

from __future__ import annotations

import dataclasses
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from lt_core.errors import MisconfigurationException
from lt_core.logger import LOGGER_JOIN_CHAR

__all__ = ["add_prefix", "convert_params", "flatten_dict", "merge_params", "sanitize_params"]

T = TypeVar("T")


def add_prefix(metrics: Mapping[str, T], prefix: str, separator: str = LOGGER_JOIN_CHAR) -> Mapping[str, T]:
    """Put a logger's prefix before each name.

    Args:
        metrics: Values by name.
        prefix: What comes first; with ``""`` the metrics are returned as they are.
        separator: What stands in between.

    Example:
        >>> add_prefix({"loss": 1.0}, "fold0")
        {'fold0-loss': 1.0}
    """
    return {f"{prefix}{separator}{name}": value for name, value in metrics.items()} if prefix else metrics


def convert_params(params: Mapping[str, Any] | Namespace | None) -> dict[str, Any]:
    """Return hyperparameters as a dictionary.

    Args:
        params: A mapping, a Namespace, a dataclass instance, or None for no hyperparameters.

    Raises:
        MisconfigurationException: It is something else.

    Example:
        >>> convert_params(Namespace(lr=0.1))
        {'lr': 0.1}
        >>> convert_params(None)
        {}
    """
    if params is None:
        return {}
    converted = _as_mapping(params)
    if converted is None:
        raise MisconfigurationException(
            f"Hyperparameters to be logged were {params!r}. Expected a dict, an argparse.Namespace or a dataclass"
            ' instance. Write for example `log_hyperparams({"value": ...})`.'
        )
    return dict(converted)


def flatten_dict(params: Mapping[Any, Any], delimiter: str = "/", parent_key: str = "") -> dict[str, Any]:
    """Flatten nested mappings, Namespaces, dataclass instances and lists of them.

    Args:
        params: What may be nested.
        delimiter: What joins the names of the levels.
        parent_key: The name of the level above; ``""`` at the top.

    Returns:
        Values by joined name. Empty mappings leave nothing; lists of plain values stay values.

    Example:
        >>> flatten_dict({"optim": {"lr": 0.1}, "layers": [{"n": 8}, {"n": 4}], "sizes": [1, 2]})
        {'optim/lr': 0.1, 'layers/0/n': 8, 'layers/1/n': 4, 'sizes': [1, 2]}
    """
    flat: dict[str, Any] = {}
    for key, value in params.items():
        name = f"{parent_key}{delimiter}{key}" if parent_key else str(key)
        nested = _as_mapping(value)
        if nested is None and isinstance(value, (list, tuple)) and value:
            parts = [_as_mapping(item) for item in value]
            nested = None if any(part is None for part in parts) else dict(enumerate(parts))
        if nested is None:
            flat[name] = value
        else:
            flat.update(flatten_dict(nested, delimiter, name))
    return flat


def sanitize_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as bool, int, float, str or Tensor; anything else becomes its ``str``.

    Args:
        params: Flat values by name (see :func:`flatten_dict`). They are not changed.

    Example:
        >>> sanitize_params({"lr": 0.1, "sizes": [1, 2], "scheduler": None})
        {'lr': 0.1, 'sizes': '[1, 2]', 'scheduler': 'None'}
    """
    return {name: _plain(value) for name, value in params.items()}


def merge_params(module: Mapping[str, Any], datamodule: Mapping[str, Any]) -> dict[str, Any]:
    """Put the hyperparameters of the module and of the data module together for the loggers.

    Args:
        module: Those of the module.
        datamodule: Those of the data module.

    Returns:
        All of them, without ``_class_path``, which tells the class and is no hyperparameter.

    Raises:
        MisconfigurationException: Both have a name with different values.

    Example:
        >>> merge_params({"lr": 0.1, "seed": 1}, {"batch_size": 4, "seed": 1})
        {'lr': 0.1, 'seed': 1, 'batch_size': 4}
    """
    different = [name for name in module if name in datamodule and not _same(module[name], datamodule[name])]
    different = [name for name in different if name != "_class_path"]
    if different:
        shown = ", ".join(f"{name!r} ({module[name]!r} and {datamodule[name]!r})" for name in different)
        raise MisconfigurationException(
            f"The module and the data module both have the hyperparameter {shown}. A logger stores one value for a"
            " name. Rename one of the two, or keep it from the loggers with `save_hyperparameters(logger=False)` or"
            " `ignore=`."
        )
    return {name: value for name, value in {**module, **datamodule}.items() if name != "_class_path"}


def _as_mapping(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Namespace):
        return vars(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # `asdict` would copy what the fields hold, which may be large.
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _plain(value: Any) -> Any:
    if type(value) in (bool, int, float, str) or isinstance(value, Tensor):
        return value
    # Only code that has imported NumPy can hand over one of its scalars.
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.bool_, numpy.integer, numpy.floating)):
        return value.item()
    return str(value)


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    # Arrays compare element by element.
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(first, numpy.ndarray):
        return bool(numpy.array_equal(first, second))
    return bool(first == second)
