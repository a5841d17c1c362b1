"""The module that users derive from, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.module import LightningModule

__all__ = ["LightningModule"]
