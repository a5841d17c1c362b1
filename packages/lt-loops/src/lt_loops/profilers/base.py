"""What measures a run: told when each named action starts and stops, it reports at the end.

A trainer wraps what it calls once, when a run is resolved; where nothing is measured the call stays the plain one.
"""

from __future__ import annotations

import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from lt_core.rank_zero import rank_zero_info

__all__ = ["Profiler"]

F = TypeVar("F", bound=Callable[..., Any])

_UNSAFE = re.compile(r'[\\/:*?"<>|\s]+')


class Profiler(ABC):
    """Base class of all profilers; derive from it and write `start`, `stop` and `summary`.

    Args:
        dirpath: The folder of the report; by default the run's.
        filename: What the report's file is called, without extension; without it the report is logged.

    Example:
        >>> from lt_loops.profilers import SimpleProfiler
        >>> profiler = SimpleProfiler()
        >>> with profiler.profile("load"):
        ...     total = sum(range(10))
        >>> len(profiler.recorded_durations["load"])
        1
    """

    def __init__(self, dirpath: str | Path | None = None, filename: str | None = None) -> None:
        self.dirpath = None if dirpath is None else Path(dirpath)
        self.filename = filename
        self._stage: str | None = None
        self._local_rank: int | None = None
        self._log_dir: Path | None = None

    @abstractmethod
    def start(self, action_name: str) -> None:
        """Begin to measure an action."""

    @abstractmethod
    def stop(self, action_name: str) -> None:
        """End to measure an action."""

    def summary(self) -> str:
        """Return the report; empty where there is none."""
        return ""

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """Measure what is done inside the context, under a name."""
        self.start(action_name)
        try:
            yield action_name
        finally:
            self.stop(action_name)

    def wrap(self, action_name: str, function: F) -> F:
        """Return a function that does what ``function`` does, and is measured.

        Args:
            action_name: Under which name.
            function: What is called; it may raise.
        """
        start, stop = self.start, self.stop

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            start(action_name)
            try:
                return function(*args, **kwargs)
            finally:
                stop(action_name)

        return measured  # type: ignore[return-value]

    # -- a run

    def setup(self, stage: str, local_rank: int | None = None, log_dir: str | Path | None = None) -> None:
        """Begin a stage.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
            local_rank: The number of this process on its node; None where it is the only one.
            log_dir: The run's folder.
        """
        self._stage = str(getattr(stage, "value", stage))
        self._local_rank = local_rank
        self._log_dir = None if log_dir is None else Path(log_dir)

    def prepare(self, module: nn.Module, num_steps: float) -> None:
        """Learn what is about to run; called once in a stage, after `setup` and before the first step.

        Args:
            module: The module.
            num_steps: How many steps of all kinds there will be; infinite where nobody knows.
        """

    def describe(self) -> None:
        """Write the report of the stage to its file, or log it; then end the stage."""
        report = self.summary()
        if report:
            folder = self.folder
            if self.filename and folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                with open(folder / self.report_name(), "a", encoding="utf-8") as file:
                    file.write(report + "\n")
            elif self._local_rank in (None, 0):
                rank_zero_info(report)
        self.teardown(self._stage)

    def teardown(self, stage: str | None) -> None:
        """End a stage."""

    # -- where reports go

    @property
    def folder(self) -> Path | None:
        """The folder that files go to: the one given, else the run's; None where there is neither."""
        return self._log_dir if self.dirpath is None else self.dirpath

    def report_name(self, action_name: str | None = None, extension: str = ".txt") -> str:
        """Return the name of a file: stage, file name, rank and action, as far as there are any.

        Example:
            >>> from lt_loops.profilers import SimpleProfiler
            >>> profiler = SimpleProfiler(filename="times")
            >>> profiler.setup("fit", local_rank=1)
            >>> profiler.report_name()
            'fit-times-1.txt'
        """
        rank = None if self._local_rank is None else str(self._local_rank)
        parts = [part for part in (self._stage, self.filename, rank, action_name) if part]
        return (_UNSAFE.sub("_", "-".join(parts)).strip("_") or "profile") + extension

    def heading(self) -> str:
        """Return the first line of a report."""
        return f"{self._stage.upper()} Profiler Report" if self._stage else "Profiler Report"
