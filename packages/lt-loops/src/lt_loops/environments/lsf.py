"""Processes that LSF's job step manager has started, by ``jsrun``."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from lt_core.errors import MisconfigurationValueError
from lt_loops.environments.base import KnowsItsRanks
from lt_loops.environments.variables import number_or, read_number, read_text

__all__ = ["LSFEnvironment"]

_START = "start the script by `jsrun python script.py`"
_FIRST_PORT = 10000  # the last three digits of the job's number are added
_NEEDED = ("LSB_JOBID", "LSB_DJOB_RANKFILE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_SIZE")


class LSFEnvironment(KnowsItsRanks):
    """Reads ``JSM_NAMESPACE_RANK``, ``…_LOCAL_RANK``, ``…_SIZE``, and the machines from the file ``LSB_DJOB_RANKFILE``.

    The file's first line is the machine that launches, which computes nothing.

    Raises:
        MisconfigurationValueError: The file cannot be read, or does not hold this machine.
    """

    started_by = "LSF"

    def __init__(self) -> None:
        path = read_text("LSB_DJOB_RANKFILE", self.started_by, _START)
        try:
            lines = Path(path).read_text(encoding="utf-8").split()
        except OSError as error:
            raise MisconfigurationValueError(
                f"The environment variable LSB_DJOB_RANKFILE names the file {path!r}, which cannot be read: {error}. "
                f"Expected LSF's list of machines: {_START}."
            ) from error
        self._machines = list(dict.fromkeys(lines[1:]))
        names = (socket.gethostname(), socket.gethostname().partition(".")[0])
        found = [number for number, machine in enumerate(self._machines) if machine in names]
        found = found or [n for n, machine in enumerate(self._machines) if machine.partition(".")[0] == names[1]]
        if not found:
            raise MisconfigurationValueError(
                f"This machine is {names[0]!r}, and LSF's list of machines in {path!r} holds {self._machines} after "
                f"the launching one. Expected this machine among them: {_START}."
            )
        self._node_rank = found[0]
        os.environ["MASTER_ADDR"] = self.main_address
        os.environ["MASTER_PORT"] = str(self.main_port)

    @property
    def main_address(self) -> str:
        return self._machines[0]

    @property
    def main_port(self) -> int:
        port = number_or("MASTER_PORT", None)
        return read_number("LSB_JOBID", self.started_by, _START) % 1000 + _FIRST_PORT if port is None else port

    @staticmethod
    def detect() -> bool:
        return all(name in os.environ for name in _NEEDED)

    def world_size(self) -> int:
        return read_number("JSM_NAMESPACE_SIZE", self.started_by, _START)

    def global_rank(self) -> int:
        return read_number("JSM_NAMESPACE_RANK", self.started_by, _START)

    def local_rank(self) -> int:
        return read_number("JSM_NAMESPACE_LOCAL_RANK", self.started_by, _START)

    def node_rank(self) -> int:
        return self._node_rank
