"""The trainer and the states it goes through, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops import Trainer

__all__ = ["Trainer"]
