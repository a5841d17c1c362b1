"""`StochasticWeightAveraging`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import StochasticWeightAveraging

__all__ = ["StochasticWeightAveraging"]
