"""`ParallelStrategy`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.strategies import ParallelStrategy

__all__ = ["ParallelStrategy"]
