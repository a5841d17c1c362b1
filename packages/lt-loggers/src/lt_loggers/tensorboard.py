"""Metrics, hyperparameters and the model's graph as TensorBoard event files.

A row becomes one event, whatever its number of metrics, which costs a fraction of one event for each. What was handed
to the writer is kept until the writer has flushed it, so that nothing is lost when the disk fails in between: the rows
then go into a new event file, which TensorBoard reads together with the old one.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException
from lt_core.logger import rank_zero_experiment
from lt_core.logger_params import add_prefix, convert_params, flatten_dict, sanitize_params
from lt_core.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn
from lt_core.transfer import move_data_to_device
from lt_loggers.event_files import RESUMED, EventFiles
from lt_loggers.hparams_file import HparamsFile
from lt_loggers.run_folder import RunFolderLogger, expanded
from lt_loggers.scalars import checked_metrics, scalar
from lt_loggers.tensorboard_backend import load_backend, require_backend
from lt_loggers.write_retry import OnFailure, WriteRetry

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["TensorBoardLogger"]

_FLUSH_SECONDS = 1.0


@dataclass
class _Entry:
    """What belongs to one step: summaries for the run's own event file and groups that have files of their own."""

    summaries: list[Any]
    groups: dict[str, dict[str, float]]
    step: int | None
    walltime: float


