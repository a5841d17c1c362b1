"""A step on two ranks issues the collectives of bare DistributedDataParallel, whatever a user switches on."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.nn.functional import mse_loss

import lt
from lt.callbacks import EarlyStopping, ModelCheckpoint
from lt_core.testing import run_ranks

STEPS = 8
FIRST = 3  # the first steps rebuild buckets and open the metric's slot


def _network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


class Counting:
    """Batches; each but the first few is profiled, and its collectives are counted."""

    def __init__(self) -> None:
        self.found: list[Counter[str]] = []
        self._profile: Any = None

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Any:
        torch.manual_seed(2)
        for step in range(STEPS):
            self._stop()
            if step >= FIRST:
                self._profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
                self._profile.__enter__()
            yield torch.randn(6, 4), torch.randn(6, 1)
        self._stop()

    def _stop(self) -> None:
        if self._profile is None:
            return
        profile, self._profile = self._profile, None
        profile.__exit__(None, None, None)
        names = [event.name for event in profile.events() if event.name.startswith(("c10d::", "gloo:"))]
        self.found.append(Counter(names))


def _bare() -> list[Counter[str]]:
    import torch.distributed as dist

    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    dist.init_process_group("gloo", store=store, rank=int(os.environ["LOCAL_RANK"]), world_size=2)
    model = nn.parallel.DistributedDataParallel(_network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = Counting()
    for x, y in batches:
        optimizer.zero_grad()
        mse_loss(model(x), y).backward()
        optimizer.step()
    return batches.found


class Logging(lt.LightningModule):
    """Logs its loss to the bar and for the callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.net = _network()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = mse_loss(self.net(batch[0]), batch[1])
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _with_everything(folder: str) -> list[Counter[str]]:
    batches = Counting()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer = lt.Trainer(
            accelerator="cpu",
            devices=2,
            strategy="ddp",
            max_epochs=1,
            callbacks=[ModelCheckpoint(folder, monitor="loss"), EarlyStopping("loss", check_on_train_epoch_end=True)],
            default_root_dir=folder,
            gradient_clip_val=1.0,
            log_every_n_steps=50,
        )
        trainer.fit(Logging(), batches)
    return batches.found


def test_a_step_issues_exactly_the_collectives_of_bare_ddp(tmp_path: Any) -> None:
    """Metric, bar, checkpoints, early stopping, clipping and a logger add none."""
    bare, _ = run_ranks(_bare, 2)
    ours, others = run_ranks(_with_everything, 2, str(tmp_path))

    assert sum(bare[-2].values()) > 0, "the profiler sees no collectives: the comparison would say nothing"
    # What follows the last batch belongs to the end of the epoch, and not every reader asks for another batch.
    steps = STEPS - FIRST - 1
    assert len(ours) >= steps
    assert ours[:steps] == bare[:steps]
    assert others[:steps] == bare[:steps]
