"""The classes that users derive from, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.module import LightningModule
from lt_data import LightningDataModule

__all__ = ["LightningDataModule", "LightningModule"]
