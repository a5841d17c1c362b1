"""`SimpleProfiler`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.profilers.simple import SimpleProfiler

__all__ = ["SimpleProfiler"]
