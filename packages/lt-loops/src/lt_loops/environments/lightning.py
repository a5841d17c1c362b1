"""Processes that the trainer starts itself, or that a user started with the same variables."""

from __future__ import annotations

import os

from lt_loops.environments.base import ClusterEnvironment

__all__ = ["LightningEnvironment"]


class LightningEnvironment(ClusterEnvironment):
    """Reads ``LOCAL_RANK``, ``NODE_RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``.

    A process with ``LOCAL_RANK`` was started by somebody else: by the trainer's own launcher, or by the user.

    Example:
        >>> LightningEnvironment().main_address
        '127.0.0.1'
    """

    def __init__(self) -> None:
        self._global_rank = 0
        self._world_size = 1

    @property
    def creates_processes_externally(self) -> bool:
        return "LOCAL_RANK" in os.environ

    @property
    def main_address(self) -> str:
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        return int(os.environ.get("MASTER_PORT", "0"))

    @staticmethod
    def detect() -> bool:
        return True

    def world_size(self) -> int:
        return self._world_size

    def set_world_size(self, size: int) -> None:
        self._world_size = size

    def global_rank(self) -> int:
        return self._global_rank

    def set_global_rank(self, rank: int) -> None:
        self._global_rank = rank

    def local_rank(self) -> int:
        return int(os.environ.get("LOCAL_RANK", "0"))

    def node_rank(self) -> int:
        return int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0")))
