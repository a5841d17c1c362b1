"""A run that is killed and resumed into the same version leaves the logs that one run leaves which was never killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TABLE = Path("csv", "version_0", "metrics.csv")
PROGRAM = """
import os, signal, sys
import torch
torch.set_num_threads(1)
import lt
from lt.callbacks import ModelCheckpoint
from lt.loggers import CSVLogger, InMemoryLogger, TensorBoardLogger
from lt_core.testing import KitModule, kit_loader

class Digits(KitModule):
    def training_step(self, batch, batch_idx):
        if self.global_step == 9:
            self.log("late", 1.0)  # a column that comes after the first checkpoint
        self.loggers[1].experiment.add_image("picture", torch.full((1, 2, 2), self.global_step / 20), self.global_step)
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if os.environ.get("KILL_AT") == str(self.global_step):
            os.kill(os.getpid(), signal.SIGKILL)

folder, resume = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
lt.seed_everything(1)
trainer = lt.Trainer(
    max_epochs=3, accelerator="cpu", log_every_n_steps=1, val_check_interval=2, default_root_dir=folder,
    logger=[CSVLogger(folder, "csv", 0), TensorBoardLogger(folder, "tb", 0), InMemoryLogger()],
    callbacks=[ModelCheckpoint(folder, filename="{step}", every_n_train_steps=3, save_top_k=-1)],
    enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(Digits(), kit_loader(20), kit_loader(), ckpt_path=resume)
trainer.loggers[2].frame.to_json(os.path.join(folder, "frame.json"), orient="split")
"""


def run(folder: Path, *arguments: str, kill_at: int | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({} if kill_at is None else {"KILL_AT": str(kill_at)})}
    command = [sys.executable, "-c", PROGRAM, str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tb" / "version_0"), {"images": 0, "scalars": 0}).Reload()
    found = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    found["picture"] = [(event.step, float(len(event.encoded_image_string))) for event in events.Images("picture")]
    # The placeholder says that a run began, which the resumed run did, too.
    return {tag: values for tag, values in found.items() if tag != "hp_metric"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    done = run(folder, kill_at=11)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return folder


def test_a_killed_and_resumed_run_leaves_the_logs_of_one_that_was_not(
    whole: Path, killed: Path, tmp_path: Path
) -> None:
    """metrics.csv has the same bytes, the event files the same points and pictures, the frame the same rows."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    rows_when_killed = len((tmp_path / TABLE).read_text().splitlines()) - 1
    kept = torch.load(tmp_path / "step=9.ckpt", weights_only=True)["lt"]["loggers"]
    assert 0 < kept[0]["state"]["rows"] < rows_when_killed, "rows came between the checkpoint and the kill"

    resumed = run(tmp_path, str(tmp_path / "step=9.ckpt"))

    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / TABLE).read_bytes() == (whole / TABLE).read_bytes()
    assert scalars(tmp_path) == scalars(whole)
    assert json.loads((tmp_path / "frame.json").read_text()) == json.loads((whole / "frame.json").read_text())


def test_a_run_that_is_killed_again_leaves_the_same_logs(whole: Path, killed: Path, tmp_path: Path) -> None:
    """What the resumed run had written when it was killed, too, is taken back; so are columns of later steps."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    checkpoint = str(tmp_path / "step=6.ckpt")
    run(tmp_path, checkpoint, kill_at=10)

    resumed = run(tmp_path, checkpoint)

    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / TABLE).read_bytes() == (whole / TABLE).read_bytes()
    assert scalars(tmp_path) == scalars(whole)


def test_a_run_that_is_resumed_into_another_version_leaves_the_first_one_alone(killed: Path, tmp_path: Path) -> None:
    """Only the place that the checkpoint knows is taken back to where it was."""
    before = (killed / TABLE).read_bytes()

    done = run(tmp_path, str(killed / "step=9.ckpt"))

    assert done.returncode == 0, done.stderr
    assert (killed / TABLE).read_bytes() == before
    header, *rows = (line.split(",") for line in (tmp_path / TABLE).read_text().splitlines())
    assert min(int(row[header.index("step")]) for row in rows) >= 8
