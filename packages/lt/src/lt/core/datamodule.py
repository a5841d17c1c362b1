"""The data module that users derive from, under the name that users of Lightning import."""

from __future__ import annotations

from lt_data import LightningDataModule

__all__ = ["LightningDataModule"]
