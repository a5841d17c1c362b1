"""Metrics, hyperparameters and the model's text on Comet, online or in an archive for ``comet upload``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from lt_core.logger import rank_zero_experiment
from lt_core.logger_params import convert_params, flatten_dict, sanitize_params
from lt_core.rank_zero import rank_zero_deprecation, rank_zero_only
from lt_loggers.remote_run import RemoteRunLogger, require_package

if TYPE_CHECKING:
    from argparse import Namespace

    from torch import nn

    from lt_loggers.write_retry import OnFailure

__all__ = ["CometLogger"]

# Since CometLogger 2.5 of Lightning: what was an argument of the logger is one of `ExperimentConfig`.
_OLDER = {"experiment_name": "name", "project_name": "project", "offline": "online", "save_dir": "offline_directory"}


class CometLogger(RemoteRunLogger):
    """Log to an experiment of Comet.

    The experiment begins when :attr:`experiment` is first looked at, which a trainer does before ``setup``, and ends
    with the process or with ``logger.experiment.end()``.

    Args:
        api_key: The key of the account; None for Comet's own settings (``COMET_API_KEY``, ``~/.comet.config``).
        workspace: None for the account's own.
        project: None for Comet's default project.
        experiment_key: The experiment to go on with, 32 to 50 letters and digits; None for a new one.
        mode: ``"get_or_create"``, ``"get"`` or ``"create"``; None chooses by ``experiment_key``.
        online: False keeps everything in an archive in ``offline_directory``; None leaves it to Comet's settings.
        prefix: What comes before each metric's name, joined with ``-``; None for nothing.
        on_failure: Where Comet does not take rows: ``"warn"`` says so once and keeps them, ``"raise"`` ends the run.
        kwargs: Further arguments of ``comet_ml.ExperimentConfig``, such as ``name``, ``tags``, ``offline_directory``.

    Raises:
        MissingPackageError: comet_ml is not installed.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        workspace: str | None = None,
        project: str | None = None,
        experiment_key: str | None = None,
        mode: Literal["get_or_create", "get", "create"] | None = None,
        online: bool | None = None,
        prefix: str | None = None,
        on_failure: OnFailure = "warn",
        **kwargs: Any,
    ) -> None:
        require_package("comet_ml", "CometLogger", "comet-ml")
        super().__init__(prefix or "", on_failure)
        arguments = {"project": project, "online": online, **_modern(kwargs)}
        self._project: str | None = arguments.pop("project")
        self._online: bool | None = arguments.pop("online")
        self._key = experiment_key or os.environ.get("COMET_EXPERIMENT_KEY")
        self._login = {"api_key": api_key, "workspace": workspace}
        self._mode = mode
        self._config = arguments

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Comet's experiment. The first look begins it."""
        if self._experiment is None:
            import comet_ml

            directory = self._config.get("offline_directory")
            if directory is not None:
                os.makedirs(directory, exist_ok=True)
            self._experiment = comet_ml.start(
                **self._login,
                project=self._project,
                # Comet makes a new experiment with a key of its own in mode "create", and takes ours in the others.
                experiment_key=None if self._mode == "create" else self.version,
                mode=self._mode,
                online=self._online,
                experiment_config=comet_ml.ExperimentConfig(**self._config),
            )
            self._key = self._experiment.get_key()
        return self._experiment

    @property
    def name(self) -> str | None:
        """The project."""
        return self._project

    @property
    def version(self) -> str | None:
        """The experiment's key; None on other processes than the first, unless it was given."""
        if self._key is None and rank_zero_only.rank == 0:
            if self._mode == "create":
                return str(self.experiment.get_key())
            import secrets

            self._key = secrets.token_hex(16)
        return self._key

    @property
    def save_dir(self) -> str | None:
        """The folder of the archive, where it was given."""
        directory = self._config.get("offline_directory")
        return None if directory is None else os.fspath(directory)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record one row.

        Args:
            metrics: Numbers by name. One named ``epoch`` is the row's epoch for Comet.
            step: The row's place on the x-axis; None for Comet's own count.
        """
        values = dict(metrics) if isinstance(metrics, Mapping) else metrics
        epoch = values.pop("epoch", None) if isinstance(values, dict) else None
        self._post("row", {"metrics": self._numbers(values, others=True), "step": step, "epoch": epoch})

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace) -> None:
        """Record hyperparameters.

        Args:
            params: Values by name; nestings are flattened with ``/``.
        """
        flat = sanitize_params(flatten_dict(convert_params(params)))
        plain = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value) for name, value in flat.items()
        }
        self._post("parameters", plain)

    @rank_zero_only
    def log_graph(self, model: nn.Module, input_array: Any = None) -> None:
        """Record the text of a model.

        Args:
            model: The model.
            input_array: Not needed for the text; there for loggers that trace.
        """
        self.experiment.set_model_graph(str(model))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """See that Comet has all rows; the experiment stays open, so that a later test goes to it."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.flush()

    def __getstate__(self) -> dict[str, Any]:
        key = self.version  # a copy in another process goes on with this experiment
        mode = None if self._mode == "create" else self._mode
        return {**super().__getstate__(), "_key": key, "_mode": mode}

    def _send(self, kind: str, items: list[Any]) -> None:
        if getattr(self._experiment, "ended", False):
            self._experiment = None  # Comet drops what comes after the end without a word: go on with it
        for item in items:
            if kind == "row":
                self.experiment.log_metrics(item["metrics"], step=item["step"], epoch=item["epoch"])
            else:
                self.experiment.log_parameters(item)

    def _errors(self) -> tuple[type[BaseException], ...]:
        from comet_ml.exceptions import CometException

        return (CometException, OSError)

    def _target(self) -> str:
        return f"Comet's experiment {self.version}"


def _modern(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments under their present names, and say which are older."""
    modern = {}
    for name, value in arguments.items():
        now = _OLDER.get(name, name)
        if now != name:
            rank_zero_deprecation(f"`CometLogger({name}=…)` is an older form. Write `{now}=` instead.")
        modern[now] = (not value) if name == "offline" else value
    return modern
