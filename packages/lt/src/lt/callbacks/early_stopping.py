"""`EarlyStopping` and `EarlyStoppingReason`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import EarlyStopping, EarlyStoppingReason

__all__ = ["EarlyStopping", "EarlyStoppingReason"]
