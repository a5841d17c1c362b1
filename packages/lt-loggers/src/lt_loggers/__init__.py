"""Experiment loggers for lt: CSV files and TensorBoard."""

from __future__ import annotations

from lt_core.logger import Logger
from lt_loggers.csv_logs import CSVLogger
from lt_loggers.default_logger import default_logger
from lt_loggers.in_memory import InMemoryLogger
from lt_loggers.tensorboard import TensorBoardLogger

__all__ = ["CSVLogger", "InMemoryLogger", "Logger", "TensorBoardLogger", "default_logger"]
