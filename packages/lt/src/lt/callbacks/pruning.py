"""`ModelPruning`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import ModelPruning

__all__ = ["ModelPruning"]
