"""Parts that modules and data modules share, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.hparams import HyperparametersMixin

__all__ = ["HyperparametersMixin"]
