"""Metrics, parameters and checkpoints on MLflow: a tracking server, a database or a local folder.

A call to a tracking server may wait for the network, minutes where the server is gone. So rows are sent by a thread,
and the training waits for it at the end only.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lt_core.logger import rank_zero_experiment
from lt_core.logger_params import convert_params, flatten_dict
from lt_core.rank_zero import rank_zero_only, rank_zero_warn
from lt_loggers.checkpoint_scan import SavedCheckpoint, checkpoint_settings, keeps_all, new_checkpoints
from lt_loggers.remote_run import RemoteRunLogger, require_package

if TYPE_CHECKING:
    from argparse import Namespace

    from lt_loggers.write_retry import OnFailure

__all__ = ["MLFlowLogger"]

_UNKNOWN_LETTERS = re.compile(r"[^a-zA-Z0-9_/. -]+")
_VALUE_LENGTH = 250
_METRICS_AT_ONCE = 1000
_PARAMS_AT_ONCE = 100
_STATUS = {"success": "FINISHED", "finished": "FINISHED", "failed": "FAILED"}
# What a server answers to a request that is wrong, and will be wrong the next time.
_REFUSALS = {
    "BAD_REQUEST",
    "ENDPOINT_NOT_FOUND",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}


class MLFlowLogger(RemoteRunLogger):
    """Log to a run of MLflow.

    The run is made when :attr:`experiment`, :attr:`name` or :attr:`version` is first looked at. Where the server does
    not answer then, it is made later, together with all that was logged meanwhile.

    Args:
        experiment_name: The experiment; it is made if there is none of this name.
        run_name: What the run is called; None for a name that MLflow makes.
        tracking_uri: Where the server or the database is; None for the environment's ``MLFLOW_TRACKING_URI``, else
            ``save_dir``: as a folder of files, or, where this release of MLflow writes none, the database
            ``<save_dir>/mlflow.db``.
        tags: Tags of the run.
        save_dir: The folder where no ``tracking_uri`` is given.
        log_model: Upload checkpoints as artifacts: True those that are there when a fit has succeeded, ``"all"`` each
            one when it is written.
        prefix: What comes before each metric's name, joined with ``-``; ``""`` for nothing.
        artifact_location: Where a new experiment keeps artifacts; None leaves it to MLflow.
        run_id: The run to go on with; then ``experiment_name`` and ``run_name`` do not count.
        synchronous: True sends rows from the thread that logs them; None or False from a thread of the logger.
        on_failure: Where rows cannot be sent: ``"warn"`` says so once and keeps them, ``"raise"`` ends the run.

    Raises:
        MissingPackageError: MLflow is not installed.
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        experiment_name: str = "lightning_logs",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        tags: dict[str, Any] | None = None,
        save_dir: str | os.PathLike[str] | None = "./mlruns",
        log_model: Literal["all"] | bool = False,  # noqa: FBT001, FBT002 - existing code passes it by position
        prefix: str = "",
        artifact_location: str | None = None,
        run_id: str | None = None,
        synchronous: bool | None = None,  # noqa: FBT001 - existing code passes it by position
        *,
        on_failure: OnFailure = "warn",
    ) -> None:
        require_package("mlflow", "MLFlowLogger", "mlflow")
        super().__init__(prefix, on_failure)
        self._experiment_name = experiment_name
        self._run_name = run_name
        self._tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._tags = dict(tags or {})
        self._save_dir = os.fspath(save_dir or "./mlruns")
        self._log_model = log_model
        self._artifact_location = artifact_location
        self._experiment_id: str | None = None
        self._run_id = run_id
        self._background = not synchronous
        self._checkpoint_callback: Any = None
        self._began = False
        self._asked = False
        self._ended = False
        self._renamed: set[str] = set()
        self._lock: Any = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client. The first look makes experiment and run.

        Raises:
            MlflowException: The server refuses the run.
        """
        if not self._asked:
            self._asked = True
            try:
                self._begin()
            except self._errors() as error:
                if self._on_failure == "raise" or self._refused(error):
                    raise
                self._said_failure = True
                rank_zero_warn(
                    f"{self._target()} cannot be reached: {error}. Training goes on, what is logged is kept in memory"
                    ' and tried again. Pass on_failure="raise" to the logger to end the run instead.'
                )
        return self._client()

    @property
    def name(self) -> str | None:
        """The experiment's id; None on other processes than the first, and while the server does not answer."""
        _ = self.experiment
        return self._experiment_id

    @property
    def version(self) -> str | None:
        """The run's id; None where :attr:`name` is None, too, unless it was given."""
        _ = self.experiment
        return self._run_id

    @property
    def run_id(self) -> str | None:
        """The same as :attr:`version`."""
        return self.version

    @property
    def experiment_id(self) -> str | None:
        """The same as :attr:`name`."""
        return self.name

    @property
    def save_dir(self) -> str | None:
        """The local folder; None where rows go to a server or a database of your own."""
        if self._tracking_uri is None:
            return self._save_dir
        return self._tracking_uri[len("file:") :] if self._tracking_uri.startswith("file:") else None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record one row.

        Args:
            metrics: Numbers by name: Python or NumPy numbers or tensors of one element. Letters of names that MLflow
                does not take are left out; text is left out; both is said once.
            step: The row's place on the x-axis; None counts as 0.
        """
        _ = self.experiment
        texts = [name for name, value in metrics.items() if isinstance(value, str)]
        for name in texts:
            self._say_once(f"MLflow takes numbers only: the metric {name!r} with a text is left out.")
        kept = {name: value for name, value in metrics.items() if name not in texts} if texts else metrics
        row = {self._known_name(name): value for name, value in self._numbers(kept, others=False).items()}
        self._go_on()
        self._post("row", {"metrics": row, "step": int(step or 0), "time": int(time.time() * 1000)})

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace) -> None:
        """Record parameters as text, cut off after 250 letters.

        Args:
            params: Values by name; nestings are flattened with ``/``.
        """
        _ = self.experiment
        self._go_on()
        for name, value in flatten_dict(convert_params(params)).items():
            text = str(value)
            if len(text) > _VALUE_LENGTH:
                self._say_once(f"The value of the parameter {name!r} is cut off after {_VALUE_LENGTH} letters.")
            self._post("param", {"name": self._known_name(name), "value": text[:_VALUE_LENGTH]})

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Upload new checkpoints now, or remember to do so at the end, as ``log_model`` says."""
        if keeps_all(checkpoint_callback, self._log_model):
            self._upload(checkpoint_callback)
        elif self._log_model is True:
            self._checkpoint_callback = checkpoint_callback

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Wait until all rows are sent, and end the run. What is logged later opens it again.

        Args:
            status: ``"success"`` and ``"finished"`` are MLflow's FINISHED, ``"failed"`` is FAILED.
        """
        if self._outbox is None and not self._began:
            return
        if status == "success" and self._checkpoint_callback is not None:
            self._upload(self._checkpoint_callback)
        self._post("status", _STATUS.get(status, "FINISHED"))
        self._ended = True
        super().finalize(status)

    def __getstate__(self) -> dict[str, Any]:
        _ = self.version  # a copy in another process goes on with this run
        left_here = {"_lock": None, "_checkpoint_callback": None, "_asked": False, "_began": False}
        return {**super().__getstate__(), **left_here}

    # -- the run

    def _begin(self) -> None:
        """Make the run, or find the one that was given. May be called by two threads."""
        if self._lock is None:
            self._lock = threading.Lock()
        with self._lock:
            if self._began:
                return
            client = self._client()
            if self._run_id is not None:
                self._experiment_id = client.get_run(self._run_id).info.experiment_id
            else:
                self._experiment_id = self._find_experiment(client)
                self._run_id = self._make_run(client)
            self._began = True

    def _find_experiment(self, client: Any) -> str:
        found = client.get_experiment_by_name(self._experiment_name)
        if found is not None and found.lifecycle_stage != "deleted":
            return str(found.experiment_id)
        return str(client.create_experiment(self._experiment_name, artifact_location=self._artifact_location))

    def _make_run(self, client: Any) -> str:
        from mlflow.tracking.context.registry import resolve_tags

        run = client.create_run(self._experiment_id, tags=resolve_tags(self._tags), run_name=self._run_name)
        return str(run.info.run_id)

    def _client(self) -> Any:
        if self._experiment is None:
            from mlflow import MlflowClient

            self._experiment = MlflowClient(self._tracking_uri or self._local_uri())
        return self._experiment

    def _local_uri(self) -> str:
        from mlflow import environment_variables

        allowed = getattr(environment_variables, "MLFLOW_ALLOW_FILE_STORE", None)
        if allowed is None or allowed.get():
            return f"file:{self._save_dir}"
        folder = Path(self._save_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._artifact_location = self._artifact_location or folder.as_uri()
        return f"sqlite:///{folder / 'mlflow.db'}"

    def _go_on(self) -> None:
        if self._ended:
            self._ended = False
            self._post("status", "RUNNING")

    # -- sending

    def _send(self, kind: str, items: list[Any]) -> None:
        from mlflow.entities import Metric, Param

        self._begin()
        client, run_id = self._client(), self._run_id
        if kind == "row":
            metrics = [
                Metric(name, float(value), row["time"], row["step"])
                for row in items
                for name, value in row["metrics"].items()
            ]
            for start in range(0, len(metrics), _METRICS_AT_ONCE):
                client.log_batch(run_id, metrics=metrics[start : start + _METRICS_AT_ONCE])
        elif kind == "param":
            params = [Param(item["name"], item["value"]) for item in items]
            for start in range(0, len(params), _PARAMS_AT_ONCE):
                client.log_batch(run_id, params=params[start : start + _PARAMS_AT_ONCE])
        elif items[-1] == "RUNNING":
            client.update_run(run_id, status="RUNNING")
        else:
            client.set_terminated(run_id, items[-1])

    def _errors(self) -> tuple[type[BaseException], ...]:
        from mlflow.exceptions import MlflowException

        return (MlflowException, OSError)

    def _refused(self, error: BaseException) -> bool:
        if getattr(error, "error_code", None) in _REFUSALS:
            return True
        # A store of files says INTERNAL_ERROR of everything: what did not come from the disk will be wrong again.
        local = str(self._tracking_uri or self._local_uri()).startswith("file:")
        return local and not isinstance(error, OSError) and not isinstance(error.__context__, OSError)

    def _target(self) -> str:
        return f"MLflow at {self._tracking_uri or self._save_dir}"

    def _spool_path(self) -> str:
        return os.path.join(self._save_dir, f"mlflow-{self._run_id or 'unknown'}-unsent.jsonl")

    def _known_name(self, name: str) -> str:
        known = _UNKNOWN_LETTERS.sub("", name)
        if known != name:
            self._say_once(f"MLflow takes letters, digits and `_/. -` in names: {name!r} is logged as {known!r}.")
        return known

    def _say_once(self, message: str) -> None:
        if message not in self._renamed:
            self._renamed.add(message)
            rank_zero_warn(message)

    # -- checkpoints

    @rank_zero_only
    def _upload(self, callback: Any) -> None:
        for checkpoint in new_checkpoints(callback, self._known_checkpoints):
            self._try_to_upload(checkpoint, checkpoint_settings(callback))

    def _try_to_upload(self, checkpoint: SavedCheckpoint, settings: dict[str, Any]) -> None:
        try:
            self._upload_one(checkpoint, settings)
        except self._errors() as error:
            if self._on_failure == "raise":
                raise
            rank_zero_warn(f"The checkpoint {checkpoint.path} was not uploaded to {self._target()}: {error}")

    def _upload_one(self, checkpoint: SavedCheckpoint, settings: dict[str, Any]) -> None:
        import yaml

        self._begin()
        client, place = self._client(), Path(checkpoint.path).stem
        upload = client.log_artifacts if os.path.isdir(checkpoint.path) else client.log_artifact
        upload(self._run_id, checkpoint.path, place)
        aliases = ["latest", "best"] if checkpoint.tag == "best" else ["latest"]
        metadata = {
            "name": Path(checkpoint.path).name,
            "metadata": {
                "score": checkpoint.score,
                "original_filename": Path(checkpoint.path).name,
                "ModelCheckpoint": settings,
            },
            "aliases": aliases,
        }
        with tempfile.TemporaryDirectory(prefix="lt-mlflow-") as folder:
            Path(folder, "metadata.yaml").write_text(yaml.safe_dump(metadata, default_flow_style=False))
            Path(folder, "aliases.txt").write_text(str(aliases))
            client.log_artifacts(self._run_id, folder, place)
