"""From what the user wrote as ``devices=`` to the indices of devices.

Every kind of device that is counted from 0 shares these rules: a number means how many, a list means which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["count_from", "indices_from"]


def count_from(devices: Any, what: str) -> int:
    """Return how many: from a positive whole number, also as a string.

    Args:
        devices: What the user wrote.
        what: What is counted, in the plural: ``"CPU processes"``.

    Raises:
        MisconfigurationTypeError: It is neither a number nor a string of digits.
        MisconfigurationException: It is less than 1.

    Example:
        >>> count_from("2", "CPU processes")
        2
    """
    number = devices
    if isinstance(devices, str) and devices.strip().lstrip("+-").isdecimal():
        number = int(devices)
    if isinstance(number, bool) or not isinstance(number, int):
        raise MisconfigurationTypeError(
            f"`devices={devices!r}` is a {type(devices).__name__}. For {what} a positive number was expected, which"
            " says how many. Write `devices=1`."
        )
    if number < 1:
        raise MisconfigurationException(
            f"`devices={devices!r}` asks for {_none_or_negative(number)} {what}. A positive number was expected. Write"
            ' `devices=1`, or `devices="auto"`.'
        )
    return number


def indices_from(devices: Any, present: Sequence[int], what: str) -> list[int]:
    """Return which devices are meant, by index.

    Args:
        devices: A number (how many; -1 for all), a list of indices, or either as a string: ``"2"``, ``"0,2"``.
        present: The indices of the devices that there are.
        what: What they are, in the plural: ``"CUDA devices"``.

    Raises:
        MisconfigurationTypeError: It is none of these.
        MisconfigurationException: No device is asked for, one is asked for twice, or one that there is not.

    Example:
        >>> indices_from(2, [0, 1, 2], "CUDA devices"), indices_from("1,", [0, 1], "CUDA devices")
        ([0, 1], [1])
    """
    asked = _read(devices, what)
    if isinstance(asked, int):
        return _first(asked, devices, present, what)
    if not asked:
        raise MisconfigurationException(
            f"`devices={devices!r}` asks for none of the {what}. {_there_are(present, what)} At least one was expected."
            f" Write {_example(present)}."
        )
    if len(set(asked)) < len(asked):
        twice = sorted({index for index in asked if asked.count(index) > 1})
        raise MisconfigurationException(
            f"`devices={devices!r}` names {_listed(twice)} more than once. Each index was expected once."
            f" Write `devices={list(dict.fromkeys(asked))}`."
        )
    absent = [index for index in asked if index not in present]
    if absent:
        raise MisconfigurationException(
            f"`devices={devices!r}` asks for {_listed(absent)}, which this process does not see."
            f" {_there_are(present, what)} Write {_example(present)}."
        )
    return asked


def _read(devices: Any, what: str) -> int | list[int]:
    if isinstance(devices, str):
        return _read_text(devices, what)
    if isinstance(devices, int) and not isinstance(devices, bool):
        return devices
    if isinstance(devices, (list, tuple)) and all(type(index) is int for index in devices):
        return list(devices)
    raise _not_understood(devices, what)


def _read_text(devices: str, what: str) -> int | list[int]:
    parts = [part.strip() for part in devices.split(",")]
    try:
        numbers = [int(part) for part in parts if part]
    except ValueError as error:
        raise _not_understood(devices, what) from error
    if len(parts) == 1 and numbers:
        return numbers[0]
    if not devices.strip():
        raise _not_understood(devices, what)
    return numbers


def _not_understood(devices: Any, what: str) -> MisconfigurationTypeError:
    return MisconfigurationTypeError(
        f"`devices={devices!r}` ({type(devices).__name__}) does not say which {what} are meant. Expected a number (how"
        " many; -1 for all), a list of indices, or either as a string. Write `devices=1`, `devices=[0]`,"
        ' `devices="0,1"` or `devices="auto"`.'
    )


def _first(number: int, devices: Any, present: Sequence[int], what: str) -> list[int]:
    if number == -1 and present:
        return list(present)
    if number < 1 and number != -1:
        one = " To use the device of index 0, write `devices=[0]`." if number == 0 else ""
        raise MisconfigurationException(
            f"`devices={devices!r}` asks for {_none_or_negative(number)} {what}. {_there_are(present, what)} A positive"
            f" number was expected, or -1 for all. Write `devices=1`.{one}"
        )
    if number > len(present) or not present:
        raise MisconfigurationException(
            f"`devices={devices!r}` asks for {'all' if number == -1 else number} {what}. {_there_are(present, what)}"
            f" Write {_example(present)}."
        )
    return list(present[:number])


def _none_or_negative(number: int) -> str:
    return "none of the" if number == 0 else f"a negative number ({number}) of"


def _there_are(present: Sequence[int], what: str) -> str:
    return f"There are {len(present)} {what}, of index {_listed(present)}." if present else f"There are no {what}."


def _example(present: Sequence[int]) -> str:
    if not present:
        return '`accelerator="cpu"`'
    return f"`devices=[{present[0]}]`, or up to `devices={len(present)}`"


def _listed(indices: Sequence[int]) -> str:
    return ", ".join(str(index) for index in indices)
