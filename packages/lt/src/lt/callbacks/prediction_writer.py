"""`BasePredictionWriter`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import BasePredictionWriter
from lt_callbacks.prediction_writer import WriteInterval

__all__ = ["BasePredictionWriter", "WriteInterval"]
