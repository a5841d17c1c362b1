"""MLFlowLogger against the real library, on a store of files, a database, and a server that is not there."""

from __future__ import annotations

import json
import math
import pickle
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from lt_core.testing import KitModule, MiniTrainer, kit_loader
from lt_loggers import MLFlowLogger

mlflow: Any = pytest.importorskip("mlflow", reason="MLFlowLogger is not tested: mlflow is not installed here")


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what mlflow stands on


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")


def history(logger: MLFlowLogger, name: str) -> list[tuple[int, float]]:
    metrics = logger.experiment.get_metric_history(logger.version, name)
    return sorted((metric.step, metric.value) for metric in metrics)


def test_a_run_is_written_to_a_folder_of_files(tmp_path: Path) -> None:
    """Rows, parameters, tags, name and status are what MLflow reads back."""
    logger = MLFlowLogger("digits", run_name="first", tags={"team": "a"}, save_dir=tmp_path / "runs", prefix="fold0")

    logger.log_hyperparams({"lr": 0.1, "net": {"sizes": [1, 2]}, "nothing": None})
    logger.log_metrics({"loss": torch.tensor(0.5), "epoch": 0}, step=1)
    logger.log_metrics({"loss": 0.25}, step=3)
    logger.finalize("success")

    run = logger.experiment.get_run(logger.version)
    assert history(logger, "fold0-loss") == [(1, 0.5), (3, 0.25)]
    assert run.data.params == {"lr": "0.1", "net/sizes": "[1, 2]", "nothing": "None"}
    assert run.data.tags["team"] == "a"
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert (tmp_path / "runs" / str(logger.name) / str(logger.version)).is_dir()
    assert logger.save_dir == str(tmp_path / "runs")


def test_a_run_is_written_to_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MLflow writes no files any more, the default is a database in the folder; a failed run is marked."""
    pytest.importorskip("sqlalchemy", reason="the database of MLFlowLogger is not tested: sqlalchemy is not installed")
    if not hasattr(mlflow.environment_variables, "MLFLOW_ALLOW_FILE_STORE"):
        pytest.skip("this release of mlflow writes files, which is tested above")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    logger = MLFlowLogger(save_dir=tmp_path / "runs")

    logger.log_metrics({"loss": math.nan}, step=1)
    logger.finalize("failed")

    [(step, value)] = history(logger, "loss")
    assert step == 1
    assert math.isnan(value)
    assert (tmp_path / "runs" / "mlflow.db").is_file()
    assert logger.experiment.get_run(logger.version).info.status == "FAILED"


def test_a_short_run_loses_no_row_and_a_second_one_opens_it_again(tmp_path: Path) -> None:
    """All rows of two fits are there, and the run is ended again."""
    logger = MLFlowLogger(save_dir=tmp_path)
    trainer = MiniTrainer(logger=logger, max_epochs=2, log_every_n_steps=1)

    trainer.fit(KitModule(), kit_loader(), kit_loader())
    statuses = [logger.experiment.get_run(logger.version).info.status]
    logger.log_metrics({"later": 1.0}, step=9)
    assert logger._outbox is not None
    logger._outbox.flush(10, str(tmp_path / "spool"))
    statuses.append(logger.experiment.get_run(logger.version).info.status)
    logger.finalize("success")

    assert [step for step, _ in history(logger, "loss_step")] == [0, 1, 2, 3]
    assert history(logger, "later") == [(9, 1.0)]
    assert statuses == ["FINISHED", "RUNNING"]


def test_names_texts_and_long_values_that_mlflow_does_not_take_are_said(tmp_path: Path) -> None:
    """Nothing goes under another name or is left out in silence."""
    logger = MLFlowLogger(save_dir=tmp_path)

    with pytest.warns(UserWarning, match=r"'acc@\[5\]' is logged as 'acc5'"):
        logger.log_metrics({"acc@[5]": 1.0})
    with pytest.warns(UserWarning, match="'note' with a text is left out"):
        logger.log_metrics({"note": "good", "b": 2.0})
    with pytest.warns(UserWarning, match="'long' is cut off after 250 letters"):
        logger.log_hyperparams({"long": "x" * 300})
    logger.finalize("success")

    run = logger.experiment.get_run(logger.version)
    assert run.data.metrics == {"acc5": 1.0, "b": 2.0}
    assert run.data.params["long"] == "x" * 250


def test_a_parameter_that_the_server_refuses_is_said_and_holds_nothing_up(tmp_path: Path) -> None:
    """MLflow takes no second value for a parameter; the rows after it arrive."""
    logger = MLFlowLogger(save_dir=tmp_path, synchronous=True)
    logger.log_hyperparams({"lr": 0.1})

    with pytest.warns(UserWarning, match=r"refuses this, which is left out.*lr"):
        logger.log_hyperparams({"lr": 0.2})
    logger.log_metrics({"a": 1.0}, step=4)

    assert history(logger, "a") == [(4, 1.0)]


def test_checkpoints_become_artifacts(tmp_path: Path) -> None:
    """The file and what it is lie in a folder of its name."""
    logger = MLFlowLogger(save_dir=tmp_path / "runs", log_model="all")
    path = tmp_path / "epoch=1.ckpt"
    path.write_bytes(b"weights")

    class Saver:
        best_model_path = last_model_path = str(path)
        best_model_score = torch.tensor(0.5)
        save_top_k = 1

    logger.after_save_checkpoint(Saver())

    found = [file.path for file in logger.experiment.list_artifacts(logger.version, "epoch=1")]
    assert sorted(found) == ["epoch=1/aliases.txt", "epoch=1/epoch=1.ckpt", "epoch=1/metadata.yaml"]


def test_a_pickled_copy_goes_on_with_the_same_run(tmp_path: Path) -> None:
    """Also when the run had not begun."""
    logger = MLFlowLogger(save_dir=tmp_path)

    copy = pickle.loads(pickle.dumps(logger))
    copy.log_metrics({"a": 1.0}, step=0)
    copy.finalize("success")

    assert copy.version == logger.version
    assert history(logger, "a") == [(0, 1.0)]


def test_a_server_that_is_gone_costs_no_row_and_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training goes on at once; at the end the rows are in a file, and the warning says how many and where."""
    monkeypatch.setattr("lt_loggers.remote_run._FLUSH_SECONDS", 3.0)
    logger = MLFlowLogger(tracking_uri="http://127.0.0.1:9", save_dir=tmp_path)  # the discard port: nobody listens
    with pytest.warns(UserWarning, match=r"MLflow at http://127.0.0.1:9 cannot be reached"):
        _ = logger.experiment

    began = time.monotonic()
    for step in range(50):
        logger.log_metrics({"loss": float(step)}, step=step)
    took = time.monotonic() - began
    with pytest.warns(UserWarning, match=r"51 entries could not be sent .*-unsent\.jsonl"):
        logger.finalize("success")

    assert took < 1.0
    [spool] = tmp_path.glob("*-unsent.jsonl")
    lines = [json.loads(line) for line in spool.read_text().splitlines()]
    assert [line["row"]["metrics"]["loss"] for line in lines[:-1]] == [float(step) for step in range(50)]


