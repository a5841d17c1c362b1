"""Experiment loggers for lt: CSV files, TensorBoard, memory, Weights & Biases, MLflow, Comet and Neptune."""

from __future__ import annotations

from lt_core.logger import DummyLogger, Logger
from lt_loggers.collection import LoggerCollection
from lt_loggers.comet import CometLogger
from lt_loggers.csv_logs import CSVLogger
from lt_loggers.default_logger import default_logger
from lt_loggers.in_memory import InMemoryLogger
from lt_loggers.mlflow import MLFlowLogger
from lt_loggers.neptune import NeptuneLogger
from lt_loggers.tensorboard import TensorBoardLogger
from lt_loggers.wandb import WandbLogger

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
