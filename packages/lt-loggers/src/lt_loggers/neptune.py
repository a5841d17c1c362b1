"""Metrics, hyperparameters and checkpoints on Neptune, online or kept locally for ``neptune sync``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationException
from lt_core.logger import rank_zero_experiment
from lt_core.logger_params import convert_params, flatten_dict, sanitize_params
from lt_core.rank_zero import rank_zero_only
from lt_loggers.checkpoint_scan import new_checkpoints
from lt_loggers.remote_run import RemoteRunLogger, require_package

if TYPE_CHECKING:
    from argparse import Namespace

    from torch import nn

    from lt_loggers.write_retry import OnFailure

__all__ = ["NeptuneLogger"]


class NeptuneLogger(RemoteRunLogger):
    """Log to a run of Neptune, through its client 1.x.

    The public service of this client has ended. It still writes runs of ``mode="offline"`` and ``mode="debug"``, and
    sends to servers that people run themselves.

    Args:
        api_key: The token of the account; None for the environment's ``NEPTUNE_API_TOKEN``.
        project: ``workspace/project``; None for the environment's ``NEPTUNE_PROJECT``.
        name: What the run is called.
        run: A run that was begun with ``neptune.init_run``; then nothing of the above may be given.
        log_model_checkpoints: Upload checkpoints when they are written.
        prefix: The folder within the run for all that is logged.
        on_failure: Where Neptune does not take rows: ``"warn"`` says so once and keeps them, ``"raise"`` ends the run.
        neptune_run_kwargs: Further arguments of ``neptune.init_run``, such as ``mode``, ``tags``, ``with_id``.

    Raises:
        MissingPackageError: neptune is not installed.
        MisconfigurationException: A run and arguments for a new one were given.
    """

    LOGGER_JOIN_CHAR = "/"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        project: str | None = None,
        name: str | None = None,
        run: Any = None,
        log_model_checkpoints: bool | None = True,
        prefix: str = "training",
        on_failure: OnFailure = "warn",
        **neptune_run_kwargs: Any,
    ) -> None:
        require_package("neptune", "NeptuneLogger", "neptune")
        super().__init__("", on_failure)
        given = {"api_token": api_key, "project": project, "name": name, **neptune_run_kwargs}
        self._init = {key: value for key, value in given.items() if value is not None}
        if run is not None and self._init:
            raise MisconfigurationException(
                f"NeptuneLogger got run={run!r} and {sorted(self._init)}. A run that exists has all of them already."
                " Leave them out, or leave `run` out to begin a new one."
            )
        self._folder = prefix
        self._log_model_checkpoints = log_model_checkpoints
        self._experiment = run
        self._version: str | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Neptune's run. The first look begins it."""
        if self._experiment is None:
            import neptune

            # The run that a copy of this logger goes on with.
            known = {} if self._version is None or self._is_local() else {"with_id": self._version}
            self._experiment = neptune.init_run(**{**self._init, **known})
        return self._experiment

    @property
    def run(self) -> Any:
        """The same as :attr:`experiment`."""
        return self.experiment

    @property
    def name(self) -> str | None:
        """What the run is called."""
        return self._init.get("name")

    @property
    def version(self) -> str | None:
        """The run's short id, ``"OFFLINE"`` where it is kept locally; None on other processes than the first."""
        if self._is_local():
            return "OFFLINE"
        if self._version is None and rank_zero_only.rank == 0:
            self._version = str(self.experiment["sys/id"].fetch())
        return self._version

    @property
    def save_dir(self) -> str:
        """The folder for Neptune's files, within the working folder."""
        return os.path.join(os.getcwd(), ".neptune")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add one row to the series of each metric.

        Args:
            metrics: Numbers by name: Python or NumPy numbers or tensors of one element.
            step: The row's place on the x-axis; None for Neptune's own count.
        """
        self._post("row", {"metrics": self._numbers(metrics, others=False), "step": step})

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace) -> None:
        """Put hyperparameters into the folder ``<prefix>/hyperparams``.

        Args:
            params: Values by name; nestings become folders.
        """
        flat = sanitize_params(flatten_dict(convert_params(params)))
        plain = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value) for name, value in flat.items()
        }
        self._post("parameters", plain)

    @rank_zero_only
    def log_model_summary(self, model: nn.Module, max_depth: int = -1) -> None:
        """Put the text of a model into ``<prefix>/model/summary``.

        Args:
            model: The model.
            max_depth: How many levels of it, as in its ``repr``; -1 for all.
        """
        from neptune.types import File

        lines = str(model).splitlines()
        text = "\n".join(line for line in lines if max_depth < 0 or (len(line) - len(line.lstrip())) // 2 <= max_depth)
        self.experiment[f"{self._folder}/model/summary"].upload(File.from_content(text, extension="txt"))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Upload new checkpoints to ``<prefix>/model/checkpoints`` and note the best one."""
        if not self._log_model_checkpoints:
            return
        model = f"{self._folder}/model"
        for checkpoint in new_checkpoints(checkpoint_callback, self._known_checkpoints):
            stem = os.path.splitext(os.path.basename(checkpoint.path))[0]
            self.experiment[f"{model}/checkpoints/{stem}"].upload(checkpoint.path)
            if checkpoint.tag == "best":
                self.experiment[f"{model}/best_model_path"] = checkpoint.path
                if checkpoint.score is not None:
                    self.experiment[f"{model}/best_model_score"] = checkpoint.score

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """See that Neptune has all rows, and note how the run ended; it stays open for a later test."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment["status"] = status
            if not self._is_local():
                self._experiment.wait(disk_only=True)

    def __getstate__(self) -> dict[str, Any]:
        version = None if self._is_local() else self.version
        return {**super().__getstate__(), "_version": version}

    def _is_local(self) -> bool:
        mode = self._init.get("mode") or os.environ.get("NEPTUNE_MODE")
        return mode in ("offline", "debug")

    def _send(self, kind: str, items: list[Any]) -> None:
        run = self.experiment
        for item in items:
            if kind == "row":
                for name, value in item["metrics"].items():
                    run[f"{self._folder}/{name}"].append(value, step=item["step"])
            else:
                run[f"{self._folder}/hyperparams"] = item

    def _errors(self) -> tuple[type[BaseException], ...]:
        from neptune.exceptions import NeptuneException

        return (NeptuneException, OSError)

    def _target(self) -> str:
        return "Neptune"
