"""From what the user wrote as ``precision=`` to the object that carries it out."""

from __future__ import annotations

from typing import Any

from lt_core.errors import (
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    did_you_mean,
)
from lt_core.rank_zero import rank_zero_warn
from lt_loops.precision.base import Precision
from lt_loops.precision.double import DoublePrecision
from lt_loops.precision.half import HalfPrecision
from lt_loops.precision.mixed import MixedPrecision
from lt_loops.registry import Registry

__all__ = ["PrecisionRegistry", "resolve_precision"]

PrecisionRegistry: Registry[Precision] = Registry("precision", "lt.precisions")

_NAMES = ("16-mixed", "16-true", "32-true", "64-true", "bf16-mixed", "bf16-true")
_SHORT = {"32": "32-true", "64": "64-true"}
_DISCOURAGED = {"16": "16-mixed", "bf16": "bf16-mixed"}


def resolve_precision(value: Any, device_type: str) -> Precision:
    """Return the precision that the user asked for.

    Args:
        value: ``"32-true"``, ``"64-true"``, ``"16-mixed"``, ``"bf16-mixed"``, ``"16-true"`` or ``"bf16-true"``; the
            short forms 16, 32, 64 (also as strings) and ``"bf16"``; a name that a package registered; an instance,
            which is returned; or None, which means ``"32-true"``.
        device_type: What computes: ``"cpu"``, ``"cuda"``, ``"mps"``.

    Raises:
        MisconfigurationValueError: There is no such precision.
        MisconfigurationTypeError: The value is neither a name, a number nor a `Precision`.
        MisconfigurationException: The device has no such numbers.

    Example:
        >>> resolve_precision("64", "cpu").precision
        '64-true'
    """
    if isinstance(value, Precision):
        return value
    name = _spelled_out(value)
    if name not in _NAMES:
        return _registered(value, name)
    if name == "16-mixed" and device_type == "cpu":
        rank_zero_warn(
            f"`precision={value!r}` was asked for on the CPU, which has no loss scaling for float16:"
            " 'bf16-mixed' is used instead. Write `precision=\"bf16-mixed\"` to say so."
        )
        name = "bf16-mixed"
    if name == "64-true" and device_type == "mps":
        raise MisconfigurationException(
            f"`precision={value!r}` was asked for on an Apple GPU, which has no 64-bit floating point numbers. Expected"
            ' another precision or device: write `precision="32-true"` or `accelerator="cpu"`.'
        )
    return _build(name, device_type)


def _spelled_out(value: Any) -> str:
    if value is None:
        return "32-true"
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise MisconfigurationTypeError(
            f'`precision={value!r}` is a {type(value).__name__}. A name was expected. Write `precision="32-true"`,'
            f" or another of: {', '.join(_NAMES)}."
        )
    name = str(value)
    if name in _DISCOURAGED:
        rank_zero_warn(
            f"`precision={value!r}` is an older form whose use is discouraged: it does not say whether the weights are"
            f' in 16 bits, too. It is taken as {_DISCOURAGED[name]!r}. Write `precision="{_DISCOURAGED[name]}"`.'
        )
        return _DISCOURAGED[name]
    return _SHORT.get(name, name)


def _registered(value: Any, name: str) -> Precision:
    if name in PrecisionRegistry:
        return PrecisionRegistry.get(name)
    names = [*_NAMES, *PrecisionRegistry.available()]
    raise MisconfigurationValueError(
        f"`precision={value!r}`: there is no such precision. Expected one of: {', '.join(names)}."
        f'{did_you_mean(name, names)} Write `precision="32-true"` for the usual one.'
    )


def _build(name: str, device_type: str) -> Precision:
    if name.endswith("-mixed"):
        return MixedPrecision(name, device_type)
    if name == "64-true":
        return DoublePrecision()
    if name == "32-true":
        return Precision()
    return HalfPrecision(name)
