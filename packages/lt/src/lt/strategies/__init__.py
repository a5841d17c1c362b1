"""How a model is spread over devices, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops import SingleDeviceStrategy, Strategy

__all__ = ["SingleDeviceStrategy", "Strategy"]
