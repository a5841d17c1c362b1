"""`AdvancedProfiler`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.profilers.advanced import AdvancedProfiler

__all__ = ["AdvancedProfiler"]
