"""Run a script as `python script.py` would, with Lightning's names standing for lt's."""

from __future__ import annotations

import os
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING

from lt.compat.finder import alias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_script"]


def run_script(script: str, arguments: Sequence[str] = ()) -> None:
    """Run a script in this process, as its main program.

    The script is `__main__` until the interpreter ends, not only while it runs: what it pickles, the processes that it
    spawns and what it leaves for the exit find it there. What it raises comes through.

    Args:
        script: Its path.
        arguments: What it finds in `sys.argv` after its name.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = os.path.abspath(script)
    loader = SourceFileLoader("__main__", path)
    code = loader.source_to_code(loader.get_data(path), path)
    alias()
    main = ModuleType("__main__")
    main.__file__ = path
    main.__loader__ = loader
    main.__cached__ = None  # type: ignore[attr-defined]
    sys.argv = [script, *arguments]
    if not getattr(sys.flags, "safe_path", False):  # `python -P`, from 3.11 on, has put nothing there to replace
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    sys.modules["__main__"] = main
    exec(code, main.__dict__)
