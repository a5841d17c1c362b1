"""`Precision`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.precision.base import Precision

__all__ = ["Precision"]
