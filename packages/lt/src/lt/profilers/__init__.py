"""Where the time of a run goes, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.profilers.advanced import AdvancedProfiler
from lt_loops.profilers.base import Profiler
from lt_loops.profilers.pytorch import PyTorchProfiler
from lt_loops.profilers.simple import PassThroughProfiler, SimpleProfiler

__all__ = ["AdvancedProfiler", "PassThroughProfiler", "Profiler", "PyTorchProfiler", "SimpleProfiler"]
