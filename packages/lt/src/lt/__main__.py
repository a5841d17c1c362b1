"""The `lt` command, also as `python -m lt`. It loads no torch: that is for what it runs."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

import lt

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lt", description="Train PyTorch models.")
    parser.add_argument("--version", action="version", version=lt.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    run = commands.add_parser(
        "run",
        help="run a script that imports Lightning, of any era, on lt",
        description="Run a script, unmodified: `pytorch_lightning`, `lightning` and their modules of every era stand "
        "for lt's in it and in the processes that it starts.",
        usage="lt run [-h] script [arguments ...]",
    )
    run.add_argument("script", help="the path of the script; what follows are its own arguments")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name.

    Args:
        argv: What follows ``lt`` on the command line. None: that of this process.

    Raises:
        SystemExit: The arguments are wrong (status 2), or help was asked for.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    # What follows the script is its own and not read here, whatever it looks like.
    parsed = parser.parse_args(words[:2])
    if not os.path.isfile(parsed.script):
        parser.error(
            f"{parsed.script!r} is no file. Expected the path of a Python script: write `lt run path/to/script.py`."
        )
    from lt.compat.run import run_script

    run_script(parsed.script, words[2:])


if __name__ == "__main__":
    main()