class TensorBoardLogger(RunFolderLogger):
    """Log to event files in ``<save_dir>/<name>/version_<n>`` that ``tensorboard --logdir`` shows.

    Files are written by a thread of ``torch.utils.tensorboard`` (or ``tensorboardX``). What was logged is in the file
    within a second, at the latest when the run ends; :meth:`save` never waits for the disk more often than that. A
    disk that cannot be written does not end the training: it is said once, and the rows are kept and tried again.
    ``hparams.yaml`` lies beside the event files; one that another run has left there is not overwritten.

    Args:
        save_dir: The folder that holds everything, with variables and ``~`` expanded.
        name: The experiment's name, a folder within ``save_dir``; ``""`` or None for no folder of its own.
        version: A number n for the folder ``version_<n>``, a string for a folder name as it is, None for the next
            free number.
        log_graph: Record the graph of the model, for which it needs an ``example_input_array``.
        default_hp_metric: Where hyperparameters come without a metric, record them with the placeholder
            ``hp_metric`` of -1, without which TensorBoard's dashboard does not show them.
        prefix: What comes before each metric's name, joined with ``-``; ``""`` for nothing.
        sub_dir: A folder within the run's folder for the files; None for the run's folder itself.
        on_failure: Where files cannot be written: ``"warn"`` says so once and keeps trying, ``"raise"`` ends the run.
        kwargs: Further arguments of ``SummaryWriter``, such as ``max_queue``, ``filename_suffix``, ``purge_step`` or
            ``flush_secs`` (seconds between the writing thread's flushes; 1 unless given).

    Raises:
        MissingPackageError: Neither ``tensorboard`` nor ``tensorboardX`` is installed.
        MisconfigurationException: An argument makes no sense.

    Example:
        >>> import tempfile
        >>> logger = TensorBoardLogger(tempfile.mkdtemp(), name="digits")
        >>> logger.log_hyperparams({"lr": 0.1})
        >>> logger.log_metrics({"loss": 0.5, "acc": torch.tensor(0.9)}, step=0)
        >>> logger.finalize("success")
        >>> sorted(name.split(".")[0] for name in os.listdir(logger.log_dir))
        ['events', 'hparams']
    """

    NAME_HPARAMS_FILE = "hparams.yaml"

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = False,  # noqa: FBT001, FBT002 - existing code passes it by position
        default_hp_metric: bool = True,  # noqa: FBT001, FBT002 - existing code passes it by position
        prefix: str = "",
        sub_dir: str | os.PathLike[str] | None = None,
        *,
        on_failure: OnFailure = "warn",
        **kwargs: Any,
    ) -> None:
        require_backend("TensorBoardLogger")
        super().__init__(save_dir, name, version, prefix, on_failure=on_failure)
        self._log_graph = log_graph
        self._default_hp_metric = default_hp_metric
        self._sub_dir = None if sub_dir is None else os.fspath(sub_dir)
        self._kwargs: dict[str, Any] = {"flush_secs": _FLUSH_SECONDS, **kwargs}
        self._hparams_file: HparamsFile | None = None
        self._placeholder_for: dict[str, Any] | None = None
        self._experiment: Any = None
        self._retry: WriteRetry | None = None
        self._waiting: list[_Entry] = []  # not flushed yet, the first `_handed` of them with the writer
        self._handed = 0
        self._flushed_at = 0.0
        self._resumed = False
        self._event_files: EventFiles | None = None

    @property
    def sub_dir(self) -> str | None:
        """The folder within the run's folder that holds the files, if any."""
        return self._sub_dir

    @property
    def log_dir(self) -> str:
        """The folder of this run's files: ``<save_dir>/<name>/version_<n>[/<sub_dir>]``."""
        return super().log_dir if self._sub_dir is None else os.path.join(super().log_dir, expanded(self._sub_dir))

    @property
    def hparams(self) -> dict[str, Any]:
        """All hyperparameters that were logged."""
        return self._hparams().hparams

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The ``SummaryWriter``: for images, text, histograms and all else that it offers.

        Raises:
            MisconfigurationException: The folder or the file in it cannot be made.
        """
        try:
            return self._writer()
        except load_backend().errors as error:
            raise MisconfigurationException(
                f"TensorBoardLogger cannot use the folder {self.log_dir!r}: {error}. It must be a folder that can be"
                " written. Pass another save_dir."
            ) from error

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record one row.

        Args:
            metrics: Numbers by name: Python or NumPy numbers or tensors of one element. A mapping of numbers is drawn
                as one chart with a line for each.
            step: The row's place on the x-axis, a whole number from 0 (a fraction is cut off); None counts as 0.

        Raises:
            MisconfigurationValueError: A value is no number (a ``ValueError``).
        """
        values: dict[str, float] = {}
        groups: dict[str, dict[str, float]] = {}
        for key, value in add_prefix(checked_metrics("TensorBoardLogger", metrics), self._prefix).items():
            if isinstance(value, Mapping):
                groups[key] = {str(name): scalar(f"{key}/{name}", item) for name, item in value.items()}
            else:
                values[key] = scalar(key, value)
        summary = load_backend().summary
        parts = [summary.Value(tag=key, simple_value=value) for key, value in values.items()]
        self._write([summary(value=parts)] if parts else [], groups, step)

    @rank_zero_only
    def log_hyperparams(
        self,
        params: Mapping[str, Any] | Namespace,
        metrics: Mapping[str, Any] | float | None = None,
        step: int | None = None,
    ) -> None:
        """Record hyperparameters for ``hparams.yaml`` and for TensorBoard's hyperparameter dashboard.

        Args:
            params: Values by name; they may be nested. A Namespace or a dataclass instance will do.
            metrics: What the run is judged by in the dashboard: numbers by name, or one number for ``hp_metric``. None
                records the placeholder (once for the same hyperparameters) if ``default_hp_metric`` is on.
            step: Where the metrics belong on the x-axis.
        """
        converted = convert_params(params)
        self._hparams().update(converted)
        if metrics is None:
            if not self._default_hp_metric or self._placeholder_for == converted:
                return
            # Said again by a second run, -1 would hide the value that was logged under this name since.
            self._placeholder_for = converted
            metrics = {"hp_metric": -1}
        elif not isinstance(metrics, Mapping):
            metrics = {"hp_metric": metrics}
        if metrics:
            self.log_metrics(metrics, step)
            flat = {key: _hparam(value) for key, value in sanitize_params(flatten_dict(converted)).items()}
            self._write(list(load_backend().hparams(flat, dict(metrics))), {}, step)

    @rank_zero_only
    def log_graph(self, model: nn.Module, input_array: Any = None) -> None:
        """Record the model's graph if ``log_graph`` is on.

        Args:
            model: The model; its batch hooks are applied to the input first if it has any.
            input_array: What ``forward`` is called with: a tensor, or a tuple of its arguments. None takes the model's
                ``example_input_array``.
        """
        if not self._log_graph:
            return
        batch = getattr(model, "example_input_array", None) if input_array is None else input_array
        if not isinstance(batch, (Tensor, tuple)):
            rank_zero_warn(
                f"The model's graph is not logged: its `example_input_array` is {batch!r}. Expected a tensor, or a"
                " tuple of the arguments of `forward`. Set `self.example_input_array` in the module."
            )
            return
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        if isinstance(model, DataHooks):
            batch = model.on_before_batch_transfer(batch, 0)
            batch = model.transfer_batch_to_device(batch, device, 0)
            batch = model.on_after_batch_transfer(batch, 0)
        else:
            batch = move_data_to_device(batch, device)
        with warnings.catch_warnings():
            # TensorBoard's graphs come from torch.jit.trace; whoever asks for one can do nothing about that.
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.trace", category=FutureWarning)
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.trace", category=DeprecationWarning)
            self.experiment.add_graph(model, batch)

    @rank_zero_only
    def save(self) -> None:
        """Write ``hparams.yaml`` where it is due, and flush the event files unless that was done within a second."""
        if self._hparams_file is not None and self._hparams_file.due and os.path.isdir(self.log_dir):
            self._guard().attempt(self._hparams_file.write)
        if self._waiting:
            self._guard().attempt(self._push)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Flush and close the event files; say so if that is not possible. Later rows open a further file."""
        if self._experiment is None and not self._waiting:
            return
        if not self._guard().attempt(self._close, now=True):
            rank_zero_warn(
                f"{len(self._waiting)} rows could not be written to {self.log_dir} until the end of the run."
                " They are kept in memory; `logger.finalize('success')` tries again."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return how far the run's event files reach, by which a resumed run finds its place."""
        if rank_zero_only.rank != 0:
            return {}
        if self._experiment is not None:
            self._guard().attempt(partial(self._push, flush=True))
        try:
            return {"event_files": self._files().state_dict()}
        except OSError:  # a folder that cannot be read now is said where rows are written
            return {}

    @rank_zero_only
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back the events that came after the state was made: they are logged again, into a further file.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        self._guard().attempt(partial(self._go_back, state_dict["event_files"]), now=True)

    def _go_back(self, state: dict[str, Any]) -> None:
        self._close()
        files = self._files()
        cut = files.cut(state)
        self._resumed = True
        # A TensorBoard that is looking on has shown what was cut.
        self._kwargs["purge_step"] = files.last_step(load_backend().event.FromString) + 1
        if cut:
            rank_zero_info(
                f"{cut} bytes of event files in {self.log_dir} are of steps that are run again, and were taken back."
            )

    def __getstate__(self) -> dict[str, Any]:
        # Files and the thread that writes them belong to this process, and so do the rows that wait for it.
        left_here: dict[str, Any] = {"_experiment": None, "_retry": None, "_waiting": [], "_handed": 0}
        return {**self.__dict__, **left_here}

    def _write(self, summaries: list[Any], groups: dict[str, dict[str, float]], step: int | None) -> None:
        self._waiting.append(_Entry(summaries, groups, None if step is None else int(step), time.time()))
        self._guard().attempt(self._push)

    def _push(self, *, flush: bool = False) -> None:
        """Hand what waits to the writer; flush if it is time."""
        try:
            writer = self._writer()
            while self._handed < len(self._waiting):
                entry = self._waiting[self._handed]
                for summary in entry.summaries:
                    writer.file_writer.add_summary(summary, entry.step, entry.walltime)
                for key, group in entry.groups.items():
                    writer.add_scalars(key, group, entry.step, entry.walltime)
                self._files().add_groups(entry.groups)
                self._handed += 1
            if flush or time.monotonic() - self._flushed_at >= _FLUSH_SECONDS:
                writer.flush()
                self._flushed_at = time.monotonic()
                self._waiting, self._handed = [], 0
        except load_backend().errors:
            self._abandon_writer()
            raise

    def _close(self) -> None:
        if self._experiment is not None or self._waiting:
            self._push(flush=True)
            self._experiment.close()
            self._experiment = None
        if self._hparams_file is not None:
            self._hparams_file.write()

    def _abandon_writer(self) -> None:
        """Give up a writer whose file is in an unknown state; all that it has not flushed is handed to the next one."""
        writer, self._experiment, self._handed = self._experiment, None, 0
        if writer is not None:
            with contextlib.suppress(*load_backend().errors):
                writer.close()

    def _writer(self) -> Any:
        # A user may have closed the writer: it then has no file.
        if self._experiment is None or self._experiment.file_writer is None:
            backend = load_backend()
            suffix = backend.file_id() + self._kwargs.get("filename_suffix", "") + (RESUMED if self._resumed else "")
            with self._files().opening():
                self._experiment = backend.writer(log_dir=self.log_dir, **{**self._kwargs, "filename_suffix": suffix})
            # In a further file it would hide what was logged since.
            self._kwargs.pop("purge_step", None)
        return self._experiment

    def _guard(self) -> WriteRetry:
        if self._retry is None:
            self._retry = WriteRetry(self.log_dir, errors=load_backend().errors, on_failure=self._on_failure)
        return self._retry

    def _files(self) -> EventFiles:
        if self._event_files is None:
            self._event_files = EventFiles(self.log_dir)
        return self._event_files

    def _hparams(self) -> HparamsFile:
        if self._hparams_file is None:
            self._hparams_file = HparamsFile(os.path.join(self.log_dir, self.NAME_HPARAMS_FILE), keep_existing=True)
        return self._hparams_file


def _hparam(value: Any) -> Any:
    """Return a hyperparameter as the dashboard takes it: tensors of several elements as text."""
    if isinstance(value, Tensor):
        return value.detach().item() if value.numel() == 1 else str(value)
    return value
