"""The command that started this process, so that the same script can be started again for the other ranks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from lt_core.errors import MisconfigurationException
from lt_loops.interactive import is_interactive

__all__ = ["script_command"]

_INSTEAD = (
    'Expected a script that can be started again for each rank: pass `strategy="ddp_spawn"`, or `"ddp_fork"` in a '
    "notebook, or put the code into a file and run that."
)


def script_command() -> list[str]:
    """Return the arguments that follow ``python`` to run this script again.

    Raises:
        MisconfigurationException: There is no script: a console, a notebook, ``python -c``, or a test run by pytest.
    """
    main: Any = sys.modules["__main__"]
    first = sys.argv[0] if sys.argv else ""
    spec = getattr(main, "__spec__", None)
    if "_pytest" in sys.modules and "PYTEST_CURRENT_TEST" in os.environ:  # a script that a test starts inherits it
        raise MisconfigurationException(
            f'`strategy="ddp"` starts the script again for each rank, and here that is pytest ({first!r}): each rank '
            'would run the whole test session. Expected ranks that run the call only: pass `strategy="ddp_spawn"` or '
            '`DDPStrategy(start_method="forkserver")` in tests.'
        )
    if is_interactive() or first in ("", "-", "-c") or "ipykernel" in sys.modules:
        raise MisconfigurationException(
            f'`strategy="ddp"` starts the script again for each rank, and this process has none (`sys.argv[0]` is '
            f"{first!r}). {_INSTEAD}"
        )
    arguments = [
        *_interpreter_flags(),
        *([] if spec is None or spec.name == "__main__" else ["-m", _module(spec.name)]),
    ]
    if "-m" not in arguments:
        arguments.append(_script(first, main))
    return [*arguments, *sys.argv[1:]]


def _module(name: str) -> str:
    return name.removesuffix(".__main__")


def _script(first: str, main: Any) -> str:
    for candidate in (first, getattr(main, "__file__", None)):
        if candidate and Path(candidate).exists():
            return str(Path(candidate).absolute())
    raise MisconfigurationException(
        f'`strategy="ddp"` starts the script again for each rank, and {first!r} is no file (any more). {_INSTEAD}'
    )


def _interpreter_flags() -> list[str]:
    """Return the interpreter's own options (``-O``, ``-X dev``, ``-W error``) from the command line."""
    flags: list[str] = []
    rest = iter(sys.orig_argv[1:])
    for word in rest:
        if not word.startswith("-") or word in ("-", "-m", "-c") or word.startswith(("-m", "-c")):
            break
        flags.append(word)
        if word in ("-X", "-W", "--check-hash-based-pycs"):
            flags.append(next(rest, ""))
    return flags
