"""`SingleDeviceStrategy`, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops import SingleDeviceStrategy

__all__ = ["SingleDeviceStrategy"]
