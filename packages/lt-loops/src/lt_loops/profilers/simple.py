"""How long each action took and how often it ran; and the profiler that measures nothing."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from lt_core.errors import MisconfigurationValueError, did_you_mean
from lt_loops.profilers.base import Profiler

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PassThroughProfiler", "SimpleProfiler"]

F = TypeVar("F", bound=Callable[..., Any])


class PassThroughProfiler(Profiler):
    """Measures nothing and costs nothing: the default.

    Example:
        >>> PassThroughProfiler().wrap("compute", sum) is sum
        True
    """

    def start(self, action_name: str) -> None:
        pass

    def stop(self, action_name: str) -> None:
        pass

    def wrap(self, action_name: str, function: F) -> F:
        """Return ``function`` itself."""
        return function


class SimpleProfiler(Profiler):
    """Wall-clock time per action, as a table.

    Args:
        dirpath: The folder of the report; by default the run's.
        filename: What the report's file is called, without extension; without it the report is logged.
        extended: Also tell the number of calls and the share of the whole time.

    Attributes:
        current_actions: When the actions that run now started, in seconds of the monotonic clock.
        recorded_durations: How long each call took, in seconds, by action.

    Example:
        >>> profiler = SimpleProfiler(extended=False)
        >>> with profiler.profile("load"):
        ...     pass
        >>> print(profiler.summary())
        Profiler Report
        ...
        | Action | Mean duration (s) | Total time (s) |
        ...
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = None,
        extended: bool = True,  # noqa: FBT001, FBT002 -- the API we match
    ) -> None:
        super().__init__(dirpath=dirpath, filename=filename)
        self.extended = extended
        self.current_actions: dict[str, float] = {}
        # An array holds a number in 8 bytes, a list in 32: there is one per call.
        self.recorded_durations: dict[str, array[float]] = {}
        self.start_time = time.monotonic()

    def start(self, action_name: str) -> None:
        """Begin to measure an action.

        Raises:
            MisconfigurationValueError: It is being measured already.
        """
        if action_name in self.current_actions:
            raise MisconfigurationValueError(
                f"The action {action_name!r} is started while it runs. Expected to be stopped first: call"
                f" `profiler.stop({action_name!r})`, or use another name for the inner one."
            )
        self.current_actions[action_name] = time.monotonic()

    def stop(self, action_name: str) -> None:
        """End to measure an action.

        Raises:
            MisconfigurationValueError: It was not started.
        """
        now = time.monotonic()
        if action_name not in self.current_actions:
            raise MisconfigurationValueError(
                f"The action {action_name!r} is stopped and was not started. Expected to be started first:"
                f" call `profiler.start({action_name!r})`.{did_you_mean(action_name, self.current_actions)}"
            )
        duration = now - self.current_actions.pop(action_name)
        self.recorded_durations.setdefault(action_name, array("d")).append(duration)

    def setup(self, stage: str, local_rank: int | None = None, log_dir: str | Path | None = None) -> None:
        """Begin a stage; the whole time is counted from the first one."""
        super().setup(stage, local_rank, log_dir)
        if not self.recorded_durations:
            self.start_time = time.monotonic()

    def summary(self) -> str:
        """Return the table, the most expensive action first."""
        whole = time.monotonic() - self.start_time
        totals = sorted(
            ((sum(durations), len(durations), action) for action, durations in self.recorded_durations.items()),
            reverse=True,
        )
        if not self.extended:
            header = ["Action", "Mean duration (s)", "Total time (s)"]
            rows = [[action, f"{total / calls:.5g}", f"{total:.5g}"] for total, calls, action in totals]
            return f"{self.heading()}\n{_table(header, rows)}"
        header = ["Action", "Mean duration (s)", "Num calls", "Total time (s)", "Percentage %"]
        count = sum(calls for _, calls, _ in totals)
        rows = [["Total", "-", str(count), f"{whole:.5g}", "100 %"]]
        rows += [
            [action, f"{total / calls:.5g}", str(calls), f"{total:.5g}", f"{100 * total / whole:.5g}"]
            for total, calls, action in totals
        ]
        return f"{self.heading()}\n{_table(header, rows)}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    line = "-" * (sum(widths) + 3 * len(widths) + 1)

    def put(cells: list[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line, put(header), line, *(put(row) for row in rows), line])
