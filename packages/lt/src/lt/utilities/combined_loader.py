"""Several loaders read as one, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.combined_loader import CombinedLoader

__all__ = ["CombinedLoader"]
