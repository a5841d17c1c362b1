"""`ProgressBar` and `get_standard_metrics`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import ProgressBar
from lt_callbacks.progress.progress_bar import get_standard_metrics

__all__ = ["ProgressBar", "get_standard_metrics"]
