"""Which launcher starts the processes of a strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt_loops.launchers.launcher import Launcher
    from lt_loops.strategies.parallel import ParallelStrategy

__all__ = ["choose_launcher"]


def choose_launcher(strategy: ParallelStrategy, start_method: str) -> Launcher:
    """Return what starts the processes of ``strategy``.

    Args:
        strategy: Whose processes.
        start_method: ``"popen"``, ``"spawn"``, ``"fork"`` or ``"forkserver"``.
    """
    if start_method == "popen":
        from lt_loops.launchers.script import ScriptLauncher

        return ScriptLauncher(strategy)
    from lt_loops.launchers.processes import ProcessLauncher

    return ProcessLauncher(strategy, start_method)
