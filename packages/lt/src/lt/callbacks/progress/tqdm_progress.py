"""`TQDMProgressBar` and `Tqdm`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import TQDMProgressBar
from lt_callbacks.progress.tqdm_bar import Tqdm

__all__ = ["TQDMProgressBar", "Tqdm"]
