"""The example trainer runs with lt's callbacks and loggers and passes the conformance kit."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest
import torch

from lt_core.testing import Check, trainer_checks

EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "own_trainer.py"))


@pytest.mark.parametrize("check", trainer_checks(), ids=str)
def test_the_example_trainer_conforms(check: Check) -> None:
    """Each behaviour of the trainer kit holds for the example."""
    check(EXAMPLE["OwnTrainer"])


def test_the_example_stops_early_and_keeps_its_best_checkpoint(tmp_path: Path) -> None:
    """It learns the regression, stops before the last epoch, and its best checkpoint loads with the best weights."""
    trainer = EXAMPLE["main"](str(tmp_path))

    best = Path(trainer.checkpoint_callback.best_model_path)
    module = EXAMPLE["Regression"].load_from_checkpoint(best)
    assert trainer.current_epoch < 50
    assert best.is_relative_to(tmp_path)
    assert torch.allclose(module.layer.weight, torch.tensor([[1.0, -2.0, 3.0]]), atol=0.1)


def test_the_example_writes_its_metrics_as_csv(tmp_path: Path) -> None:
    """`metrics.csv` holds one row for each step and one for each validation."""
    trainer = EXAMPLE["main"](str(tmp_path))

    with open(Path(trainer.log_dir) / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(row["train_loss"]) for row in rows) == trainer.global_step
    assert sum(bool(row["val_loss"]) for row in rows) == trainer.current_epoch


def test_the_example_is_about_sixty_lines() -> None:
    """The claim of the documentation holds: the trainer itself has at most 60 lines of code."""
    source = (Path(__file__).parents[1] / "examples" / "own_trainer.py").read_text().splitlines()
    start = source.index("class OwnTrainer(LoopTrainer):")
    end = source.index("class Regression(LightningModule):")

    assert sum(bool(line.strip()) for line in source[start:end]) <= 60
