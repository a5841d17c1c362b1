"""Where metrics go, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.logger import DummyLogger, Logger
from lt_loggers import (
    CometLogger,
    CSVLogger,
    InMemoryLogger,
    LoggerCollection,
    MLFlowLogger,
    NeptuneLogger,
    TensorBoardLogger,
    WandbLogger,
    default_logger,
)

__all__ = [
    "CSVLogger",
    "CometLogger",
    "DummyLogger",
    "InMemoryLogger",
    "Logger",
    "LoggerCollection",
    "MLFlowLogger",
    "NeptuneLogger",
    "TensorBoardLogger",
    "WandbLogger",
    "default_logger",
]
