"""Summaries of models: the table of layers, and the callback of a run that asked for none."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from lt_callbacks.summary.counts import human_readable as get_human_readable_count
from lt_callbacks.summary.layer_summary import LayerSummary, parse_batch_shape
from lt_callbacks.summary.model_summary import ModelSummary, summarize

if TYPE_CHECKING:
    from lt_callbacks.model_summary import ModelSummary as ModelSummaryCallback

__all__ = [
    "LayerSummary",
    "ModelSummary",
    "default_model_summary",
    "get_human_readable_count",
    "parse_batch_shape",
    "summarize",
]


def default_model_summary() -> ModelSummaryCallback:
    """Return the callback of a run that asked for none: rich's if rich is installed, else a plain one."""
    if find_spec("rich") is not None:
        from lt_callbacks.rich_model_summary import RichModelSummary

        return RichModelSummary()
    from lt_callbacks.model_summary import ModelSummary as ModelSummaryCallback

    return ModelSummaryCallback()
