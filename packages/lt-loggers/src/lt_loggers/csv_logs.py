"""Metrics as a CSV file: no further package, readable with anything, whole after any crash."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationException, MisconfigurationValueError
from lt_core.logger import rank_zero_experiment
from lt_core.logger_params import add_prefix, convert_params
from lt_core.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn
from lt_loggers.hparams_file import HparamsFile
from lt_loggers.metrics_file import MetricsFile
from lt_loggers.run_folder import RunFolderLogger
from lt_loggers.scalars import checked_metrics, scalar
from lt_loggers.write_retry import OnFailure, WriteRetry

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

__all__ = ["CSVLogger", "ExperimentWriter"]


class ExperimentWriter:
    """Keeps the rows of one run until they are saved to its files.

    Args:
        log_dir: The run's folder. It is made when something is written.
        on_failure: ``"warn"`` or ``"raise"``, where files cannot be written.
    """

    NAME_METRICS_FILE = "metrics.csv"
    NAME_HPARAMS_FILE = "hparams.yaml"

    def __init__(self, log_dir: str, on_failure: OnFailure = "warn") -> None:
        self.log_dir = log_dir
        self.metrics: list[dict[str, float | int]] = []
        """The rows that are not in the file yet."""
        self.metrics_file_path = os.path.join(log_dir, self.NAME_METRICS_FILE)
        self._file = MetricsFile(self.metrics_file_path)
        self._hparams_file = HparamsFile(os.path.join(log_dir, self.NAME_HPARAMS_FILE), keep_existing=False)
        self._retry = WriteRetry(log_dir, on_failure=on_failure)
        self._last_row: dict[str, float | int] | None = None
        self._said_logged_step = False

    @property
    def hparams(self) -> dict[str, Any]:
        """All hyperparameters that were logged."""
        return self._hparams_file.hparams

    def prepare(self) -> None:
        """Make the folder and look at the metrics file that is to be continued, if there is one.

        Raises:
            OSError: The folder cannot be made or the file cannot be read.
        """
        os.makedirs(self.log_dir, exist_ok=True)
        if self._file.num_rows:
            rank_zero_info(f"{self.metrics_file_path} holds {self._file.num_rows} rows; new rows are added to it.")

    def log_metrics(self, metrics: Mapping[str, Any], step: float | None = None) -> None:
        """Keep a row until the next :meth:`save`.

        Args:
            metrics: Values by name. A value named ``step`` is the row's step where none is given; where another one is
                given, it goes to the column ``logged_step``.
            step: The row's step, from 0; None for the number of rows there are so far.

        Raises:
            MisconfigurationValueError: A value is no number.
        """
        row = {name: scalar(name, value) for name, value in metrics.items()}
        self._place(row, step)
        self.metrics.append(row)
        self._last_row = row

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Write hyperparameters to ``hparams.yaml``, beside those that were logged before.

        Args:
            params: Values by name.
        """
        self._hparams_file.update(params)
        self._retry.attempt(self._hparams_file.write)

    def save(self, *, final: bool = False) -> None:
        """Append the rows to the file. Where that fails they are kept for the next call and training goes on.

        Args:
            final: This is the end of the run: try in any case, and say what could not be written.
        """
        if (self.metrics or self._retry.failing) and not self._retry.attempt(self._write, now=final) and final:
            rank_zero_warn(
                f"{len(self.metrics)} rows could not be written to {self.metrics_file_path} until the end of the run."
                " They are in `logger.experiment.metrics`; `logger.save()` tries again."
            )

    def _write(self) -> None:
        self._file.append(self.metrics)
        self.metrics = []
        self._hparams_file.write()

    def state_dict(self) -> dict[str, Any]:
        """Return how many rows there are, written or not, their columns and the last one."""
        columns = set(self._file.columns).union(*self.metrics)
        rows = self._file.num_rows + len(self.metrics)
        return {"rows": rows, "columns": sorted(columns), "last_row": self._last_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back the rows that came after the state was made.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        self._retry.attempt(partial(self._cut, state_dict), now=True)

    def _cut(self, state: dict[str, Any]) -> None:
        in_file = self._file.num_rows
        del self.metrics[max(state["rows"] - in_file, 0) :]
        cut = self._file.cut(state["rows"], state["columns"], state["last_row"])
        missing = state["rows"] - in_file - len(self.metrics)
        if cut:
            self._last_row = state["last_row"]
            rank_zero_info(
                f"{cut} rows of {self.metrics_file_path} are of steps that are run again, and were taken back."
            )
        elif missing > 0 and in_file:
            rank_zero_warn(
                f"{self.metrics_file_path} holds {in_file} rows and held {state['rows']} when the checkpoint was"
                f" written: {missing} rows are lost. New rows are added to those that are there."
            )

    def _place(self, row: dict[str, float | int], given: float | None) -> None:
        """Put the row's step into it."""
        logged = row.get("step")
        if given is None:
            given = logged if logged is not None else len(self.metrics) + self._file.num_rows
        given = scalar("step", given)
        if logged is not None and logged != given:
            row["logged_step"] = logged
            self._say_logged_step(given, logged)
        row["step"] = int(given) if given == given // 1 else given

    def _say_logged_step(self, given: float, logged: float) -> None:
        if not self._said_logged_step:
            self._said_logged_step = True
            rank_zero_warn(
                f"A row was logged at step={given!r} with a metric named 'step' of {logged!r}. The column `step` holds"
                " the row's place on the x-axis, so the metric goes to the column `logged_step`. Leave out the argument"
                " `step`, or give the metric another name."
            )


class CSVLogger(RunFolderLogger):
    """Log to ``<save_dir>/<name>/version_<n>/metrics.csv`` and ``hparams.yaml``.

    The file has one row for each call of :meth:`log_metrics` and one column for each name, sorted by name, ``step``
    among them; what a row does not have is empty. Rows are whole and in the file after each :meth:`save`, which a
    trainer calls after each row, whatever then happens to the process. A run folder that exists is continued: rows are
    added after those that are there; a fit that is resumed from a checkpoint of the same version first takes back the
    rows that it will log again. A disk that cannot be written does not end the training: it is said once, and the rows
    are kept and tried again.

    Args:
        save_dir: The folder that holds everything, with variables and ``~`` expanded.
        name: The experiment's name, a folder within ``save_dir``; ``""`` or None for no folder of its own.
        version: A number n for the folder ``version_<n>``, a string for a folder name as it is, None for the next
            free number.
        prefix: What comes before each metric's name (not before ``step``), joined with ``-``; ``""`` for nothing.
        flush_logs_every_n_steps: Without a trainer that saves: save when a step is reached that, counted from 1, is a
            multiple of this (at least 1).
        on_failure: Where files cannot be written: ``"warn"`` says so once and keeps trying, ``"raise"`` ends the run.

    Raises:
        MisconfigurationException: An argument makes no sense.

    Example:
        >>> import pathlib, tempfile
        >>> logger = CSVLogger(tempfile.mkdtemp(), name="digits")
        >>> logger.log_metrics({"loss": 0.5}, step=0)
        >>> logger.log_metrics({"acc": 0.9}, step=1)
        >>> logger.save()
        >>> print(pathlib.Path(logger.log_dir, "metrics.csv").read_text().strip())
        acc,loss,step
        ,0.5,0
        0.9,,1
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
        *,
        on_failure: OnFailure = "warn",
    ) -> None:
        super().__init__(save_dir, name, version, prefix, on_failure=on_failure)
        if flush_logs_every_n_steps < 1:
            raise MisconfigurationValueError(
                f"CSVLogger got flush_logs_every_n_steps={flush_logs_every_n_steps!r}. It is a number of steps from 1."
                " Pass 1 to have each row written at once."
            )
        self._flush_logs_every_n_steps = flush_logs_every_n_steps
        self._experiment: ExperimentWriter | None = None
        self._prepared = False

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer of the run's files. The first look makes the folder.

        Raises:
            MisconfigurationException: The folder cannot be made, or holds a ``metrics.csv`` of another kind.
        """
        writer = self._writer()
        if not self._prepared:
            try:
                writer.prepare()
            except OSError as error:
                raise MisconfigurationException(
                    f"CSVLogger cannot use the folder {self.log_dir!r}: {error}. It must be a folder that can be"
                    " written. Pass another save_dir."
                ) from error
            self._prepared = True
        return writer

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row.

        Args:
            metrics: Numbers by name: Python or NumPy numbers or tensors of one element.
            step: The row's place on the x-axis, from 0. None takes the metric named ``step`` where there is one, else
                the number of rows so far.

        Raises:
            MisconfigurationException: A value is no number.
        """
        writer = self._writer()
        writer.log_metrics(add_prefix(checked_metrics("CSVLogger", metrics), self._prefix), step)
        if (writer.metrics[-1]["step"] + 1) % self._flush_logs_every_n_steps == 0:
            writer.save()

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None = None) -> None:
        """Write hyperparameters to ``hparams.yaml``, beside those that were logged before.

        Args:
            params: Values by name; a Namespace or a dataclass instance will do.
        """
        self._writer().log_hparams(convert_params(params))

    @rank_zero_only
    def save(self) -> None:
        """Append the rows that wait to the file."""
        if self._experiment is not None:
            self._experiment.save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Append the rows that wait; say so if that is not possible."""
        if self._experiment is not None:
            self._experiment.save(final=True)

    def state_dict(self) -> dict[str, Any]:
        """Return how many rows there are, their columns and the last one, by which a resumed run finds its place."""
        if rank_zero_only.rank != 0:
            return {}
        try:
            return self._writer().state_dict()
        except OSError:  # a folder that cannot be read now is said where rows are written
            return {}

    @rank_zero_only
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back the rows that came after the state was made: they are logged again.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        self._writer().load_state_dict(state_dict)

    def __getstate__(self) -> dict[str, Any]:
        # The rows that wait belong to this process: a copy would write them a second time.
        return {**self.__dict__, "_experiment": None, "_prepared": False}

    def _writer(self) -> ExperimentWriter:
        if self._experiment is None:
            self._experiment = ExperimentWriter(self.log_dir, self._on_failure)
        return self._experiment
