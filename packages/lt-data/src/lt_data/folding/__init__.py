"""Folds for cross-validation: divided once, checked, and fitted on training rows only."""

from __future__ import annotations

from lt_data.folding.datamodule import KFoldDataModule
from lt_data.folding.fold import Fold, Folds
from lt_data.folding.fold_datamodule import FoldDataModule
from lt_data.folding.guard import HeldOutRowError
from lt_data.folding.make import folds
from lt_data.folding.time_series import PurgedTimeSeriesSplit

__all__ = ["Fold", "FoldDataModule", "Folds", "HeldOutRowError", "KFoldDataModule", "PurgedTimeSeriesSplit", "folds"]
