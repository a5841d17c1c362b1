"""Progress bars, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import ProgressBar, RichProgressBar, TQDMProgressBar

__all__ = ["ProgressBar", "RichProgressBar", "TQDMProgressBar"]
