"""Models and data for trying things out and for tests, under the name that users of Lightning import."""

from __future__ import annotations

__all__: list[str] = []
