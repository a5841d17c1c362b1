"""What starts the processes of a run, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.launchers import Launcher, RankFailedError

__all__ = ["Launcher", "RankFailedError"]
