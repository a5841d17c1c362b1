"""`InMemoryLogger`."""

from __future__ import annotations

from lt_loggers import InMemoryLogger

__all__ = ["InMemoryLogger"]
