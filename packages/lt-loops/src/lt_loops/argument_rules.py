"""What a single plain argument may be: rules that turn a received value into the effective one or into an error.

A rule looks at one argument only. What arguments mean for each other is in `lt_loops.arguments`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError, did_you_mean
from lt_core.whole_number import as_whole

__all__ = [
    "Rule",
    "batch_limit",
    "directory",
    "duration",
    "finite_number",
    "flag",
    "one_of",
    "validation_interval",
    "whole_number",
]

Rule: TypeAlias = Callable[[str, Any], Any]

_TIME = re.compile(r"(\d+):(\d{1,2}):(\d{1,2}):(\d{1,2})")
_TIME_FORMS = (
    "a string 'DD:HH:MM:SS' (days, hours, minutes, seconds), a datetime.timedelta, or a dict of its arguments such as"
    " {'hours': 2}"
)


def flag(name: str, value: Any) -> bool:
    """Accept True or False; 1 and 0 stand for them in environment variables.

    Example:
        >>> flag("barebones", 1)
        True
    """
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    raise MisconfigurationTypeError(
        f"`{name}={value!r}` is neither True nor False. Expected one of the two. Write `{name}=True` or `{name}=False`."
    )


def whole_number(minimum: int, *, or_none: bool = False, unlimited: bool = False, instead: str = "") -> Rule:
    """Make a rule for whole numbers from ``minimum`` on.

    Args:
        minimum: The smallest allowed.
        or_none: Whether None is allowed, and kept.
        unlimited: Whether -1 is allowed besides, for "no limit".
        instead: What to write instead of a value of another type, as a whole sentence.

    Example:
        >>> whole_number(0)("max_steps", 1e3)
        1000
        >>> whole_number(0, unlimited=True)("max_steps", -1)
        -1
    """
    allowed = f"a whole number of at least {minimum}" + (", or -1 for no limit" if unlimited else "")
    allowed += ", or None" if or_none else ""

    def rule(name: str, value: Any) -> int | None:
        if value is None and or_none:
            return None
        number = as_whole(value)
        if number is None:
            fix = instead or f"Write, for example, `{name}={max(minimum, 1)}`."
            if unlimited and value == math.inf:
                fix = f"Write `{name}=-1`."
            raise MisconfigurationTypeError(f"`{name}={value!r}` is no whole number. Expected {allowed}. {fix}")
        if number >= minimum or (unlimited and number == -1):
            return number
        example = -1 if unlimited else max(minimum, 1)
        raise MisconfigurationValueError(
            f"`{name}={value!r}` is out of range. Expected {allowed}. Write, for example, `{name}={example}`."
        )

    return rule


def batch_limit(default: float) -> Rule:
    """Make a rule for a number of batches: an int counts them, a float from 0 to 1 is a fraction of them.

    Args:
        default: What None stands for.

    Example:
        >>> rule = batch_limit(1.0)
        >>> rule("limit_val_batches", 3.0), rule("limit_val_batches", 0.5), rule("limit_val_batches", None)
        (3, 0.5, 1.0)
    """

    def rule(name: str, value: Any) -> int | float:
        if value is None:
            return default
        expected = "Expected a count of batches (an int of at least 0) or a fraction of them (a float from 0.0 to 1.0)."
        if isinstance(value, float):
            if 0.0 <= value <= 1.0:
                return value
            number = as_whole(value)
        else:
            number = as_whole(value)
        if isinstance(value, bool) or (number is None and not isinstance(value, float)):
            raise MisconfigurationTypeError(
                f"`{name}={value!r}` is no number. {expected} Write `{name}=1` for one batch, `{name}=1.0` for all,"
                f" `{name}=0` for none."
            )
        if number is not None and number >= 0:
            return number
        raise MisconfigurationValueError(
            f"`{name}={value!r}` is out of range. {expected} Write, for example, `{name}=10` or `{name}=0.1`."
        )

    return rule


def duration(name: str, value: Any) -> timedelta | None:
    """Accept a duration in any of its forms, or None.

    Example:
        >>> duration("max_time", "00:12:00:00")
        datetime.timedelta(seconds=43200)
        >>> duration("max_time", {"minutes": 5})
        datetime.timedelta(seconds=300)
    """
    if value is None:
        return None
    length = _timedelta(name, value)
    if length < timedelta(0):
        raise MisconfigurationValueError(
            f"`{name}={value!r}` lies in the past. Expected a duration of at least 0 seconds. Write, for example,"
            f" `{name}='00:01:00:00'` for an hour."
        )
    return length


def validation_interval(name: str, value: Any) -> int | float | timedelta:
    """Accept how often validation runs: a count of batches, a fraction of the epoch, or a duration.

    Example:
        >>> validation_interval("val_check_interval", None), validation_interval("val_check_interval", 100)
        (1.0, 100)
        >>> validation_interval("val_check_interval", "00:00:15:00")
        datetime.timedelta(seconds=900)
    """
    interval: int | float | timedelta
    if isinstance(value, (str, timedelta, Mapping)):
        interval = length = _timedelta(name, value)
        positive = length > timedelta(0)
    else:
        interval = number = batch_limit(1.0)(name, value)
        positive = number > 0
    if not positive:
        raise MisconfigurationValueError(
            f"`{name}={value!r}` leaves no time between two validations. Expected a positive count of batches, fraction"
            " of the epoch or duration. To switch validation off write `limit_val_batches=0`."
        )
    return interval


def finite_number(name: str, value: Any) -> int | float | None:
    """Accept a number, or None.

    Example:
        >>> finite_number("gradient_clip_val", 0.5)
        0.5
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MisconfigurationTypeError(
            f"`{name}={value!r}` is of type `{type(value).__name__}`. Expected an int, a float or None. Write, for"
            f" example, `{name}=1.0`."
        )
    if math.isnan(value):
        raise MisconfigurationValueError(
            f"`{name}={value!r}` is not a number. Expected an int or a float to compare with. Write, for example,"
            f" `{name}=1.0`, or None to switch it off."
        )
    return value


