"""The base classes that declare the hooks, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.data_hooks import DataHooks
from lt_core.module_hooks import ModelHooks

__all__ = ["DataHooks", "ModelHooks"]
