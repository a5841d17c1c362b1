"""`CSVLogger` and `ExperimentWriter`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loggers import CSVLogger
from lt_loggers.csv_logs import ExperimentWriter

__all__ = ["CSVLogger", "ExperimentWriter"]
