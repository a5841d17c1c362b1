"""What is on `PYTHONPATH` of the processes that an aliased program starts: one module, `sitecustomize`, and no more."""

from __future__ import annotations

__all__: list[str] = []
