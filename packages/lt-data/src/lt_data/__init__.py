"""Data modules and loaders for lt."""

from __future__ import annotations

from lt_core.combined_loader import CombinedLoader
from lt_data.datamodule import LightningDataModule

__all__ = ["CombinedLoader", "LightningDataModule"]
