"""Launchers: where the processes of a run come from when nobody else has started them."""

from lt_loops.launchers.call import Call as Call
from lt_loops.launchers.launcher import Launcher as Launcher

__all__ = ["Call", "Launcher"]
