"""The category of advice that may not apply, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.rank_zero import PossibleUserWarning

__all__ = ["PossibleUserWarning"]
