"""Draws the metrics of all epochs so far as one picture, after each epoch.

A picture that is always there needs no server and no browser: it is looked at in a file manager, a notebook or a
terminal that shows images, and kept beside the checkpoints.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lt_core.atomic_file import replacing_file
from lt_core.callback import Callback
from lt_core.errors import (
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    MissingPackageError,
)
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["HistoryPlot"]

_PREFIXES = ("train", "training", "val", "valid", "validation", "test")
_COLUMNS = 3


class HistoryPlot(Callback):
    """Write a PNG of the metrics of each epoch, one panel for each kind.

    Metrics whose names differ in the prefix alone (``train_loss``, ``val_loss``) share a panel. A resumed run goes on
    with the curves that it had. Needs matplotlib.

    Args:
        path: The file; by default ``history.png`` in the run's folder (`Trainer.log_dir`).
        metrics: Which metrics to draw, in this order; by default all that are logged, but for those of single steps.
        every_n_epochs: How often the picture is written. Values are taken in each epoch.
        dpi: Pixels per inch; a panel is 4 inches wide and 2.6 high.

    Attributes:
        history: By metric the pairs of epoch, counted from 0, and value.

    Raises:
        MisconfigurationException: An argument is out of its range; or, when fit begins, the folder cannot be written.
        MissingPackageError: When fit begins: matplotlib is not installed.

    Example:
        >>> HistoryPlot("curves.png", metrics=["train_loss", "val_loss"]).history
        {}
    """

    monitors: ClassVar[bool] = True

    def __init__(
        self,
        path: str | Path | None = None,
        metrics: Sequence[str] | None = None,
        every_n_epochs: int = 1,
        dpi: int = 100,
    ) -> None:
        super().__init__()
        if isinstance(metrics, str) or (metrics is not None and not all(isinstance(name, str) for name in metrics)):
            raise MisconfigurationTypeError(
                f"HistoryPlot got metrics={metrics!r}; expected a list of names. Write for example"
                " `metrics=['train_loss', 'val_loss']`."
            )
        for name, value in (("every_n_epochs", every_n_epochs), ("dpi", dpi)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise MisconfigurationValueError(
                    f"HistoryPlot got {name}={value!r}; expected a whole number of at least 1. Write for example"
                    f" `{name}={1 if name == 'every_n_epochs' else 100}`."
                )
        if path is not None and Path(path).suffix.lower() != ".png":
            raise MisconfigurationValueError(
                f"HistoryPlot got path={os.fspath(path)!r}; expected the name of a PNG file. Write"
                f" `path={os.fspath(Path(path).with_suffix('.png'))!r}`."
            )
        self.path = None if path is None else Path(path)
        self.metrics = None if metrics is None else list(metrics)
        self.every_n_epochs = every_n_epochs
        self.dpi = dpi
        self.history: dict[str, list[list[float]]] = {}
        self._target: Path | None = None
        self._said_missing = False
        self._said_failed = False

    # -- a run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the file, and what could be in its way."""
        if stage != "fit":
            return
        self.history = {}
        self._said_missing = self._said_failed = False
        folder = trainer.log_dir  # agreed on by all processes
        target = self.path if self.path is not None else Path(folder or trainer.default_root_dir) / "history.png"
        self._target = target
        if trainer.fast_dev_run:
            self._target = None
        elif trainer.is_global_zero:
            _import_matplotlib()
            _check_folder(target)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the epoch's values, and draw."""
        if self._target is None or not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for name in self._names(logged):
            self.history.setdefault(name, []).append([epoch, logged[name]])
        if (epoch + 1) % self.every_n_epochs == 0:
            self._draw(self._target)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last epochs where it was not their turn."""
        if self._target is not None and trainer.is_global_zero and trainer.current_epoch % self.every_n_epochs:
            self._draw(self._target)

    def state_dict(self) -> dict[str, Any]:
        """Return the values so far."""
        return {"history": self.history} if self.history else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back the values so far."""
        self.history = state_dict["history"]

    # -- the parts

    def _names(self, logged: dict[str, float]) -> list[str]:
        if self.metrics is None:
            return [name for name in logged if not _has_better_form(name, logged)]
        missing = [name for name in self.metrics if name not in logged]
        if missing and not self._said_missing:
            self._said_missing = True
            rank_zero_warn(
                f"HistoryPlot(metrics={self.metrics!r}) draws metrics that were not logged: {missing}. Logged so far:"
                f" {sorted(logged)}. Write `self.log({missing[0]!r}, value)`, or change `metrics`."
            )
        return [name for name in self.metrics if name in logged]

    def _draw(self, target: Path) -> None:
        if not self.history:
            return
        try:
            with replacing_file(target) as file:
                _draw(self.history, file, self.dpi)
        except OSError as error:
            if not self._said_failed:  # a picture is not worth a run
                self._said_failed = True
                rank_zero_warn(
                    f"HistoryPlot could not write {str(target)!r}: {error.strerror or error}. Expected a folder with"
                    " room that can be written to. Training goes on, and it is tried again after the next epoch."
                )


def _has_better_form(name: str, logged: dict[str, float]) -> bool:
    """Tell whether the epoch's value has a name of its own: ``loss_epoch`` beside ``loss_step`` and ``loss``."""
    stem = name.removesuffix("_step")
    return f"{stem}_epoch" in logged


def _panel_of(name: str) -> str:
    """Return the name without what says which data it was measured on.

    Example:
        >>> _panel_of("val_loss"), _panel_of("train/acc_epoch"), _panel_of("lr")
        ('loss', 'acc', 'lr')
    """
    name = name.removesuffix("_epoch")
    for prefix in _PREFIXES:
        for mark in ("_", "/", "-", "."):
            if name.startswith(prefix + mark):
                return name[len(prefix) + 1 :] or name
    return name


def _draw(history: dict[str, list[list[float]]], file: Any, dpi: int) -> None:
    figures, ticker = _import_matplotlib()
    panels: dict[str, list[str]] = {}
    for name in history:
        panels.setdefault(_panel_of(name), []).append(name)
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = figures.Figure(figsize=(4 * columns, 2.6 * rows), dpi=dpi, layout="constrained")
    for place, (title, names) in enumerate(sorted(panels.items()), start=1):
        axes = figure.add_subplot(rows, columns, place)
        for name in names:
            epochs, values = zip(*history[name], strict=True)
            axes.plot(epochs, values, marker="o", markersize=3, linewidth=1.5, label=name)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(file, format="png")


def _import_matplotlib() -> tuple[Any, Any]:
    try:
        from matplotlib import figure, ticker
    except ImportError as error:
        raise MissingPackageError(
            "HistoryPlot draws with matplotlib, which is not installed. It was expected to be. Run"
            ' `pip install "lt-callbacks[plot]"`, or leave the callback out.'
        ) from error
    return figure, ticker


def _check_folder(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), target.open("r+b"):
            pass  # an existing picture can be replaced
    except OSError as error:
        raise MisconfigurationException(
            f"HistoryPlot cannot write {str(target)!r}: {error.strerror or error}. Expected a folder that can be"
            " written to. Make it writable, or write `HistoryPlot(path=…)` with another."
        ) from error
    if not os.access(target.parent, os.W_OK):
        raise MisconfigurationException(
            f"HistoryPlot cannot write {str(target)!r}: the folder is read-only. Expected one that can be written to."
            " Make it writable, or write `HistoryPlot(path=…)` with another."
        )
