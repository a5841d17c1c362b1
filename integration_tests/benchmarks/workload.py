"""The work that every framework is given: a small network, its data, and the loop a person would write by hand.

The network is so small that a step takes about a hundred microseconds: what a framework adds is then plain to see. The
data keep the time themselves, once every hundred batches, so that nothing has to be hooked into a framework.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

SEGMENT = 100
WARM_UP = 2
BATCH_SIZE = 4

# Processor time leaves out what other processes take from a busy machine, and with it any waiting of our own.
now = time.process_time if os.environ.get("LT_BENCHMARK_CLOCK") == "cpu" else time.perf_counter


def network() -> nn.Module:
    """The 32-32-2 network."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Plain SGD."""
    return torch.optim.SGD(model.parameters(), lr=1e-3)


def loss_of(model: nn.Module, batch: Any) -> Tensor:
    """The loss of one batch."""
    x, y = batch
    return F.cross_entropy(model(x), y)


class Batches:
    """Batches made beforehand; each pass notes the time at every hundredth."""

    def __init__(self, steps: int) -> None:
        torch.manual_seed(1)
        self.stamps: list[float] = []
        self.batches = [(torch.randn(BATCH_SIZE, 32), torch.randint(2, (BATCH_SIZE,))) for _ in range(steps)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.batches), SEGMENT):
            self.stamps.append(now())
            yield from self.batches[start : start + SEGMENT]


class _Samples(Dataset[tuple[Tensor, Tensor]]):
    """Samples for a `DataLoader`, keeping the time in the same way."""

    def __init__(self, steps: int) -> None:
        torch.manual_seed(1)
        self.stamps: list[float] = []
        self.x = torch.randn(steps * BATCH_SIZE, 32)
        self.y = torch.randint(2, (steps * BATCH_SIZE,))

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index % (SEGMENT * BATCH_SIZE) == 0:
            self.stamps.append(now())
        return self.x[index], self.y[index]


def data(steps: int, *, loader: bool) -> tuple[Any, list[float]]:
    """The data for one run and the list that its time stamps go to."""
    if not loader:
        batches = Batches(steps)
        return batches, batches.stamps
    samples = _Samples(steps)
    return DataLoader(samples, batch_size=BATCH_SIZE), samples.stamps


def segment_times(stamps: list[float]) -> list[float]:
    """Microseconds a step in each segment, without those of the warm-up."""
    spans = zip(stamps[WARM_UP:], stamps[WARM_UP + 1 :], strict=False)
    return [(end - start) / SEGMENT * 1e6 for start, end in spans]


def train_by_hand(batches: Any) -> None:
    """The loop a person would write."""
    model = network()
    sgd = optimizer(model)
    for batch in batches:
        sgd.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        sgd.step()


def evaluate_by_hand(batches: Any) -> None:
    """The evaluation a person would write."""
    model = network().eval()
    with torch.inference_mode():
        for batch in batches:
            loss_of(model, batch)
