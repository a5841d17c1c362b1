"""WandbLogger against the real library, offline: what it writes is read back from wandb's own file."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lt_core.testing import KitModule, MiniTrainer, kit_loader
from lt_loggers import WandbLogger

wandb: Any = pytest.importorskip("wandb", reason="WandbLogger is not tested: wandb is not installed here")


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what wandb stands on


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_PROJECT", "WANDB_RUN_ID", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    yield
    wandb.finish()
    wandb.teardown()  # older releases keep folder and key of the first run of a process


def records(folder: Path) -> list[Any]:
    """Finish the run and read all records of its file."""
    from wandb.proto import wandb_internal_pb2

    wandb.finish()
    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_ctime):
        for data in pieces(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            found.append(record)
    return found


def pieces(content: bytes) -> Iterator[bytes]:
    """Read the log format of LevelDB (blocks of 32 KiB; checksum, length, part) after wandb's 7 bytes of header."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, part = struct.unpack_from("<HB", content, place + 4)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # whole, or the last of several
            yield parts
            parts = b""


def rows(folder: Path) -> list[dict[str, Any]]:
    parsed = []
    for record in records(folder):
        if record.WhichOneof("record_type") == "history":
            items = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            parsed.append({name: value for name, value in items.items() if not name.startswith("_")})
    return parsed


def test_rows_and_hyperparameters_are_in_the_file_of_the_run(tmp_path: Path) -> None:
    """Rows have the trainer's step as x-axis, in any order; hyperparameters are the run's configuration."""
    logger = WandbLogger(save_dir=tmp_path, project="digits", offline=True, prefix="fold0")

    logger.log_hyperparams({"lr": 0.1, "net": {"sizes": [1, 2], "act": torch.nn.ReLU}})
    logger.log_metrics({"loss": torch.tensor(0.5)}, step=3)
    logger.log_metrics({"loss": 0.25}, step=1)
    logger.finalize("success")

    config = dict(logger.experiment.config)
    assert config == {"lr": 0.1, "net": {"sizes": [1, 2], "act": str(torch.nn.ReLU)}}
    assert rows(tmp_path) == [
        {"fold0-loss": 0.5, "trainer/global_step": 3},
        {"fold0-loss": 0.25, "trainer/global_step": 1},
    ]


def test_the_place_of_a_run_is_known_before_it_begins(tmp_path: Path) -> None:
    """The name is the project, the version the run's id, which the run then has and a pickled copy shares."""
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    before = (logger.name, logger.version, logger.save_dir)

    copy = pickle.loads(pickle.dumps(logger))
    run = logger.experiment

    assert before == ("lightning_logs", run.id, str(tmp_path))
    assert copy.version == run.id


def test_a_short_run_loses_no_row(tmp_path: Path) -> None:
    """What a fit of two epochs logs is there, though it never came to a flush of its own."""
    logger = WandbLogger(save_dir=tmp_path, offline=True)

    MiniTrainer(logger=logger, max_epochs=2, log_every_n_steps=1).fit(KitModule(), kit_loader(), kit_loader())

    logged = rows(tmp_path)
    assert [row["trainer/global_step"] for row in logged if "loss_step" in row] == [0, 1, 2, 3]
    assert sum("val_loss" in row for row in logged) == 2


def test_a_run_that_was_finished_is_gone_on_with(tmp_path: Path) -> None:
    """Rows after `wandb.finish()` wait, and go to the same id at the next try; none is lost."""
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    logger.log_metrics({"a": 1.0}, step=0)
    first = logger.experiment.id
    wandb.finish()

    with pytest.warns(UserWarning, match="kept in memory and tried again"):
        logger.log_metrics({"a": 2.0}, step=1)
    logger.log_metrics({"a": 3.0}, step=2)
    logger.finalize("success")

    assert logger.version == first
    assert [row["a"] for row in rows(tmp_path)] == [1.0, 2.0, 3.0]


def test_a_run_that_was_finished_ends_the_training_where_that_is_asked_for(tmp_path: Path) -> None:
    """With on_failure="raise" the library's own error reaches the caller."""
    logger = WandbLogger(save_dir=tmp_path, offline=True, on_failure="raise")
    logger.log_metrics({"a": 1.0}, step=0)
    wandb.finish()

    with pytest.raises(wandb.errors.UsageError):
        logger.log_metrics({"a": 2.0}, step=1)


def test_a_run_that_is_open_is_used_and_said(tmp_path: Path) -> None:
    """A run of the user's own is no second one."""
    run = wandb.init(mode="offline", dir=tmp_path, project="own")

    with pytest.warns(UserWarning, match="is open already"):
        used = WandbLogger(save_dir=tmp_path).experiment

    assert used is run


def test_images_and_tables_go_to_the_run(tmp_path: Path) -> None:
    """They are media of the row; a list of captions has to fit; one image alone is refused with the form to write."""
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    picture = torch.rand(1, 4, 4)

    logger.log_image("digits", [picture, picture], step=2, caption=["one", "two"])
    logger.log_text("answers", columns=["question", "answer"], data=[["a", "b"]])
    with pytest.raises(ValueError, match="2 items and 1 values of 'caption'"):
        logger.log_image("digits", [picture, picture], caption=["one"])
    with pytest.raises(TypeError, match=r"write `log_image\('digits', \[...\]\)`"):
        logger.log_image("digits", picture)  # type: ignore[arg-type]

    wandb.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/table/answers*.table.json"))
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/digits*.png"))


def test_checkpoints_become_artifacts_of_the_run(tmp_path: Path) -> None:
    """With log_model="all" each new file goes up once, the best one under its alias."""
    run = wandb.init(mode="offline", dir=tmp_path)
    logger = WandbLogger(experiment=run, log_model="all")
    path = tmp_path / "epoch=1.ckpt"
    path.write_bytes(b"weights")

    class Saver:
        best_model_path = last_model_path = str(path)
        best_model_score = torch.tensor(0.5)
        save_top_k = 1

    logger.after_save_checkpoint(Saver())
    logger.after_save_checkpoint(Saver())

    found = records(tmp_path)
    artifacts = [record.artifact for record in found if record.WhichOneof("record_type") == "artifact"]
    artifacts += [record.request.log_artifact.artifact for record in found if record.request.HasField("log_artifact")]
    [artifact] = [each for each in artifacts if each.type == "model"]
    assert artifact.name == f"model-{run.id}"
    assert sorted(artifact.aliases) == ["best", "latest"]
    assert json.loads(artifact.metadata)["score"] == 0.5


def test_offline_and_upload_together_are_refused(tmp_path: Path) -> None:
    """The message names both arguments."""
    with pytest.raises(Exception, match="offline=True and log_model='all'"):
        WandbLogger(save_dir=tmp_path, offline=True, log_model="all")


def test_a_server_that_does_not_answer_leaves_a_run_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run begins all the same; the warning has the command that uploads it later."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    settings = wandb.Settings(base_url="http://127.0.0.1:9", init_timeout=3)  # the discard port: nobody listens
    logger = WandbLogger(save_dir=tmp_path, settings=settings)

    with pytest.warns(UserWarning, match=r"wandb sync .*offline-run-"):
        logger.log_metrics({"a": 1.0}, step=0)
    logger.finalize("success")

    assert rows(tmp_path)[-1]["a"] == 1.0
    assert os.path.isdir(logger.save_dir)
