"""`DoublePrecision`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.precision.double import DoublePrecision

__all__ = ["DoublePrecision"]
