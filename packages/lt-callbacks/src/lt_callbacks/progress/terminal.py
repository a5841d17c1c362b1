"""Where the output goes: a terminal, a notebook, or a file."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TextIO

__all__ = ["has_width", "in_notebook", "is_terminal", "notebook_has_widgets"]


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal in which a line can be redrawn."""
    if stream is None or stream.closed or os.environ.get("TERM", "") == "dumb":
        return False
    return stream.isatty()


def has_width(stream: TextIO) -> bool:
    """Tell whether a terminal says how wide it is; some that are made by programs do not."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def in_notebook() -> bool:
    """Tell whether the code runs in a notebook, whose output is no terminal and can still be redrawn."""
    kernel = sys.modules.get("ipykernel")
    shell = sys.modules.get("IPython")
    return kernel is not None and shell is not None and shell.get_ipython() is not None


def notebook_has_widgets() -> bool:
    """Tell whether the code runs in a notebook that can show widgets; one without them can redraw its last line."""
    return in_notebook() and find_spec("ipywidgets") is not None
