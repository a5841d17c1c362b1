"""`PyTorchProfiler`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.profilers.pytorch import PyTorchProfiler

__all__ = ["PyTorchProfiler"]
