"""One fresh process of the benchmark: measure one thing and print it as JSON on the last line of standard output.

    python integration_tests/benchmarks/measure.py steps FRAMEWORK STEPS PAIRS
    python integration_tests/benchmarks/measure.py two_ranks FRAMEWORK STEPS PAIRS
    python integration_tests/benchmarks/measure.py startup FRAMEWORK
    python integration_tests/benchmarks/measure.py import MODULE[:NAME,NAME]

Whatever a framework writes goes to the null device, so that no terminal takes part.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import sys
import time
import warnings
from statistics import median
from typing import Any


def _median_step(run: Any, steps: int, *, loader: bool) -> float:
    from workload import data, segment_times

    batches, stamps = data(steps, loader=loader)
    gc.collect()
    run(batches)
    return median(segment_times(stamps))


def steps(framework: str, count: int, pairs: int) -> dict[str, list[list[float]]]:
    """Microseconds a step of the hand-written loop and of the framework, in turn, for each variant."""
    from frameworks import FRAMEWORKS
    from workload import evaluate_by_hand, train_by_hand

    found: dict[str, list[list[float]]] = {}
    for name, run in FRAMEWORKS[framework]().items():
        by_hand = evaluate_by_hand if name.startswith("evaluation") else train_by_hand
        loader = "DataLoader" in name
        _median_step(run, 400, loader=loader)
        before = _median_step(by_hand, count, loader=loader)
        for _ in range(pairs):
            theirs = _median_step(run, count, loader=loader)
            after = _median_step(by_hand, count, loader=loader)
            found.setdefault(name, []).append([(before + after) / 2, theirs])
            before = after
    return found


def startup(framework: str) -> dict[str, float]:
    """Milliseconds from building a trainer to the end of a fit of one step: the first of a process, and later ones."""
    from frameworks import FRAMEWORKS
    from workload import data, now, train_by_hand

    # What torch itself does once, such as loading its compiler for the first optimizer, is no framework's cost.
    train_by_hand(data(1, loader=False)[0])
    run = FRAMEWORKS[framework]()["step, bare"]
    times = []
    for _ in range(8):
        batches, _stamps = data(1, loader=False)
        gc.collect()
        start = now()
        run(batches)
        times.append((now() - start) * 1e3)
    return {"first": times[0], "later": median(times[1:])}


def import_time(subject: str) -> dict[str, float]:
    """Milliseconds and modules that importing adds to `import torch`; `a:B,C` imports a and names a.B and a.C."""
    module, _, names = subject.partition(":")
    importlib.import_module("torch")
    known = len(sys.modules)
    start = time.perf_counter()
    imported = importlib.import_module(module)
    for name in filter(None, names.split(",")):
        getattr(imported, name)
    return {"ms": (time.perf_counter() - start) * 1e3, "modules": len(sys.modules) - known}


def main(arguments: list[str]) -> None:
    """Measure what the arguments name."""
    kind, subject, *counts = arguments
    answer = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    found: Any
    if kind == "import":
        found = import_time(subject)
    else:
        import torch

        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        if kind == "two_ranks":
            from two_ranks import steps as steps_on_two_ranks

            found = steps_on_two_ranks(subject, *map(int, counts))
        else:
            found = startup(subject) if kind == "startup" else steps(subject, *map(int, counts))
    print(json.dumps(found), file=answer, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