def test_a_server_that_is_gone_ends_the_run_where_that_is_asked_for() -> None:
    """With on_failure="raise" the library's own error reaches the caller."""
    logger = MLFlowLogger(tracking_uri="http://127.0.0.1:9", on_failure="raise")

    with pytest.raises(mlflow.exceptions.MlflowException):
        _ = logger.experiment


class _Server(BaseHTTPRequestHandler):
    """As much of MLflow's REST interface as a run needs; it can be away."""

    away = False
    batches: ClassVar[list[dict[str, Any]]] = []

    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        path = self.path.partition("?")[0].rpartition("/mlflow/")[2]
        if type(self).away:
            self.reply(503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "away"})
            return
        run = {"info": {"run_id": "r1", "run_uuid": "r1", "experiment_id": "1", "status": "RUNNING", "start_time": 0}}
        if path == "runs/log-batch":
            type(self).batches.append(body)
        known = {
            "experiments/get-by-name": {"experiment": {"experiment_id": "1", "name": "e", "lifecycle_stage": "active"}},
            "runs/create": {"run": run},
            "runs/update": {"run_info": run["info"]},
        }
        self.reply(200, known.get(path, {}))

    do_GET = do_POST = answer  # noqa: N815 -- the names that the standard library calls

    def reply(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name of the standard library
        pass


def test_a_server_that_is_away_for_a_while_gets_every_row(tmp_path: Path) -> None:
    """What was logged meanwhile arrives in order when it is back; it is said once that it was away."""
    _Server.away, _Server.batches = False, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    logger = MLFlowLogger(tracking_uri=f"http://127.0.0.1:{server.server_port}", save_dir=tmp_path)
    logger.log_metrics({"loss": 0.0}, step=0)

    _Server.away = True
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in range(1, 40):
            logger.log_metrics({"loss": float(step)}, step=step)
            time.sleep(0.05)
    _Server.away = False
    logger.finalize("success")
    server.shutdown()
    server.server_close()

    steps = [int(metric["step"]) for batch in _Server.batches for metric in batch["metrics"]]
    assert steps == list(range(40))
    assert sum("kept in memory and tried again" in str(each.message) for each in said) == 1
    assert not list(tmp_path.glob("*unsent*"))
