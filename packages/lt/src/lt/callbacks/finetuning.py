"""Finetuning, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import BackboneFinetuning, BaseFinetuning
from lt_callbacks.finetuning import multiplicative

__all__ = ["BackboneFinetuning", "BaseFinetuning", "multiplicative"]
