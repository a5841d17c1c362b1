"""Summaries of models: the table of layers and what is counted in it."""

from lt_callbacks.summary.counts import human_readable as get_human_readable_count
from lt_callbacks.summary.layer_summary import LayerSummary, parse_batch_shape
from lt_callbacks.summary.model_summary import ModelSummary, summarize

__all__ = [
    "LayerSummary",
    "ModelSummary",
    "get_human_readable_count",
    "parse_batch_shape",
    "summarize",
]
