"""Runs of `ModelCheckpoint` in many configurations, and which files Lightning leaves after each.

    python integration_tests/checkpoint_scenarios.py    # records anew, where Lightning is installed

`checkpoint_files.json` holds what Lightning 2.6.6 left: the files with the step in each, the targets of links, the best
file, its score, the ranking, and the last file. `test_checkpointing.py` compares lt with it.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import tempfile
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

RECORDED = Path(__file__).with_name("checkpoint_files.json")
SCORES = [5.0, 3.0, 4.0, float("nan"), 2.0, 6.0, 1.0, 1.0, 7.0, 0.5]

CHECKPOINTS: dict[str, dict[str, Any]] = {
    "default": {},
    "best": {"monitor": "vl"},
    "best two by max": {"monitor": "vl", "mode": "max", "save_top_k": 2},
    "best two and last": {"monitor": "vl", "save_top_k": 2, "save_last": True},
    "all, ranked": {"monitor": "vl", "save_top_k": -1},
    "all": {"save_top_k": -1},
    "constant name, all": {"filename": "c", "save_top_k": -1},
    "constant name, best two": {"filename": "c", "monitor": "vl", "save_top_k": 2},
    "constant name, no versions": {
        "filename": "c",
        "monitor": "vl",
        "save_top_k": 2,
        "enable_version_counter": False,
    },
    "last alone": {"save_top_k": 0, "save_last": True},
    "link and best two": {"save_last": "link", "save_top_k": 2, "monitor": "vl"},
    "link and all": {"save_last": "link", "save_top_k": -1},
    "every two steps": {"every_n_train_steps": 2, "save_top_k": -1},
    "every two steps by a validation metric": {"every_n_train_steps": 2, "save_top_k": 2, "monitor": "vl"},
    "every three steps by a step metric": {
        "every_n_train_steps": 3,
        "save_top_k": 2,
        "monitor": "tl_step",
        "save_last": True,
    },
    "every two epochs": {"every_n_epochs": 2, "save_top_k": -1},
    "no epochs": {"every_n_epochs": 0},
    "no time between": {"train_time_interval": timedelta(0), "save_top_k": -1},
    "a long time between": {"train_time_interval": timedelta(days=1), "save_last": True},
    "template": {"filename": "x-{epoch:02d}-{vl:.2f}-{step}", "monitor": "vl", "save_top_k": -1},
    "template with a slash": {"filename": "{epoch}-{val/loss:.1f}", "save_top_k": -1},
    "template without names": {
        "filename": "e{epoch}_{vl:.1f}",
        "auto_insert_metric_name": False,
        "save_top_k": -1,
    },
    "template with an unknown metric": {"filename": "{nope:.1f}-{epoch}", "save_top_k": -1},
    "at the end of training epochs": {"save_on_train_epoch_end": True, "monitor": "vl", "save_top_k": 3},
    "at the end of validation": {"save_on_train_epoch_end": False, "monitor": "vl", "save_top_k": 3},
    "every two epochs and last": {"every_n_epochs": 2, "save_last": True, "monitor": "vl", "save_top_k": 2},
    "weights only": {"save_weights_only": True, "save_last": True},
}

TRAINERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two validations an epoch": {"val_check_interval": 0.5},
    "validation every two epochs": {"check_val_every_n_epoch": 2},
    "no validation": {"limit_val_batches": 0},
    "accumulation": {"accumulate_grad_batches": 2},
    "max_steps": {"max_steps": 7, "max_epochs": -1},
    "validation by batches": {"val_check_interval": 5, "check_val_every_n_epoch": None},
}


class _Ones(Dataset[torch.Tensor]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.ones(4)


def _module(pl: Any) -> Any:
    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)
            self.validations = 0

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("tl", float(self.global_step % 3), on_step=True, on_epoch=True)
            return self.layer(batch).sum()

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

        def on_validation_epoch_end(self) -> None:
            if not self.trainer.sanity_checking:
                score = SCORES[self.validations % len(SCORES)]
                self.log_dict({"vl": score, "val/loss": score})
                self.validations += 1

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    return Module()


def facts(pl: Any, checkpoint: str, trainer: str, folder: Path) -> dict[str, Any]:
    """Run one configuration and return what is there afterwards.

    Args:
        pl: Lightning, or lt under its name.
        checkpoint: A key of `CHECKPOINTS`.
        trainer: A key of `TRAINERS`.
        folder: Where to write.
    """
    callback = pl.callbacks.ModelCheckpoint(dirpath=folder, **CHECKPOINTS[checkpoint])
    arguments = {"max_epochs": 3, "num_sanity_val_steps": 1, **TRAINERS[trainer]}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    error = None
    try:
        pl.Trainer(callbacks=[callback], **arguments, **quiet).fit(
            _module(pl), DataLoader(_Ones(4)), DataLoader(_Ones(1))
        )
    except pl.utilities.exceptions.MisconfigurationException as exception:
        error = "MisconfigurationException" if "metric" in str(exception) or "monitor" in str(exception) else "?"

    def name(path: str) -> str:
        return os.path.relpath(path, os.path.realpath(folder)) if path else ""

    written = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {
        "error": error,
        "files": {
            str(path.relative_to(folder)): [
                os.readlink(path) if path.is_symlink() else None,
                torch.load(path, weights_only=False)["global_step"],
            ]
            for path in written
        },
        "best": [
            name(callback.best_model_path),
            None if callback.best_model_score is None else float(callback.best_model_score),
        ],
        "ranking": {name(path): float(score) for path, score in callback.best_k_models.items()},
        "worst": [name(callback.kth_best_model_path), float(callback.kth_value)],
        "last": name(callback.last_model_path),
    }


def _record() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    pl = importlib.import_module("lightning.pytorch")
    lines = []
    for checkpoint in CHECKPOINTS:
        for trainer in TRAINERS:
            with tempfile.TemporaryDirectory() as folder:
                found = facts(pl, checkpoint, trainer, Path(folder))
            lines.append(f"{json.dumps(f'{checkpoint}; {trainer}')}: {json.dumps(found)}")
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    _record()
