"""Code that imports Lightning runs on lt with nothing changed: `lt run script.py`, or `lt.compat.alias()`.

Inside such a program `pytorch_lightning`, `lightning` and their modules of every era stand for the modules of lt. This
room costs nothing until it is asked for: nothing else in lt imports it, and it imports no torch itself.
"""

from __future__ import annotations

from lt.compat.finder import alias

__all__ = ["alias"]
