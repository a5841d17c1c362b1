"""The table that validate and test print: one row per logged name, one column per loader."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["format_results", "print_results"]

_SUFFIX = "/dataloader_idx_"


def print_results(stage: str, results: Sequence[Mapping[str, float]]) -> None:
    """Print what an evaluation logged; nothing where nothing was logged.

    Args:
        stage: ``validate`` or ``test``, for the heading.
        results: One dict per loader.
    """
    heading, rows = _table(stage, results)
    if not rows:
        return
    if find_spec("rich") is None:
        print(format_results(stage, results))
    else:
        _print_rich(heading, rows)


def format_results(stage: str, results: Sequence[Mapping[str, float]]) -> str:
    """Return the table as plain text.

    Example:
        >>> print(format_results("test", [{"acc/dataloader_idx_0": 0.5}, {"acc/dataloader_idx_1": 0.75}]))
        ───────────────────────────────────────
        Test metric  DataLoader 0  DataLoader 1
        ───────────────────────────────────────
        acc          0.5           0.75
        ───────────────────────────────────────
    """
    heading, rows = _table(stage, results)
    lines = [heading, *rows]
    # Names are whole at any width: a loader's column that does not fit starts a block of its own.
    blocks = []
    for columns in _fit(lines, shutil.get_terminal_size().columns):
        widths = [max(len(line[column]) for line in lines) for column in columns]
        text = [
            "  ".join(line[column].ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip()
            for line in lines
        ]
        rule = "─" * (sum(widths) + 2 * len(widths) - 2)
        blocks.append("\n".join([rule, text[0], rule, *text[1:], rule]))
    return "\n".join(blocks)


def _table(stage: str, results: Sequence[Mapping[str, float]]) -> tuple[list[str], list[list[str]]]:
    plain = [
        {name.removesuffix(f"{_SUFFIX}{index}"): value for name, value in result.items()}
        for index, result in enumerate(results)
    ]
    names = sorted({name for result in plain for name in result})
    heading = [f"{stage.capitalize()} metric", *(f"DataLoader {index}" for index in range(len(plain)))]
    rows = [[name, *(_text(result.get(name)) for result in plain)] for name in names]
    return heading, rows


def _text(value: Any) -> str:
    return "" if value is None else str(float(value))


def _fit(lines: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Return which columns stand side by side; the first, the names, begins each block."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    blocks: list[list[int]] = [[0]]
    used = widths[0]
    for column in range(1, len(widths)):
        if len(blocks[-1]) > 1 and used + 2 + widths[column] > width:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(column)
        used += 2 + widths[column]
    return blocks


def _print_rich(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for index, title in enumerate(heading):
        table.add_column(title, justify="center", style="cyan" if index == 0 else "magenta", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # a name in square brackets is no markup
    Console().print(table)
