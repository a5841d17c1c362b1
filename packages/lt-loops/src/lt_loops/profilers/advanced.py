"""Which Python functions the time of each action went to, by cProfile."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from lt_core.errors import MisconfigurationException, MisconfigurationValueError, did_you_mean
from lt_loops.profilers.base import Profiler

if TYPE_CHECKING:
    import cProfile
    from pathlib import Path

__all__ = ["AdvancedProfiler"]


class AdvancedProfiler(Profiler):
    """One cProfile per action. Slow: for finding out where time goes, not how much.

    Python runs one profiler at a time: what is measured as an action of its own inside another is counted there only.

    Args:
        dirpath: The folder of the report and of dumps; by default the run's.
        filename: What the report's file is called, without extension; without it the report is logged.
        line_count_restriction: How many lines per action are reported: a share of them, or a whole number.
        dump_stats: Also write each action's statistics to a ``.prof`` file, for `pstats` and viewers.

    Example:
        >>> profiler = AdvancedProfiler(line_count_restriction=3)
        >>> with profiler.profile("sort"):
        ...     numbers = sorted([3, 1, 2])
        >>> "Profile stats for: sort" in profiler.summary()
        True
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = None,
        line_count_restriction: float = 1.0,
        dump_stats: bool = False,  # noqa: FBT001, FBT002 -- the API we match
    ) -> None:
        super().__init__(dirpath=dirpath, filename=filename)
        self.profiled_actions: dict[str, cProfile.Profile] = {}
        self.line_count_restriction = line_count_restriction
        self.dump_stats = dump_stats
        self._running: list[str] = []

    def start(self, action_name: str) -> None:
        """Begin to measure an action; the one around it pauses."""
        if self._running:
            self.profiled_actions[self._running[-1]].disable()
        self._running.append(action_name)
        if action_name not in self.profiled_actions:
            self.profiled_actions[action_name] = _new_profile()
        self.profiled_actions[action_name].enable()

    def stop(self, action_name: str) -> None:
        """End to measure an action; the one around it goes on.

        Raises:
            MisconfigurationValueError: It was not started.
        """
        if action_name not in self._running:
            raise MisconfigurationValueError(
                f"The action {action_name!r} is stopped and was not started. Expected to be started first:"
                f" call `profiler.start({action_name!r})`.{did_you_mean(action_name, self._running)}"
            )
        self.profiled_actions[self._running[-1]].disable()
        del self._running[len(self._running) - 1 - self._running[::-1].index(action_name)]
        if self._running:
            self.profiled_actions[self._running[-1]].enable()

    def setup(self, stage: str, local_rank: int | None = None, log_dir: str | Path | None = None) -> None:
        """Begin a stage.

        Raises:
            MisconfigurationException: Statistics are to be dumped, and there is no folder.
        """
        super().setup(stage, local_rank, log_dir)
        if self.dump_stats:
            self._dump_folder()

    def summary(self) -> str:
        """Return the statistics of each action, sorted by cumulative time."""
        import pstats

        report = [self.heading()]
        for action, profile in self.profiled_actions.items():
            text = io.StringIO()
            stats = pstats.Stats(profile, stream=text).strip_dirs().sort_stats("cumulative")
            stats.print_stats(self.line_count_restriction)
            rank = "" if self._local_rank is None else f" rank: {self._local_rank}"
            report += [f"Profile stats for: {action}{rank}", text.getvalue()]
            if self.dump_stats:
                stats.dump_stats(self._dump_folder() / self.report_name(action, ".prof"))
        if self._running:  # reading the statistics stopped it
            self.profiled_actions[self._running[-1]].enable()
        return "\n".join(report)

    def teardown(self, stage: str | None) -> None:
        """End a stage; its statistics are forgotten, but for actions that still run."""
        self.profiled_actions = {action: self.profiled_actions[action] for action in self._running}

    def _dump_folder(self) -> Path:
        folder = self.folder
        if folder is None:
            raise MisconfigurationException(
                "`AdvancedProfiler(dump_stats=True)` has no folder to write to. One was expected. Write"
                ' `AdvancedProfiler(dirpath="...", dump_stats=True)`.'
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _new_profile() -> cProfile.Profile:
    # Imported where it is used: few runs are measured in this way, and every run imports this module.
    import cProfile

    return cProfile.Profile()
