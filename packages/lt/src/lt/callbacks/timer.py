"""`Interval` and `Timer`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import Timer
from lt_callbacks.timer import Interval

__all__ = ["Interval", "Timer"]
