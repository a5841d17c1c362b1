"""`MixedPrecision`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.precision.mixed import MixedPrecision

__all__ = ["MixedPrecision"]
