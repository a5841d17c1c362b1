"""Libraries that are extras of lt-data: imported when something needs them, else named with the install line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lt_core.errors import MissingPackageError

__all__ = ["require"]

# Where the extra is not called as the module that is imported.
_EXTRAS = {"sklearn": "scikit-learn", "matplotlib.figure": "matplotlib"}


def require(module: str, wanted_by: str) -> Any:
    """Return a module of an optional library.

    Args:
        module: Its import name.
        wanted_by: What cannot be done without it.

    Raises:
        MissingPackageError: The library is not installed; the message has the install line.

    Example:
        >>> require("no_such_library", "`folds.plot()`")
        Traceback (most recent call last):
        ...
        lt_core.errors.MissingPackageError: `folds.plot()` needs no_such_library, which is not installed. ...
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".", maxsplit=1)[0]:
            raise  # it is installed, and something that it needs is not
        extra = _EXTRAS.get(module, module)
        raise MissingPackageError(
            f"{wanted_by} needs {extra}, which is not installed. Expected the optional library of lt-data."
            f" Run `pip install 'lt-data[{extra}]'`.",
            name=module,
        ) from error
