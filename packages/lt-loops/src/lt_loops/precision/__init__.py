"""Precision: the number formats that a run computes in."""

from __future__ import annotations

from lt_loops.precision.base import Precision
from lt_loops.precision.double import DoublePrecision
from lt_loops.precision.half import HalfPrecision
from lt_loops.precision.mixed import FusedOptimizerClippingError, MixedPrecision
from lt_loops.precision.select import PrecisionRegistry, resolve_precision

__all__ = [
    "DoublePrecision",
    "FusedOptimizerClippingError",
    "HalfPrecision",
    "MixedPrecision",
    "Precision",
    "PrecisionRegistry",
    "resolve_precision",
]
