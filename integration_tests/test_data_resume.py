"""Loaders of lt_data under the Trainer: a run that is stopped within an epoch goes on with the samples left."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

import lt
from lt.demos.boring_classes import BoringModel
from lt_data import FrameDataset, FrameLoader, ResumableDataLoader, ResumableSampler


class Noisy(Dataset[torch.Tensor]):
    """Row numbers with random noise."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.tensor([row, random.random()])


class Reading(BoringModel):
    """Notes what it trains on, and stops the run where it is told."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.stop_after = stop_after
        self.seen: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen.append(batch.tolist())
        return self.layer(torch.ones(1, 32)).sum()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self.seen) == self.stop_after:
            self.trainer.save_checkpoint(Path(self.trainer.default_root_dir) / "stopped.ckpt")
            raise KeyboardInterrupt

    train_dataloader = None  # type: ignore[assignment]
    val_dataloader = None  # type: ignore[assignment]
    validation_step = None  # type: ignore[assignment]


def _rows(seen: list[Any]) -> list[list[float]]:
    return [[sample[0] for sample in batch] for batch in seen]


LOADERS = {
    "frame": lambda: FrameLoader(FrameDataset(torch.arange(20.0).reshape(10, 2)), 3, shuffle=True, seed=2),
    "resumable": lambda: ResumableDataLoader(Noisy(), 3, shuffle=True, seed=2),
    "workers": lambda: ResumableDataLoader(Noisy(), 3, shuffle=True, seed=2, num_workers=1),
    "sampler": lambda: DataLoader(Noisy(), 3, sampler=ResumableSampler(range(10), seed=2)),
    "torchdata": lambda: StatefulDataLoader(Noisy(), 3, shuffle=True),
    "torchdata with workers": lambda: StatefulDataLoader(Noisy(), 3, shuffle=True, num_workers=1),
}


def trainer(folder: Path) -> lt.Trainer:
    return lt.Trainer(
        max_epochs=3,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata calls it
@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("stop_after", [2, 6])
def test_a_stopped_run_goes_on_with_what_is_left(tmp_path: Path, kind: str, stop_after: int) -> None:
    """What both runs saw together is what an uninterrupted one sees, augmentation included."""
    whole, first, second = Reading(), Reading(stop_after), Reading()
    lt.seed_everything(3, verbose=False)
    trainer(tmp_path).fit(whole, LOADERS[kind]())

    lt.seed_everything(3, verbose=False)
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path).fit(first, LOADERS[kind]())
    trainer(tmp_path).fit(second, LOADERS[kind](), ckpt_path=str(tmp_path / "stopped.ckpt"))

    assert len(whole.seen) == 12
    together = first.seen + second.seen
    if kind == "torchdata with workers":  # its state has no random states of workers: the rows go on, the noise is new
        assert _rows(together) == _rows(whole.seen)
    else:
        assert together == whole.seen
    assert whole.seen[:4] != whole.seen[4:8]
