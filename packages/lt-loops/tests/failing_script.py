"""A training script of which one rank fails, in a way and at a place that the arguments say."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch._dynamo  # noqa: F401 -- what would otherwise be imported while the others wait
from torch.utils.data import DataLoader

from lt_core.callback import Callback
from lt_core.testing import BoringModel, RandomDataset
from lt_loops import Trainer
from lt_loops.strategies.ddp import DDPStrategy


@dataclass(frozen=True)
class Case:
    """Which rank fails, how and where, and how the ranks are started."""

    what: str = "nothing"
    place: str = ""
    rank: int = 0
    start: str = "fork"
    world: int = 4
    stall: float = 60.0
    workers: int = 0

    def fail(self, place: str) -> None:
        """Fail, if this is the rank and the place."""
        if place != self.place or int(os.environ.get("LOCAL_RANK", "0")) != self.rank:
            return
        print(f"FAILS AT {time.time()}", flush=True)
        if self.what == "raise":
            raise ValueError("broken on purpose")
        if self.what == "exit":
            os._exit(7)
        if self.what == "sleep":
            time.sleep(3600)
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "crash": signal.SIGSEGV}[self.what])


class Module(BoringModel):
    """Fails where the case says."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def setup(self, stage: str) -> None:
        self.case.fail("setup")

    def configure_callbacks(self) -> list[Callback]:
        self.case.fail("before the process group")
        return []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 3:
            self.case.fail("fit")
        if self.case.place == "signal":
            time.sleep(0.05)
            if batch_idx == 3 and self.global_rank == 0:
                print("TRAINS", flush=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        if not self.trainer.sanity_checking:
            self.case.fail("validation")
        return super().validation_step(batch, batch_idx)

    def train_dataloader(self) -> Any:
        size = 10_000 if self.case.place == "signal" else 8 * self.case.world
        return DataLoader(RandomDataset(32, size), num_workers=self.case.workers)


class Told(Callback):
    """Prints what it is told."""

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        print(f"TOLD {trainer.global_rank} {type(exception).__name__}", flush=True)


def train(case: Case) -> None:
    """Train; the case's rank fails."""
    trainer = Trainer(
        accelerator="cpu",
        devices=case.world,
        strategy=DDPStrategy(start_method=case.start, timeout=timedelta(seconds=case.stall)),  # type: ignore[arg-type]
        max_epochs=1,
        limit_val_batches=2,
        callbacks=[Told()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(case))
    case.fail("after")


if __name__ == "__main__":
    given = sys.argv[1:]
    train(Case(given[0], given[1], int(given[2]), given[3], int(given[4]), float(given[5]), int(given[6])))
