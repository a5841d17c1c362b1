"""`WandbLogger`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loggers import WandbLogger

__all__ = ["WandbLogger"]
