"""`HalfPrecision`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.precision.half import HalfPrecision

__all__ = ["HalfPrecision"]
