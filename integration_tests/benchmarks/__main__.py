"""Measure what a framework costs: a step, an evaluation batch, a start, an import.

    nox -s bench                                       # as this, in an environment of its own
    python integration_tests/benchmarks                # about ten minutes
    python integration_tests/benchmarks --quick        # under five minutes
    python integration_tests/benchmarks --write        # and rewrites the tables of docs/benchmarks.md
    python integration_tests/benchmarks --tabular      # only how fast tabular data are read (with --write: their table)

    python integration_tests/benchmarks --clock cpu    # on a machine that is busy with other things

Each framework is measured in a fresh process of its own in each round, the hand-written loop right beside it in the
same process and in turn with it; the rounds go through the frameworks one after the other. What is printed is the
median over all pairs. A framework that is not installed is left out, and a line says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from frameworks import DISTRIBUTIONS, FRAMEWORKS
from report import TABULAR_MARKS, Figures, about_machine, tables, tabular_table, write

HERE = Path(__file__).resolve().parent
IMPORTS = ("lt_core", "lt", "lt:LightningModule,Trainer", "lightning.pytorch", "accelerate", "ignite.engine")


def _child(*arguments: str, script: str = "measure.py") -> Any:
    """Run one measurement in a fresh process; None, and a line that says why, where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"left out: {' '.join(arguments)} failed: {last}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def _installed(names: list[str]) -> list[str]:
    found = [name for name in names if importlib.util.find_spec(re.split("[.:]", name)[0])]
    for name in names:
        if name not in found:
            print(f"left out: {name} is not installed", file=sys.stderr)
    return found


def _spread(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]


def _step_times(name: str, steps: int, pairs: int) -> dict[str, list[list[float]]]:
    """Measure the steps of a framework on one rank and on two."""
    counts = {"steps": steps, "two_ranks": max(steps // 4, 300)}
    measured: dict[str, list[list[float]]] = {}
    for kind, count in counts.items():
        measured |= _child(kind, name, str(count), str(pairs)) or {}
    return measured


def _measure(frameworks: list[str], *, rounds: int, steps: int, pairs: int) -> Figures:
    found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    starts: dict[str, list[dict[str, float]]] = defaultdict(list)
    imports: dict[str, list[dict[str, float]]] = defaultdict(list)
    modules = _installed(list(IMPORTS))
    for turn in range(rounds):
        # Every second round goes the other way, so that nobody is always first.
        for name in frameworks[:: -1 if turn % 2 else 1]:
            print(f"round {turn + 1} of {rounds}: {name}", file=sys.stderr)
            for variant, measured in _step_times(name, steps, pairs).items():
                found[variant, name] += measured
            starts[name] += [each for each in [_child("startup", name)] if each]
        for name in modules:
            imports[name] += [each for each in [_child("import", name)] if each]
    figures = Figures()
    for (variant, name), each in found.items():
        extra = [theirs - hand for hand, theirs in each]
        figures.steps[variant, name] = {
            "hand": median(hand for hand, _ in each),
            "theirs": median(theirs for _, theirs in each),
            "extra": median(extra),
            "ratio": median(theirs / hand for hand, theirs in each),
            "low": _spread(extra)[0],
            "high": _spread(extra)[1],
        }
    for name, runs in starts.items():
        if runs:
            figures.starts[name] = {key: median(run[key] for run in runs) for key in ("first", "later")}
    for name, runs in imports.items():
        if runs:
            figures.imports[name] = {key: min(run[key] for run in runs) for key in ("ms", "modules")}
    return figures


def _tabular(*, save: bool) -> None:
    """Measure how fast tabular data are read, print it, and write it where asked."""
    load = os.getloadavg()[0]
    rows = _child(script="tabular.py")
    if rows is None:
        raise SystemExit(1)
    told = about_machine(["lt", "pandas"], f"medians of passes over 100,000 rows, load {load:.1f}", "--tabular --write")
    text = f"{tabular_table(rows)}\n\n{told}"
    print(text)
    if save:
        write(text, TABULAR_MARKS)


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under five minutes")
    parser.add_argument("--write", action="store_true", help="rewrite the tables of docs/benchmarks.md")
    parser.add_argument("--tabular", action="store_true", help="only how fast tabular data are read")
    parser.add_argument("--only", nargs="+", choices=sorted(FRAMEWORKS), help="measure only these frameworks")
    parser.add_argument("--rounds", type=int, help="so many rounds instead of the usual number")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="what a step's time is read from")
    arguments = parser.parse_args()
    os.environ["LT_BENCHMARK_CLOCK"] = arguments.clock
    if arguments.tabular:
        _tabular(save=arguments.write)
        return
    effort = {"rounds": 3, "steps": 1000, "pairs": 2} if arguments.quick else {"rounds": 6, "steps": 2000, "pairs": 3}
    if arguments.rounds:
        effort["rounds"] = arguments.rounds
    load = os.getloadavg()[0]
    frameworks = _installed(arguments.only or list(FRAMEWORKS))
    figures = _measure(frameworks, **effort)
    counts = f"{effort['rounds']} rounds, {effort['pairs']} pairs of {effort['steps']} steps in each"
    effort_told = f"{counts}, {arguments.clock} time, load {load:.1f}"
    told = about_machine([DISTRIBUTIONS[name] for name in frameworks], effort_told, " ".join(sys.argv[1:]))
    text = f"{tables(figures)}\n\n{told}"
    print(text)
    if arguments.write:
        write(text)


if __name__ == "__main__":
    main()
