"""What a step costs on two ranks: a framework beside bare DistributedDataParallel, in the same two processes.

With one logged metric, the progress bar and checkpoints on, as users run it; the collectives are those of gloo on one
machine, the network is large enough that a step takes a few milliseconds of work.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from workload import Batches, segment_times

VARIANT = "step, two ranks"
PACKAGES = {"lt": "lt", "lightning": "lightning.pytorch"}


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))


def _by_hand(batches: Any) -> None:
    model = DistributedDataParallel(_network())
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    for x, y in batches:
        sgd.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        sgd.step()


def _framework(name: str) -> Any:
    pl = importlib.import_module(PACKAGES[name])
    strategies = importlib.import_module(f"{PACKAGES[name]}.strategies")
    callbacks = importlib.import_module(f"{PACKAGES[name]}.callbacks")

    class Module(pl.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = _network()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            loss = F.cross_entropy(self.net(x), y)
            self.log("loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.net.parameters(), lr=0.01)

    def fit(batches: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            pl.Trainer(
                accelerator="cpu",
                devices=2,
                strategy=strategies.DDPStrategy(),
                max_epochs=1,
                logger=False,
                callbacks=[callbacks.ModelCheckpoint(folder)],
                enable_progress_bar=True,
                enable_model_summary=False,
            ).fit(Module(), batches)

    return fit


def _median_step(run: Any, steps: int) -> float:
    batches = Batches(steps)
    run(batches)
    return median(segment_times(batches.stamps))


def measure(framework: str, count: int, pairs: int) -> list[list[float]]:
    """Return microseconds a step of bare DistributedDataParallel and of the framework, in turn; run on each rank."""
    import logging
    import warnings

    import torch.distributed as dist

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    rank, world = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    dist.init_process_group("gloo", store=dist.PrefixStore("benchmark", store), rank=rank, world_size=world)
    run = _framework(framework)
    _median_step(run, 400)
    before = _median_step(_by_hand, count)
    found = []
    for _ in range(pairs):
        theirs = _median_step(run, count)
        after = _median_step(_by_hand, count)
        found.append([(before + after) / 2, theirs])
        before = after
    return found


def steps(framework: str, count: int, pairs: int) -> dict[str, list[list[float]]]:
    """Measure on two ranks; empty for a framework that is not compared here."""
    from lt_core.testing import run_ranks

    if framework not in PACKAGES:
        return {}
    first, _ = run_ranks(measure, 2, framework, count, pairs, timeout=600.0)
    return {VARIANT: first}
