"""Launchers: where the processes of a run come from when nobody else has started them.

A process that our launcher has started as a script finds that out here, when the package is imported: from then on it
notices when the process that started it is gone, and its exceptions are reported by that process.
"""

from lt_loops.launchers.call import Call as Call
from lt_loops.launchers.enter import enter_started_script
from lt_loops.launchers.failure import RankFailedError as RankFailedError
from lt_loops.launchers.launcher import Launcher as Launcher

__all__ = ["Call", "Launcher", "RankFailedError"]

enter_started_script()
