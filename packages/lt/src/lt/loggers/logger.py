"""The base of all loggers, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.logger import DummyExperiment, DummyLogger, Logger, rank_zero_experiment

__all__ = ["DummyExperiment", "DummyLogger", "Logger", "rank_zero_experiment"]
