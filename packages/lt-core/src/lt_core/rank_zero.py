"""Functions, log lines and warnings that only the first process of a run executes or prints.

A run on N processes would otherwise write every file and print every line N times.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from lt_core.errors import MisconfigurationValueError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LightningDeprecationWarning",
    "PossibleUserWarning",
    "WarningCache",
    "disable_possible_user_warnings",
    "rank_prefixed_message",
    "rank_zero_debug",
    "rank_zero_deprecation",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]

P = ParamSpec("P")
T = TypeVar("T")

# A scheduler may set SLURM_PROCID for a job whose processes something else starts, so the launchers' own
# variables are asked first.
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")

# `stacklevel` counts as it does in Lightning, where 4 is the caller: two frames more than there are here.
_FRAMES_NOT_HERE = 2


class LightningDeprecationWarning(DeprecationWarning):
    """An older form was used; the message holds the modern one."""


class PossibleUserWarning(UserWarning):
    """Advice that may not apply to the case at hand."""


class _Console(logging.Handler):
    """Prints to standard error for as long as the application has configured no logging of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            # Looked up at each line: notebooks and test runners exchange the stream.
            print(self.format(record), file=sys.stderr, flush=True)


def _package_logger() -> logging.Logger:
    logger = logging.getLogger("lt")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(_Console())
    return logger


_log = _package_logger()


def _rank_from_environment() -> int:
    for name in _RANK_VARIABLES:
        text = os.environ.get(name)
        if not text:
            continue
        try:
            return int(text)
        except ValueError as error:
            raise MisconfigurationValueError(
                f"The environment variable {name} is {text!r}. It says which process of the run this is: a whole number"
                f" from 0. Set it to such a number, or unset it where a single process runs."
            ) from error
    return 0


class _RankZeroOnly:
    """Decorator: the function runs in the process of rank zero, elsewhere it returns ``default``.

    Args:
        fn: The function to guard.
        default: What a call returns on the other ranks.

    Example:
        >>> @rank_zero_only
        ... def greet() -> str:
        ...     return "hello"
        >>> rank_zero_only.rank = 1
        >>> greet() is None
        True
        >>> del rank_zero_only.rank  # back to what the environment says
        >>> greet()
        'hello'
    """

    def __init__(self) -> None:
        self._rank: int | None = None

    @property
    def rank(self) -> int:
        """Rank of this process: as assigned, else as the environment says at the time of reading, else 0."""
        return _rank_from_environment() if self._rank is None else self._rank

    @rank.setter
    def rank(self, rank: int) -> None:
        self._rank = rank

    @rank.deleter
    def rank(self) -> None:
        self._rank = None

    @overload
    def __call__(self, fn: Callable[P, T]) -> Callable[P, T | None]: ...

    @overload
    def __call__(self, fn: Callable[P, T], default: T) -> Callable[P, T]: ...

    def __call__(self, fn: Callable[P, T], default: T | None = None) -> Callable[P, T | None]:
        """Guard ``fn``."""

        @functools.wraps(fn)
        def on_rank_zero(*args: P.args, **kwargs: P.kwargs) -> T | None:
            return fn(*args, **kwargs) if self.rank == 0 else default

        return on_rank_zero

    def __reduce__(self) -> str:
        # One object per process: a copy that travels to a worker would keep the rank of where it came from.
        return "rank_zero_only"


rank_zero_only = _RankZeroOnly()


def rank_zero_debug(*args: Any, stacklevel: int = 4, **kwargs: Any) -> None:
    """Log at level DEBUG on rank zero; the arguments are those of :meth:`logging.Logger.debug`.

    Args:
        args: Message and what is put into it.
        stacklevel: Which caller the line is attributed to; 4 is the function that calls this one.
        kwargs: Further arguments of :meth:`logging.Logger.debug`.
    """
    if rank_zero_only.rank == 0:
        _log.debug(*args, stacklevel=stacklevel - _FRAMES_NOT_HERE, **kwargs)


