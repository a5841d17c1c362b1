"""Run by each new interpreter before its program: calls `lt.compat.alias()` where the environment asks for it.

An interpreter runs one `sitecustomize` only, so this one runs the next in line, which it would hide. An interpreter
without lt (another virtual environment) is left as it is.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec

__all__: list[str] = []

_HERE = os.path.dirname(os.path.abspath(__file__))


def _alias() -> None:
    if os.environ.get("LT_ALIAS_LIGHTNING") != "1" or find_spec("lt") is None or find_spec("lt.compat") is None:
        return
    from lt.compat import alias

    alias()


def _run_the_next() -> None:
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != _HERE]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    _alias()
    _run_the_next()
