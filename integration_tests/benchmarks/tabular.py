"""How many rows a second tabular data are read at: row by row, through FrameLoader, and by indexing bare tensors.

    nox -s bench -- --tabular                                  # these tables only
    nox -s bench -- --tabular --write                          # and rewrites them in docs/benchmarks.md
    python integration_tests/benchmarks/tabular.py             # as JSON, in this process

The table has the shape of market data: 130 features and 5 targets in float32. Each way of reading goes through all rows
in a shuffled order; the ways take turns, and what is told is the median.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from lt_data import FrameDataset, FrameLoader

FEATURES = [f"f{number}" for number in range(130)]
TARGETS = [f"t{number}" for number in range(5)]
ROWS = 100_000
BATCH_SIZES = (256, 4096)


class RowByRow(Dataset[Any]):
    """The common pattern: a tensor is made of one row of a frame."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.features = frame[FEATURES]
        self.targets = frame[TARGETS]

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, row: int) -> Any:
        return torch.tensor(self.features.iloc[row].to_numpy()), torch.tensor(self.targets.iloc[row].to_numpy())


class RowOfArray(Dataset[Any]):
    """The same with the frame's values taken out once."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.features = frame[FEATURES].to_numpy()
        self.targets = frame[TARGETS].to_numpy()

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, row: int) -> Any:
        return torch.tensor(self.features[row]), torch.tensor(self.targets[row])


def market(rows: int) -> pd.DataFrame:
    """A frame of random numbers."""
    values = np.random.default_rng(0).normal(size=(rows, len(FEATURES) + len(TARGETS))).astype("float32")
    return pd.DataFrame(values, columns=FEATURES + TARGETS)


def bare(features: torch.Tensor, targets: torch.Tensor, size: int) -> Iterator[Any]:
    """What a person would write by hand on tensors."""
    order = torch.randperm(len(features), device=features.device)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield features[rows], targets[rows]


def rate(read: Callable[[], Any], rows: int, device: str) -> float:
    """Rows a second of one pass."""
    began = time.perf_counter()
    for _ in read():
        pass
    if device != "cpu":
        torch.cuda.synchronize()
    return rows / (time.perf_counter() - began)


def measure(device: str = "cpu", rows: int = ROWS, turns: int = 7) -> list[dict[str, Any]]:
    """Rows a second of each way of reading, for each batch size."""
    frame = market(rows)
    data = FrameDataset(frame, FEATURES, TARGETS)
    resident = data.to(device)
    slow = RowByRow(frame.iloc[: max(rows // 50, 1)])
    found = []
    for size in BATCH_SIZES:
        loader = FrameLoader(resident, size, shuffle=True, shuffle_on="device")
        through_torch = DataLoader(data, size, shuffle=True)
        by_row = DataLoader(slow, size, shuffle=True)
        of_array = DataLoader(RowOfArray(frame), size, shuffle=True)
        assert resident.targets is not None
        ways: dict[str, Callable[[], Any]] = {
            "bare": lambda size=size: bare(resident.features, resident.targets, size),
            "FrameLoader": lambda loader=loader: loader,
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(turns + 1):
            for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
                measured = rate(way, rows, device)
                if turn:  # the first one warms up
                    rates[name].append(measured)
        ratios = [ours / theirs for ours, theirs in zip(rates["FrameLoader"], rates["bare"], strict=True)]
        row: dict[str, Any] = {"device": device, "batch": size, "of bare": median(ratios)}
        row |= {name: median(each) for name, each in rates.items()}
        if device == "cpu":
            others = {"DataLoader": through_torch, "row of an array": of_array, "row of a frame": by_row}
            for name, each in others.items():
                count = len(slow) if each is by_row else rows
                row[name] = median(rate(each.__iter__, count, device) for _ in range(3))
        found.append(row)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    print(json.dumps([row for device in devices for row in measure(device, rows)]))
