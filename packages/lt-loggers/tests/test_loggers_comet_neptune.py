"""CometLogger and NeptuneLogger against the real libraries in their offline modes."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lt_core.rank_zero import LightningDeprecationWarning
from lt_loggers import CometLogger, NeptuneLogger

needs_comet = pytest.mark.skipif(
    pytest.importorskip("importlib.util").find_spec("comet_ml") is None,
    reason="CometLogger is not tested: comet_ml is not installed here",
)
needs_neptune = pytest.mark.skipif(
    pytest.importorskip("importlib.util").find_spec("neptune") is None,
    reason="NeptuneLogger is not tested: neptune is not installed here",
)
pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say of what they stand on
QUIET: dict[str, Any] = {"log_code": False, "auto_output_logging": False, "display_summary_level": 0}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMET_DISABLE_AUTO_LOGGING", "1")


def comet_messages(folder: Path) -> list[dict[str, Any]]:
    """Read all messages of all archives."""
    found = []
    for path in sorted(folder.glob("*.zip"), key=lambda path: path.stat().st_mtime):
        with zipfile.ZipFile(path) as archive:
            found += [json.loads(line)["payload"] for line in archive.read("messages.json").decode().splitlines()]
    return found


def comet_metrics(folder: Path) -> list[tuple[str, Any, int, Any]]:
    metrics = [(message["metric"], message) for message in comet_messages(folder) if message.get("metric")]
    return [
        (
            metric["metricName"],
            float(metric["metricValue"]),
            message.get("step", metric.get("step")),
            message.get("epoch"),
        )
        for metric, message in metrics
    ]


@needs_comet
def test_comet_keeps_rows_and_parameters_in_an_archive(tmp_path: Path) -> None:
    """The archive has the values, their steps and epochs, and the flat parameters; the key was known before."""
    logger = CometLogger(online=False, project="p", prefix="fold0", offline_directory=tmp_path, **QUIET)
    key = logger.version

    logger.log_hyperparams({"lr": 0.1, "net": {"sizes": [1, 2]}})
    logger.log_metrics({"loss": 0.5, "epoch": 2}, step=7)
    logger.finalize("success")
    logger.experiment.end()

    text = json.dumps(comet_messages(tmp_path))
    assert logger.experiment is not None
    assert logger.version == key
    assert [name_value[:3] for name_value in comet_metrics(tmp_path) if name_value[0] == "fold0-loss"] == [
        ("fold0-loss", 0.5, 7)
    ]
    assert "net/sizes" in text
    assert logger.save_dir == str(tmp_path)
    sys.modules["comet_ml"].get_running_experiment().end()


@needs_comet
def test_comet_rows_after_the_end_of_an_experiment_are_not_dropped(tmp_path: Path) -> None:
    """The library drops them without a word; the logger goes on with the same experiment."""
    logger = CometLogger(online=False, project="p", offline_directory=tmp_path, **QUIET)
    logger.log_metrics({"a": 1.0}, step=0)
    logger.experiment.end()

    logger.log_metrics({"a": 2.0}, step=1)
    logger.finalize("success")
    logger.experiment.end()

    assert [(value, step) for name, value, step, _ in comet_metrics(tmp_path) if name == "a"] == [(1.0, 0), (2.0, 1)]


@needs_comet
def test_comet_arguments_of_older_code_are_understood_and_said(tmp_path: Path) -> None:
    """`offline`, `save_dir`, `project_name` and `experiment_name` mean what they meant."""
    with pytest.warns(
        LightningDeprecationWarning, match=r"`CometLogger\(offline=…\)` is an older form. Write `online=`"
    ):
        logger = CometLogger(offline=True, save_dir=tmp_path, project_name="p", experiment_name="first")

    assert (logger.name, logger.save_dir) == ("p", str(tmp_path))
    assert (logger._online, logger._config["name"]) == (False, "first")


@needs_neptune
def test_neptune_keeps_rows_and_parameters_in_its_folder(tmp_path: Path) -> None:
    """Each operation is in the file that `neptune sync` sends."""
    logger = NeptuneLogger(mode="offline", project="team/project")

    logger.log_hyperparams({"lr": 0.1, "net": {"sizes": [1, 2]}})
    logger.log_metrics({"loss": 0.5}, step=7)
    logger.finalize("success")
    logger.experiment.stop()

    text = "".join(path.read_text() for path in tmp_path.glob(".neptune/offline/run__*/data-*.log"))
    operations = [json.loads(line)["obj"] for line in text.splitlines()]
    paths = {"/".join(operation["path"]): operation for operation in operations}
    assert paths["training/loss"]["values"] == [{"value": 0.5, "step": 7.0, "ts": pytest.approx(0, abs=1e12)}]
    assert paths["training/hyperparams/lr"]["value"] == 0.1
    assert paths["training/hyperparams/net/sizes"]["value"] == "[1, 2]"
    assert paths["status"]["value"] == "success"


@needs_neptune
def test_neptune_keeps_checkpoints_and_the_text_of_a_model(tmp_path: Path) -> None:
    """They are uploads of the run; the best path is noted."""
    import torch

    logger = NeptuneLogger(mode="debug")
    path = tmp_path / "epoch=1.ckpt"
    path.write_bytes(b"weights")

    class Saver:
        best_model_path = last_model_path = str(path)
        best_model_score = torch.tensor(0.5)

    logger.log_model_summary(torch.nn.Linear(2, 1))
    logger.after_save_checkpoint(Saver())

    structure = logger.experiment.get_structure()["training"]["model"]
    assert set(structure) == {"summary", "checkpoints", "best_model_path", "best_model_score"}
    assert set(structure["checkpoints"]) == {"epoch=1"}
    logger.experiment.stop()


@needs_neptune
def test_neptune_takes_a_run_or_arguments_for_one() -> None:
    """Both together are refused by name; a copy does not carry the run."""
    import neptune

    run = neptune.init_run(mode="debug")

    with pytest.raises(Exception, match=r"\['project'\]"):
        NeptuneLogger(run=run, project="team/project")
    logger = NeptuneLogger(mode="offline", project="team/project")
    assert pickle.loads(pickle.dumps(logger)).version == logger.version == "OFFLINE"
    run.stop()
