"""`RichProgressBar` and `RichProgressBarTheme`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import RichProgressBar, RichProgressBarTheme

__all__ = ["RichProgressBar", "RichProgressBarTheme"]
