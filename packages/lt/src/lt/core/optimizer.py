"""What `self.optimizers()` returns, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.optimizer import LightningOptimizer

__all__ = ["LightningOptimizer"]
