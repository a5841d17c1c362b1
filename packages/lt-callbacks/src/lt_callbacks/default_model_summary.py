"""The summary of a run that asked for none in particular."""

from __future__ import annotations

from importlib.util import find_spec

from lt_callbacks.model_summary import ModelSummary
from lt_callbacks.rich_model_summary import RichModelSummary

__all__ = ["default_model_summary"]


def default_model_summary() -> ModelSummary:
    """Return the callback of a run that asked for none: rich's if rich is installed, else a plain one."""
    return RichModelSummary() if find_spec("rich") is not None else ModelSummary()
