"""The loggers of a run: the user's, or the default that an installed package provides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationTypeError
from lt_core.logger import DummyLogger
from lt_core.protocols import LoggerProtocol
from lt_core.roles import load_role, require_role

if TYPE_CHECKING:
    from lt_loops.arguments import Arguments

__all__ = ["build_loggers"]


def build_loggers(given: Any, arguments: Arguments) -> list[Any]:
    """Return the trainer's loggers.

    Args:
        given: None or True for the default, False for none, a logger, or several.
        arguments: The resolved arguments.

    Raises:
        MissingPackageError: The default logger was asked for explicitly and no installed package provides one.
    """
    if given is False or arguments.barebones:
        return []
    if given is None or given is True:
        if arguments.fast_dev_run:
            return [DummyLogger()]
        factory = require_role("logger", "`Trainer(logger=True)`") if given else load_role("logger")
        return [] if factory is None else [factory(arguments.default_root_dir)]
    is_one = isinstance(given, (str, LoggerProtocol)) or not isinstance(given, Iterable)
    loggers = [given] if is_one else list(given)
    for logger in loggers:
        if isinstance(logger, type) or not isinstance(logger, LoggerProtocol):
            raise MisconfigurationTypeError(
                f"`Trainer(logger=…)` got {logger!r}, a {type(logger).__name__}. Expected True, False, a logger or a "
                "list of "
                "loggers: pass an instance of a class derived from `lt_core.Logger`."
            )
    return [DummyLogger()] if arguments.fast_dev_run and loggers else loggers
