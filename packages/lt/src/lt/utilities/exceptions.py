"""The errors that existing code catches, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.errors import MisconfigurationException, SIGTERMException

__all__ = ["MisconfigurationException", "SIGTERMException"]
