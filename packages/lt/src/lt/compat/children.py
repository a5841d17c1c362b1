"""The processes that a program starts know Lightning's names as it does: the environment tells them.

Ranks, workers and subprocesses are new interpreters, whose first import may come before any line of ours runs. What an
interpreter runs by itself is a module named `sitecustomize`: a folder that holds one is put on `PYTHONPATH`.
"""

from __future__ import annotations

import os

__all__ = ["VARIABLE", "alias_in_children"]

# "1" asks for the alias; a program that wants a child without it sets "0" for it.
VARIABLE = "LT_ALIAS_LIGHTNING"
_STARTUP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")


def alias_in_children() -> None:
    """Set the environment so that each Python process started from here on calls `lt.compat.alias()` first."""
    os.environ[VARIABLE] = "1"
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    if _STARTUP not in places:
        os.environ["PYTHONPATH"] = os.pathsep.join([_STARTUP, *places])
