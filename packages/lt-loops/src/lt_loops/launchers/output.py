"""Where started ranks print: where this process prints."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from torch.distributed.elastic.multiprocessing import LogsDest, LogsSpecs

if TYPE_CHECKING:
    from collections.abc import Sized

__all__ = ["SharedOutput"]


class SharedOutput(LogsSpecs):
    """Ranks share the standard streams of this process; torchelastic writes no files and follows none."""

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Return the destination of each rank: none of its own."""
        return LogsDest(
            stdouts=_none(envs, ""),
            stderrs=_none(envs, ""),
            error_files=_none(envs, os.devnull),
        )

    @property
    def root_log_dir(self) -> str:
        """The folder of log files: there is none."""
        return os.devnull


def _none(envs: Sized, value: str) -> dict[int, str]:
    return dict.fromkeys(range(len(envs)), value)
