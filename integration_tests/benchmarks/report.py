"""The figures of a benchmark as tables, and the page that keeps them."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
MARKS = ("<!-- tables: start -->", "<!-- tables: end -->")
TABULAR_MARKS = ("<!-- tabular: start -->", "<!-- tabular: end -->")


@dataclass
class Figures:
    """What was measured.

    Args:
        steps: Microseconds a step by (variant, framework): hand, theirs, extra with its quartiles, and the ratio.
        starts: Milliseconds of a fit of one step by framework: the first in a process, later ones.
        imports: Milliseconds and number of modules over `import torch` by module.
    """

    steps: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    starts: dict[str, dict[str, float]] = field(default_factory=dict)
    imports: dict[str, dict[str, float]] = field(default_factory=dict)


def _table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = f"| {' | '.join(['-' * widths[0], *('-' * (w - 1) + ':' for w in widths[1:])])} |"
    return "\n".join([line(header), rule, *map(line, rows)])


def tables(figures: Figures) -> str:
    """Every table, in Markdown."""
    parts = []
    for variant in dict.fromkeys(variant for variant, _ in figures.steps):
        rows = [
            [
                name,
                f"{row['hand']:.1f}",
                f"{row['theirs']:.1f}",
                f"{row['extra']:+.1f}",
                f"{row['low']:+.1f} to {row['high']:+.1f}",
                f"{row['ratio']:.2f}",
            ]
            for (each, name), row in figures.steps.items()
            if each == variant
        ]
        unit = "batch" if variant.startswith("evaluation") else "step"
        header = ["framework", f"by hand, µs a {unit}", f"framework, µs a {unit}", "adds µs", "quartiles", "ratio"]
        parts.append(f"**{variant[0].upper()}{variant[1:]}**\n\n{_table(header, rows)}")
    rows = [[name, f"{row['first']:.1f}", f"{row['later']:.1f}"] for name, row in figures.starts.items()]
    header = ["framework", "first in a process, ms", "later, ms"]
    parts.append(f"**Start: a trainer is built and fits one step**\n\n{_table(header, rows)}")
    rows = [[f"`{name}`", f"{row['ms']:.0f}", f"{row['modules']:.0f}"] for name, row in figures.imports.items()]
    parts.append(f"**Import, over `import torch`**\n\n{_table(['module', 'ms (least)', 'modules'], rows)}")
    return "\n\n".join(parts)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(distribution: str) -> str:
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return f"{distribution} (not installed as a distribution)"


def about_machine(distributions: list[str], effort: str, options: str) -> str:
    """One paragraph: the machine, the versions, the command."""
    versions = ", ".join(_version(name) for name in ["torch", *distributions])
    command = " ".join(["nox -s bench", *(["--", options] if options else [])])
    return (
        f"Measured with `{command}` ({effort}) on {_processor()}, {os.cpu_count()} cores, one thread; "
        f"{platform.system()}, Python {platform.python_version()}, {versions}."
    )


def tabular_table(rows: list[dict[str, Any]]) -> str:
    """Rows a second of each way of reading, in thousands."""
    ways = ["row of a frame", "row of an array", "DataLoader", "FrameLoader", "bare"]
    titles = ["row of a frame", "row of an array", "FrameDataset, DataLoader", "FrameLoader", "bare tensors"]
    lines = [
        [
            f"{row['device']}, {row['batch']}",
            *(f"{row[way] / 1e3:,.1f}" if way in row else "" for way in ways),
            f"{row['of bare']:.0%}",
        ]
        for row in rows
    ]
    return _table(["device, batch", *titles, "FrameLoader of bare"], lines)


def write(text: str, marks: tuple[str, str] = MARKS) -> None:
    """Put `text` between the two marks of the page."""
    start, end = marks
    page = PAGE.read_text()
    if start not in page or end not in page:
        raise SystemExit(f"{PAGE.name} has lost its marks {start} and {end}: put them where the tables belong")
    before, after = page.split(start)[0], page.split(end)[1]
    PAGE.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")
