"""The progress bar drawn with rich."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lt_callbacks.progress.phased_bar import PhasedProgressBar
from lt_core.errors import MisconfigurationValueError, MissingPackageError
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Task, TaskID
    from rich.style import Style

    from lt_callbacks.progress.rich_columns import CustomProgress, MetricsTextColumn
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["RichProgressBar", "RichProgressBarTheme"]

_LIGHT_BACKGROUNDS = ("7", "15")
_COLUMN_NAMES = (
    "BatchesProcessedColumn",
    "CustomBarColumn",
    "CustomProgress",
    "CustomTimeColumn",
    "MetricsTextColumn",
    "ProcessingSpeedColumn",
)


def __getattr__(name: str) -> Any:
    if name in _COLUMN_NAMES:
        from lt_callbacks.progress import rich_columns

        return getattr(rich_columns, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass
class RichProgressBarTheme:
    """The styles of `RichProgressBar`; each is a rich style such as ``"bold red"``.

    Attributes:
        description: What the phase is called.
        progress_bar: The done part of a bar.
        progress_bar_finished: A finished bar.
        progress_bar_pulse: A bar whose total is not known.
        batch_progress: The counts of batches.
        time: The times.
        processing_speed: The speed.
        metrics: The metrics.
        metrics_text_delimiter: What stands between two metrics.
        metrics_format: The format of metrics that are floats.

    Example:
        >>> RichProgressBarTheme(progress_bar="green").time
        'dim'
    """

    description: str | Style = ""
    # A violet that stands out from black as well as from white (contrast 4.5 to either).
    progress_bar: str | Style = "#8A4DFF"
    progress_bar_finished: str | Style = "#8A4DFF"
    progress_bar_pulse: str | Style = "#8A4DFF"
    batch_progress: str | Style = ""
    time: str | Style = "dim"
    processing_speed: str | Style = "dim underline"
    metrics: str | Style = "italic"
    metrics_text_delimiter: str = " "
    metrics_format: str = ".3f"


class RichProgressBar(PhasedProgressBar):
    """Show progress with rich.

    It is drawn between batches, by no thread of its own, so that nothing outlives the run. Where the output is no
    terminal, each phase leaves one plain line.

    Args:
        refresh_rate: Draw at most so many times a second, and never more than ten times; 0 shows nothing.
        leave: Whether the bar of each epoch stays, so that a new one begins below it.
        theme: The styles.
        console_kwargs: Arguments of ``rich.reconfigure``, applied to rich's console before the first drawing.

    Raises:
        ModuleNotFoundError: rich is not installed.

    Example:
        >>> bar = RichProgressBar(theme=RichProgressBarTheme(progress_bar="green"), leave=True)
        >>> bar.refresh_rate
        100
    """

    def __init__(
        self,
        refresh_rate: float = 100,
        leave: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
        theme: RichProgressBarTheme = RichProgressBarTheme(),  # noqa: B008 - never changed
        console_kwargs: dict[str, Any] | None = None,
    ) -> None:
        _require_rich()
        if refresh_rate < 0:
            raise MisconfigurationValueError(
                f"RichProgressBar got refresh_rate={refresh_rate!r}; expected how many times a second to draw at most."
                " Write `refresh_rate=0` to show nothing."
            )
        super().__init__(1 / refresh_rate if refresh_rate else 0.0)
        self._refresh_rate = refresh_rate
        self._leave = leave
        self._console_kwargs = console_kwargs or {}
        self.theme = theme
        self.progress: CustomProgress | None = None
        self.train_progress_bar_id: TaskID | None = None
        self.val_sanity_progress_bar_id: TaskID | None = None
        self.val_progress_bar_id: TaskID | None = None
        self.test_progress_bar_id: TaskID | None = None
        self.predict_progress_bar_id: TaskID | None = None
        self._metric_component: MetricsTextColumn | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A live display holds a lock and a stream, which cannot be sent to another process.
        return {**vars(self), "progress": None, "_metric_component": None}

    @property
    def refresh_rate(self) -> float:
        """How many times a second is drawn at most."""
        return self._refresh_rate

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown."""
        return self._enabled and self._refresh_rate > 0

    @property
    def train_progress_bar(self) -> Task:
        """The task of training."""
        return self._task("train")

    @property
    def val_sanity_check_bar(self) -> Task:
        """The task of the sanity check."""
        return self._task("sanity")

    @property
    def val_progress_bar(self) -> Task:
        """The task of validation."""
        return self._task("validation")

    @property
    def test_progress_bar(self) -> Task:
        """The task of the test."""
        return self._task("test")

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Return the columns left of the metrics; override it to show others.

        Args:
            trainer: The trainer whose progress is shown.
        """
        from rich.progress import TextColumn

        from lt_callbacks.progress.rich_columns import (
            BatchesProcessedColumn,
            CustomBarColumn,
            CustomTimeColumn,
            ProcessingSpeedColumn,
        )

        return [
            TextColumn("[progress.description]{task.description}"),
            CustomBarColumn(
                style=_rest_of_bar(),
                complete_style=self.theme.progress_bar,
                finished_style=self.theme.progress_bar_finished,
                pulse_style=self.theme.progress_bar_pulse,
            ),
            BatchesProcessedColumn(style=self.theme.batch_progress),
            CustomTimeColumn(style=self.theme.time),
            ProcessingSpeedColumn(style=self.theme.processing_speed),
        ]

    def refresh(self, hard: bool = False) -> None:  # noqa: FBT001, FBT002 - the position is part of the public API
        """Draw now if it is time, or in any case.

        Args:
            hard: Whether to draw even if it is not time yet.
        """
        if self.progress is not None and (hard or self._is_due()):
            self.progress.draw()

    def disable(self) -> None:
        """Show nothing until `enable`."""
        super().disable()
        self._show_stop()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the finished bar stay, if it shall."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._leave and self._plain is None and self._train_is_shown:
            self._draw_train(pl_module)
            self._show_stop()

    def _is_terminal(self) -> bool:
        from rich import get_console, reconfigure

        if self._console_kwargs:
            reconfigure(**self._console_kwargs)
        console = get_console()
        return console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)

    def _shows_ever(self) -> bool:
        return self._refresh_rate > 0 and super()._shows_ever()

    def _is_due(self) -> bool:
        from time import monotonic

        return monotonic() >= self._next_refresh

    def _get_train_description(self, current_epoch: int) -> str:
        """Return what the bar of an epoch is called, as wide as that of validation."""
        description = f"Epoch {current_epoch}"
        last = self.trainer.max_epochs
        if last is not None and last >= 0:
            description += f"/{last - 1}"
        # As wide as what will stand below it, so that the bar keeps its place.
        loaders = len(self.trainer.num_val_batches) if self.trainer.enable_validation else 0
        below = self._eval_phase_description(self.validation_description, max(loaders - 1, 0), loaders)
        return description.ljust(len(below))

    def _train_phase_description(self, epoch: int) -> str:
        return self._get_train_description(epoch)

    def _task(self, phase: str) -> Task:
        task_id = self._task_id(phase)
        if self.progress is None or task_id is None:
            raise TypeError(
                f"The {phase} bar of `{type(self).__name__}` was read while it is not shown; expected that phase to"
                " have begun in a terminal. Read it inside the hooks of that phase."
            )
        return next(task for task in self.progress.tasks if task.id == task_id)

    def _task_id(self, phase: str) -> TaskID | None:
        return {
            "train": self.train_progress_bar_id,
            "sanity": self.val_sanity_progress_bar_id,
            "validation": self.val_progress_bar_id,
            "test": self.test_progress_bar_id,
            "predict": self.predict_progress_bar_id,
        }[phase]

    def _set_task_id(self, phase: str, task_id: TaskID) -> None:
        if phase == "train":
            self.train_progress_bar_id = task_id
        elif phase == "sanity":
            self.val_sanity_progress_bar_id = task_id
        elif phase == "validation":
            self.val_progress_bar_id = task_id
        elif phase == "test":
            self.test_progress_bar_id = task_id
        else:
            self.predict_progress_bar_id = task_id

    def _start(self) -> CustomProgress | None:
        """Return the display, started; None if another display owns the terminal."""
        if self.progress is not None:
            return self.progress
        from rich import get_console
        from rich.errors import LiveError

        from lt_callbacks.progress.plain_lines import PlainLines
        from lt_callbacks.progress.rich_columns import CustomProgress, MetricsTextColumn

        theme = self.theme
        metrics = MetricsTextColumn(theme.metrics, theme.metrics_text_delimiter, theme.metrics_format)
        progress = CustomProgress(*self.configure_columns(self.trainer), metrics=metrics, console=get_console())
        try:
            progress.start()
        except LiveError:
            rank_zero_warn(
                "RichProgressBar cannot draw, because another live display of rich is active. Plain lines are printed"
                " instead. End the other display before the run, or use `TQDMProgressBar`."
            )
            self._plain = PlainLines()
            return None
        self.progress, self._metric_component = progress, metrics
        return progress

    def _show_begin(self, phase: str, description: str, total: int | float, done: int) -> None:
        if self._plain is not None:
            return
        progress = self._start()
        if progress is None:
            return
        if self.theme.description:
            description = f"[{self.theme.description}]{description}[/]"
        task_id = self._task_id(phase)
        if task_id is None:
            task_id = progress.add_task(description, total=total, completed=done, pace=self._paces[phase])
            self._set_task_id(phase, task_id)
        else:
            progress.reset(
                task_id, total=total, completed=done, description=description, visible=True, pace=self._paces[phase]
            )
        if phase == "train" and self._metric_component is not None:
            self._metric_component.task_id = task_id

    def _show(self, phase: str, done: int, total: int | float, metrics: Mapping[str, Any] | None) -> None:
        task_id = self._task_id(phase)
        if self.progress is None or task_id is None:
            return
        if metrics is not None and self._metric_component is not None:
            self._metric_component.update(metrics)
        self.progress.update(task_id, completed=done, total=total)
        self.progress.draw()

    def _show_end(self, phase: str) -> None:
        task_id = self._task_id(phase)
        if self.progress is None or task_id is None:
            return
        if phase == "train":
            return
        if self.trainer.state.fn == "fit":
            self.progress.update(task_id, visible=False)
        else:
            # What is printed next, the table of results, stands below.
            self._show_stop()

    def _show_stop(self) -> None:
        progress, self.progress, self._metric_component = self.progress, None, None
        self.train_progress_bar_id = self.val_sanity_progress_bar_id = self.val_progress_bar_id = None
        self.test_progress_bar_id = self.predict_progress_bar_id = None
        if progress is not None:
            progress.stop()


def _rest_of_bar() -> str:
    """Return the colour of what is not done yet: fainter than what is done, on a dark and on a light background.

    Terminals that say their colours do so in ``COLORFGBG``, as ``foreground;background``.
    """
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    if background in _LIGHT_BACKGROUNDS:
        return "grey78"
    return "grey35" if background.isdigit() else "grey50"


def _require_rich() -> None:
    try:
        import rich  # noqa: F401 - asked for, so that its absence is said here
    except ImportError as error:
        raise MissingPackageError(
            "RichProgressBar needs rich, which is not installed. Install it with `pip install rich`, or use"
            " `TQDMProgressBar`."
        ) from error
