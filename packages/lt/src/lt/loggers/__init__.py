"""Where metrics go, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.logger import Logger
from lt_loggers import CSVLogger, InMemoryLogger, TensorBoardLogger, default_logger

__all__ = ["CSVLogger", "InMemoryLogger", "Logger", "TensorBoardLogger", "default_logger"]
