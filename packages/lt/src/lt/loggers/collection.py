"""`LoggerCollection`."""

from __future__ import annotations

from lt_loggers import LoggerCollection

__all__ = ["LoggerCollection"]
