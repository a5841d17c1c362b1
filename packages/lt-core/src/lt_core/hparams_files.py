"""Hyperparameters as files that people read and edit: YAML and CSV.

Loggers write them beside their curves, and ``load_from_checkpoint(hparams_file=...)`` reads them for checkpoints that
hold none. Only YAML needs a library; it is imported when such a file is used.
"""

from __future__ import annotations

import ast
import csv
import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from enum import Enum
from importlib import import_module
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationException, MisconfigurationValueError, MissingPackageError
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "HparamsFileNotFoundError",
    "load_hparams_file",
    "load_hparams_from_tags_csv",
    "load_hparams_from_yaml",
    "save_hparams_to_tags_csv",
    "save_hparams_to_yaml",
]

PathLike = str | os.PathLike[str]


class HparamsFileNotFoundError(MisconfigurationException, FileNotFoundError):
    """A file of hyperparameters, or the folder to write it to, does not exist."""


def load_hparams_file(path: PathLike) -> dict[str, Any]:
    """Read hyperparameters from a ``.yaml``, ``.yml`` or ``.csv`` file.

    Args:
        path: Where the file is.

    Raises:
        MisconfigurationValueError: The name ends in something else.
        HparamsFileNotFoundError: There is no such file.
        MissingPackageError: It is YAML and PyYAML is not installed.
    """
    suffix = Path(path).suffix.lower()
    readers: dict[str, Callable[[PathLike], dict[str, Any]]] = {
        ".csv": load_hparams_from_tags_csv,
        ".yaml": load_hparams_from_yaml,
        ".yml": load_hparams_from_yaml,
    }
    if suffix not in readers:
        raise MisconfigurationValueError(
            f"The hyperparameter file {os.fspath(path)!r} ends in {suffix!r}. A .csv, .yml or .yaml file was expected."
            " Save it in one of these forms, for example with save_hparams_to_yaml."
        )
    return readers[suffix](path)


def load_hparams_from_yaml(config_yaml: PathLike, use_omegaconf: bool = True) -> Any:  # noqa: FBT001, FBT002 - a public signature that existing code calls by position
    """Read hyperparameters from a YAML file.

    Args:
        config_yaml: Where the file is.
        use_omegaconf: Whether an OmegaConf ``DictConfig`` is returned where OmegaConf is installed and can hold the
            values.

    Returns:
        A dictionary or a ``DictConfig``.

    Raises:
        HparamsFileNotFoundError: There is no such file.
        MisconfigurationValueError: The file holds no names and values.
        MissingPackageError: PyYAML is not installed.
    """
    yaml = _yaml(config_yaml)
    text = _existing(config_yaml).read_text(encoding="utf-8")
    try:
        hparams = yaml.full_load(text)
    except yaml.YAMLError as error:
        raise MisconfigurationValueError(
            f"The hyperparameter file {os.fspath(config_yaml)!r} could not be read as YAML: {error}. Names and plain"
            " values were expected. Correct the line that is named."
        ) from error
    hparams = {} if hparams is None else hparams
    if not isinstance(hparams, dict):
        raise MisconfigurationValueError(
            f"The hyperparameter file {os.fspath(config_yaml)!r} holds a {type(hparams).__name__}. Names and values"
            " were expected. Write one `name: value` a line."
        )
    return _as_omegaconf(hparams) if use_omegaconf else hparams


def save_hparams_to_yaml(
    config_yaml: PathLike,
    hparams: Mapping[str, Any] | Namespace,
    use_omegaconf: bool = True,  # noqa: FBT001, FBT002 - a public signature that existing code calls by position
) -> None:
    """Write hyperparameters to a YAML file.

    Paths are written as text and enumeration members by name. A value that could not be read back from YAML is left
    out, with a warning; the given hyperparameters are not changed.

    Args:
        config_yaml: The file to write; its folder must exist.
        hparams: Names and values.
        use_omegaconf: Whether OmegaConf containers among them are resolved to plain values. Without it they are left
            out like anything else that YAML does not know.

    Raises:
        HparamsFileNotFoundError: The folder does not exist.
        MissingPackageError: PyYAML is not installed.
    """
    yaml = _yaml(config_yaml)
    target = _in_existing_folder(config_yaml)
    written = {}
    for name, value in _items(hparams).items():
        plain = _plain(value, resolve=use_omegaconf)
        if _survives(yaml, plain):
            written[name] = plain
        else:
            rank_zero_warn(
                f"The hyperparameter {name!r} of type {type(value).__name__} is not written to {target.name}: it could"
                " not be read back from YAML. Numbers, text, lists and dictionaries can."
            )
    target.write_text(yaml.dump(written), encoding="utf-8")