def one_of(choices: Sequence[Any]) -> Rule:
    """Make a rule for a few values; strings may be in any case.

    Example:
        >>> one_of(("norm", "value", None))("gradient_clip_algorithm", "Norm")
        'norm'
    """

    def rule(name: str, value: Any) -> Any:
        candidate = value.lower() if isinstance(value, str) else value
        for choice in choices:
            # `1 == True`: a number that equals a choice is taken for it only where it is of its kind.
            if candidate is choice or (isinstance(candidate, str) and candidate == choice):
                return choice
        hint = did_you_mean(candidate, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else ""
        raise MisconfigurationValueError(
            f"`{name}={value!r}` is unknown. Expected one of {', '.join(repr(choice) for choice in choices)}.{hint}"
            f" Write, for example, `{name}={choices[0]!r}`."
        )

    return rule


def directory(name: str, value: Any) -> str:
    """Accept a folder, which need not exist; None stands for the current one.

    Example:
        >>> directory("default_root_dir", "runs/../logs")
        'logs'
        >>> directory("default_root_dir", "s3://bucket/runs")
        's3://bucket/runs'
    """
    if value is None:
        return os.getcwd()
    if not isinstance(value, (str, Path, os.PathLike)):
        raise MisconfigurationTypeError(
            f"`{name}={value!r}` is of type `{type(value).__name__}`. Expected a path. Write, for example,"
            f" `{name}='runs'`."
        )
    path = os.fspath(value)
    if "://" in path:
        return path
    return os.path.normpath(os.path.expanduser(path))


def _timedelta(name: str, value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    problem = f"`{name}={value!r}` is no duration. Expected {_TIME_FORMS}. Write, for example, `{name}='00:12:00:00'`."
    if isinstance(value, Mapping):
        try:
            return timedelta(**value)
        except TypeError as error:
            raise MisconfigurationTypeError(problem) from error
    if not isinstance(value, str):
        raise MisconfigurationTypeError(problem)
    found = _TIME.fullmatch(value.strip())
    if found is None:
        raise MisconfigurationValueError(problem)
    days, hours, minutes, seconds = map(int, found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