def rank_zero_info(*args: Any, stacklevel: int = 4, **kwargs: Any) -> None:
    """Log at level INFO on rank zero; the arguments are those of :meth:`logging.Logger.info`.

    The lines appear on standard error unless the application configures logging; the logger's name is ``lt``.

    Args:
        args: Message and what is put into it.
        stacklevel: Which caller the line is attributed to; 4 is the function that calls this one.
        kwargs: Further arguments of :meth:`logging.Logger.info`.
    """
    if rank_zero_only.rank == 0:
        _log.info(*args, stacklevel=stacklevel - _FRAMES_NOT_HERE, **kwargs)


def rank_zero_warn(
    message: str | Warning, category: type[Warning] = UserWarning, stacklevel: int = 4, **kwargs: Any
) -> None:
    """Warn on rank zero.

    Args:
        message: What the user should know and do.
        category: Class of the warning, by which users filter.
        stacklevel: Which caller the warning is attributed to; 4 is the function that calls this one.
        kwargs: Further arguments of :func:`warnings.warn`.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     rank_zero_warn("the batch size is 1")
        >>> str(caught[0].message)
        'the batch size is 1'
    """
    if rank_zero_only.rank == 0:
        warnings.warn(message, category=category, stacklevel=stacklevel - _FRAMES_NOT_HERE, **kwargs)


def rank_zero_deprecation(
    message: str | Warning,
    category: type[Warning] = LightningDeprecationWarning,
    stacklevel: int = 5,
    **kwargs: Any,
) -> None:
    """Say on rank zero that an older form was used.

    Args:
        message: What was used and the modern form.
        category: Class of the warning.
        stacklevel: Which caller the warning is attributed to; 5 is the function that calls this one.
        kwargs: Further arguments of :func:`warnings.warn`.
    """
    rank_zero_warn(message, category=category, stacklevel=stacklevel, **kwargs)


def rank_prefixed_message(message: str, rank: int | None) -> str:
    """Put the rank before a message, where there is one.

    Example:
        >>> rank_prefixed_message("Seed set to 1", 3)
        '[rank: 3] Seed set to 1'
        >>> rank_prefixed_message("Seed set to 1", None)
        'Seed set to 1'
    """
    return message if rank is None else f"[rank: {rank}] {message}"


class WarningCache(set[str]):
    """Says each message once on rank zero; it is the set of messages that were said.

    Example:
        >>> cache = WarningCache()
        >>> cache.info("only once")
        >>> cache.info("only once")
        >>> cache == {"only once"}
        True
    """

    def warn(self, message: str, stacklevel: int = 5, **kwargs: Any) -> None:
        """Warn, unless this message was said before; the arguments are those of :func:`rank_zero_warn`."""
        if self._is_new(message):
            rank_zero_warn(message, stacklevel=stacklevel, **kwargs)

    def deprecation(self, message: str, stacklevel: int = 6, **kwargs: Any) -> None:
        """Say that an older form was used, unless said before; see :func:`rank_zero_deprecation`."""
        if self._is_new(message):
            rank_zero_deprecation(message, stacklevel=stacklevel, **kwargs)

    def info(self, message: str, stacklevel: int = 5, **kwargs: Any) -> None:
        """Log at level INFO, unless this message was logged before; see :func:`rank_zero_info`."""
        if self._is_new(message):
            rank_zero_info(message, stacklevel=stacklevel, **kwargs)

    def _is_new(self, message: str) -> bool:
        if message in self:
            return False
        self.add(message)
        return True


def disable_possible_user_warnings(module: str = "") -> None:
    """Do not show warnings of the category :class:`PossibleUserWarning`.

    The environment variable ``POSSIBLE_USER_WARNINGS=off`` does the same from the start.

    Args:
        module: Regular expression for the modules that warn; empty for all of them.
    """
    warnings.filterwarnings("ignore", module=module, category=PossibleUserWarning)


def _show_deprecations() -> None:
    # Python hides DeprecationWarning outside of __main__; ours are meant for the user. Whoever sets filters on the
    # command line or by PYTHONWARNINGS keeps them.
    if not sys.warnoptions:
        warnings.simplefilter("default", category=LightningDeprecationWarning)
    if os.environ.get("POSSIBLE_USER_WARNINGS", "").lower() in ("0", "off"):
        disable_possible_user_warnings()


_show_deprecations()
