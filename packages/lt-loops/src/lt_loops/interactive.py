"""Whether a person types at this interpreter: there is no script that could be run again for other processes."""

from __future__ import annotations

import sys

__all__ = ["is_interactive"]


def is_interactive() -> bool:
    """Tell whether this is a console or a notebook.

    Example:
        >>> is_interactive()
        False
    """
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)
