"""`Profiler`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.profilers.base import Profiler

__all__ = ["Profiler"]
