"""The examples on logging run as their readers run them, and leave what they promise."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_example(name: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(ROOT / "examples" / name), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true", "MPLBACKEND": "Agg"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_gan_draws_other_pictures_each_epoch(tmp_path: Path) -> None:
    """TensorBoard gets both losses, a graph, hyperparameters with a metric, and a grid of pictures for each epoch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_example("gan.py", "--max-epochs", "4", "--data-dir", "data", cwd=tmp_path)

    events = EventAccumulator(str(tmp_path / "lt_logs" / "gan" / "version_0"), {"images": 0}).Reload()
    grids = events.Images("drawings/grid")
    assert [grid.step for grid in grids] == [0, 1, 2, 3]
    assert len({grid.encoded_image_string for grid in grids}) == 4
    assert {"loss/generator", "loss/discriminator", "hp/variety"} <= set(events.Tags()["scalars"])
    assert events.Tags()["graph"]
    variety = [event.value for event in events.Scalars("drawings/variety")]
    assert events.Scalars("hp/variety")[0].value == pytest.approx(variety[-1])


def test_the_tour_leaves_the_same_rows_with_every_logger(tmp_path: Path) -> None:
    """The CSV file has as many rows as the example counts; the files of the other loggers are there."""
    output = run_example("loggers_tour.py", cwd=tmp_path)

    folder = tmp_path / "lt_logs" / "tour"
    [(rows, loggers)] = re.findall(r"^the same (\d+) rows in (\d+) loggers:$", output, re.MULTILINE)
    with (folder / "csv" / "version_0" / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == int(rows) > 20
    assert int(loggers) == len(re.findall(r"^  \w+Logger: name", output, re.MULTILINE)) >= 3
    assert ("WandbLogger" in output) == bool(list(folder.glob("wandb/wandb/offline-run-*/run-*.wandb")))
    assert ("MLFlowLogger" in output) == (folder / "mlflow.db").exists()
    assert ("CometLogger" in output) == bool(list(folder.glob("comet/*.zip")))
    assert ("a picture of it" in output) == (folder / "losses.png").exists()
