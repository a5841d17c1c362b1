"""The base of all callbacks, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.callback import Callback

__all__ = ["Callback"]
