"""The pieces of which `RichProgressBar` is made; in a module of their own because importing them imports rich."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.jupyter import JupyterMixin  # noqa: TID253 - this module is imported where it is used
from rich.progress import BarColumn, Progress, ProgressColumn  # noqa: TID253 - as above
from rich.progress_bar import ProgressBar as RichBar  # noqa: TID253 - as above
from rich.text import Text  # noqa: TID253 - as above

from lt_callbacks.progress.plain_lines import SteadyValues

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console, RenderableType
    from rich.progress import Task, TaskID
    from rich.style import Style

__all__ = [
    "BatchesProcessedColumn",
    "CustomBarColumn",
    "CustomProgress",
    "CustomTimeColumn",
    "MetricsTextColumn",
    "ProcessingSpeedColumn",
]

_WIDTH_WITHOUT_METRICS = 80


class CustomBarColumn(BarColumn):
    """A bar that pulses where the total is not known."""

    def render(self, task: Task) -> RichBar:
        """Draw the bar of a task."""
        known = task.total is not None and math.isfinite(task.total)
        return RichBar(
            total=max(0.0, task.total or 0.0) if known else None,
            completed=max(0, task.completed),
            width=None if self.bar_width is None else max(1, self.bar_width),
            pulse=not task.started or not known,
            animation_time=task.get_time(),
            style=self.style,
            complete_style=self.complete_style,
            finished_style=self.finished_style,
            pulse_style=self.pulse_style,
        )


class CustomTimeColumn(ProgressColumn):
    """The time that has passed and the time that remains."""

    def __init__(self, style: str | Style) -> None:
        self.style = style
        super().__init__()

    def render(self, task: Task) -> Text:
        """Write both times."""
        pace = task.fields.get("pace")
        known = task.total is not None and math.isfinite(task.total)
        if pace is None:
            passed, remaining = task.finished_time if task.finished else task.elapsed, task.time_remaining
        else:
            passed, remaining = pace.elapsed, pace.remaining(task.total or 0)
        return Text(f"{_clock(passed)} • {_clock(remaining if known else None)}", style=self.style)


class BatchesProcessedColumn(ProgressColumn):
    """The batches done, of how many."""

    def __init__(self, style: str | Style) -> None:
        self.style = style
        super().__init__()

    def render(self, task: Task) -> RenderableType:
        """Write both counts."""
        known = task.total is not None and math.isfinite(task.total)
        total = str(int(task.total or 0)) if known else "--"
        return Text(f"{int(task.completed):>{len(total)}}/{total}", style=self.style)


class ProcessingSpeedColumn(ProgressColumn):
    """The batches per second, as wide as the widest so far."""

    def __init__(self, style: str | Style) -> None:
        self.style = style
        self._width = 0
        super().__init__()

    def render(self, task: Task) -> RenderableType:
        """Write the speed."""
        pace = task.fields.get("pace")
        speed = pace.rate if pace is not None else task.finished_speed or task.speed or 0.0
        text = f"{speed:.2f}it/s"
        self._width = max(self._width, len(text))
        return Text(text.rjust(self._width), style=self.style)


class MetricsTextColumn(ProgressColumn):
    """The metrics, beside the bar of one task.

    Args:
        style: The style of the text.
        delimiter: What stands between two metrics.
        metrics_format: The format of floats.
    """

    def __init__(self, style: str | Style, delimiter: str, metrics_format: str) -> None:
        self.style = style
        self.task_id: TaskID | None = None
        self.is_beside = True
        self._delimiter = delimiter
        self._format = metrics_format
        self._text = ""
        self._steady = SteadyValues()
        super().__init__()

    @property
    def text(self) -> Text:
        """All metrics in one line."""
        return Text(self._text, style=self.style, justify="left")

    def update(self, metrics: Mapping[str, Any]) -> None:
        """Take over what is to be shown."""
        self._text = self._steady.text(metrics, self._format, self._delimiter)

    def render(self, task: Task) -> Text:
        """Write the metrics beside the bar they belong to."""
        return self.text if self.is_beside and task.id == self.task_id else Text("")


class _View(JupyterMixin):
    """What a notebook shows: it renders itself to text and to HTML."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich__(self) -> RenderableType:
        return self._content


class CustomProgress(Progress):
    """A display that is drawn when told to, by nobody else and by no thread.

    Metrics stand beside the bar where they fit, and below it otherwise. A notebook gets one output, which is exchanged
    at each drawing; rich's own display for notebooks would need widgets.
    """

    def __init__(self, *columns: str | ProgressColumn, metrics: MetricsTextColumn, console: Console) -> None:
        self._metrics = metrics
        self._where = console
        self._output: Any = None
        super().__init__(*columns, metrics, auto_refresh=False, console=console)

    def start(self) -> None:
        """Begin to show."""
        if not self._where.is_jupyter:
            super().start()
            return
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

        self._output = display(_View(self.get_renderable()), display_id=True)

    def stop(self) -> None:
        """Draw a last time and end."""
        if self._output is None:
            super().stop()
        else:
            self.draw()
            self._output = None

    def refresh(self) -> None:
        """Do nothing: rich calls this at every change of a task; see `draw`."""

    def draw(self) -> None:
        """Draw now."""
        if self._output is None:
            super().refresh()
        else:
            self._output.update(_View(self.get_renderable()))

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bars, and the metrics if there is no room beside them."""
        text = self._metrics.text
        self._metrics.is_beside = len(text) + _WIDTH_WITHOUT_METRICS <= self._where.width
        yield self.make_tasks_table(self.tasks)
        if text.plain and not self._metrics.is_beside:
            yield text


def _clock(seconds: float | None) -> str:
    return "-:--:--" if seconds is None else str(timedelta(seconds=int(seconds)))