def load_hparams_from_tags_csv(tags_csv: PathLike) -> dict[str, Any]:
    """Read hyperparameters from a CSV file with the columns ``key`` and ``value``.

    Args:
        tags_csv: Where the file is.

    Returns:
        Names and values; what reads as a Python literal becomes one, everything else is text.

    Raises:
        HparamsFileNotFoundError: There is no such file.
        MisconfigurationValueError: A row has not two columns.
    """
    with _existing(tags_csv).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row][1:]
    for number, row in enumerate(rows, start=2):
        if len(row) != 2:
            raise MisconfigurationValueError(
                f"Row {number} of {os.fspath(tags_csv)!r} is {row!r}. Two columns were expected, key and value. Put a"
                ' value that holds a comma between double quotes (").'
            )
    return {key: _literal(text) for key, text in rows}


def save_hparams_to_tags_csv(tags_csv: PathLike, hparams: Mapping[str, Any] | Namespace) -> None:
    """Write hyperparameters to a CSV file with the columns ``key`` and ``value``.

    Args:
        tags_csv: The file to write; its folder must exist.
        hparams: Names and values.

    Raises:
        HparamsFileNotFoundError: The folder does not exist.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = Path(folder.name, "hparams.csv")
        >>> save_hparams_to_tags_csv(file, {"lr": 0.1, "name": "a, b", "sizes": (1, 2)})
        >>> load_hparams_from_tags_csv(file)
        {'lr': 0.1, 'name': 'a, b', 'sizes': (1, 2)}
        >>> folder.cleanup()
    """
    with _in_existing_folder(tags_csv).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "value"])
        writer.writerows((name, _text(value)) for name, value in _items(hparams).items())


def _yaml(path: PathLike) -> ModuleType:
    try:
        return import_module("yaml")
    except ImportError as error:
        raise MissingPackageError(
            f"The hyperparameter file {os.fspath(path)!r} is YAML, and PyYAML is not installed. Run `pip install"
            " pyyaml`, or use a .csv file."
        ) from error


def _as_omegaconf(hparams: dict[str, Any]) -> Any:
    try:
        omegaconf = import_module("omegaconf")
    except ImportError:
        return hparams
    try:
        return omegaconf.OmegaConf.create(hparams)
    except (omegaconf.errors.UnsupportedValueType, omegaconf.ValidationError):
        # It holds less than a dictionary does; the values are the same in either.
        return hparams


def _existing(path: PathLike) -> Path:
    file = Path(path)
    if not file.is_file():
        raise HparamsFileNotFoundError(
            f"There is no hyperparameter file {os.fspath(path)!r}. An existing file was expected. Check the path, or"
            " leave the file out if the checkpoint holds its hyperparameters."
        )
    return file


def _in_existing_folder(path: PathLike) -> Path:
    file = Path(path)
    if not file.parent.is_dir():
        raise HparamsFileNotFoundError(
            f"The folder {str(file.parent)!r} for the hyperparameter file {file.name!r} does not exist. An existing"
            " folder was expected. Make it first, with os.makedirs."
        )
    return file


def _items(hparams: Mapping[str, Any] | Namespace) -> Mapping[str, Any]:
    if isinstance(hparams, Namespace):
        return vars(hparams)
    if isinstance(hparams, Mapping):
        return hparams
    raise MisconfigurationValueError(
        f"{hparams!r} of type {type(hparams).__name__} is to be written as hyperparameters. A dictionary, a mapping or"
        " an argparse.Namespace was expected. Wrap it: {'name': value}."
    )


def _plain(value: Any, *, resolve: bool) -> Any:
    """Turn what has an obvious plain form into it; leave everything else as it is."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if resolve and type(value).__module__.startswith("omegaconf"):
        return import_module("omegaconf").OmegaConf.to_container(value, resolve=True)
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, dict):
        return {_plain(key, resolve=resolve): _plain(item, resolve=resolve) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_plain(item, resolve=resolve) for item in value)
    return value


def _survives(yaml: ModuleType, value: Any) -> bool:
    try:
        yaml.full_load(yaml.dump(value))
    except (yaml.YAMLError, TypeError, ValueError, AttributeError, RecursionError):
        return False
    return True


def _text(value: Any) -> str:
    # Text that reads as something else, such as "1", is quoted so that it comes back as text.
    if isinstance(value, str):
        return value if _literal(value) == value else repr(value)
    return str(value)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
