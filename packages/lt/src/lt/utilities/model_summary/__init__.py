"""Tables of a model's layers, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks.summary import LayerSummary, ModelSummary, summarize

__all__ = ["LayerSummary", "ModelSummary", "summarize"]
