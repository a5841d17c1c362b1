"""Read numbers from the process's environment; what is no number is told with the name of the variable."""

from __future__ import annotations

import os

from lt_core.errors import MisconfigurationValueError

__all__ = ["number_or", "read_number", "read_text"]

_PORTS = ("MASTER_PORT", "STANDALONE_PORT")
_HIGHEST_PORT = 65535


def number_or(name: str, default: int | None) -> int | None:
    """Return the whole number that the variable ``name`` holds, ``default`` where it does not exist.

    Raises:
        MisconfigurationValueError: It holds something else, or a negative number.

    Example:
        >>> os.environ["DOC_TEST_TASKS"] = "4"
        >>> number_or("DOC_TEST_TASKS", None), number_or("DOC_TEST_NONE", 1)
        (4, 1)
        >>> del os.environ["DOC_TEST_TASKS"]
    """
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        number = -1
    lowest, highest = (1, _HIGHEST_PORT) if name in _PORTS else (0, None)
    if number < lowest or (highest is not None and number > highest):
        what = f"a port, {lowest} to {highest}" if highest is not None else f"a whole number from {lowest}"
        raise MisconfigurationValueError(
            f"The environment variable {name} is {text!r}. Expected {what}: set it to one, or unset it where nobody "
            "but the trainer starts processes."
        )
    return number


def read_number(name: str, needed_by: str, instead: str) -> int:
    """Return the whole number of a variable that has to be there.

    Args:
        name: The variable.
        needed_by: Who cannot do without: ``"torchrun"``.
        instead: What to write, as the end of a sentence that begins with an imperative.

    Raises:
        MisconfigurationValueError: It does not exist, or holds something else.
    """
    number = number_or(name, None)
    if number is None:
        raise _missing(name, needed_by, instead)
    return number


def read_text(name: str, needed_by: str, instead: str) -> str:
    """Return the text of a variable that has to be there; the arguments are those of `read_number`.

    Raises:
        MisconfigurationValueError: It does not exist, or is empty.
    """
    text = os.environ.get(name)
    if not text:
        raise _missing(name, needed_by, instead)
    return text


def _missing(name: str, needed_by: str, instead: str) -> MisconfigurationValueError:
    return MisconfigurationValueError(
        f"The environment variable {name} is {os.environ.get(name)!r}, and {needed_by} cannot do without it. Expected "
        f"it to be set for each process: {instead}."
    )
