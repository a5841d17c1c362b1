"""`EMAWeightAveraging` and `WeightAveraging`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import EMAWeightAveraging, WeightAveraging

__all__ = ["EMAWeightAveraging", "WeightAveraging"]
