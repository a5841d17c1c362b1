"""Progress bars: the base class, one drawn with rich, one drawn with tqdm."""

from __future__ import annotations

from importlib.util import find_spec

from lt_callbacks.progress.progress_bar import ProgressBar
from lt_callbacks.progress.rich_progress import RichProgressBar, RichProgressBarTheme
from lt_callbacks.progress.tqdm_progress import TQDMProgressBar

__all__ = ["ProgressBar", "RichProgressBar", "RichProgressBarTheme", "TQDMProgressBar", "default_progress_bar"]


def default_progress_bar() -> ProgressBar | None:
    """Return the bar of a run that asked for none: rich's if rich is installed, else tqdm's, else None."""
    if find_spec("rich") is not None:
        return RichProgressBar()
    return TQDMProgressBar() if find_spec("tqdm") is not None else None
