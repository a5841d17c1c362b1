"""The checkpoint that a run writes when SIGTERM ends it, so that the next job goes on where this one was.

Its name is the one under which cluster users know such files: ``hpc_ckpt_<n>.ckpt`` in ``default_root_dir``.
``ckpt_path="hpc"`` finds the one with the highest number, and ``ckpt_path="last"`` the newest among it and others.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_core.rank_zero import rank_zero_info
from lt_core.seed import collect_random_states
from lt_loops.logger_state import dump_loggers

if TYPE_CHECKING:
    from lt_loops.trainer import Trainer

__all__ = ["Moment", "find_signal_checkpoint", "save_before_the_end"]

_NAME = re.compile(r"hpc_ckpt_(\d+)\.ckpt")


@dataclass(frozen=True)
class Moment:
    """What changes while validation runs: a run that is ended there goes on with the validation from its beginning.

    Attributes:
        random_states: The random states.
        seen: Evaluation batches over the whole run, by loader.
        loggers: Where the loggers stand.
    """

    random_states: dict[str, Any]
    seen: dict[int, int]
    loggers: list[dict[str, Any]]

    @classmethod
    def of(cls, trainer: Trainer) -> Moment:
        """Return the present."""
        return cls(collect_random_states(), dict(trainer.validate_loop.seen), dump_loggers(trainer.loggers))


def find_signal_checkpoint(directory: str | Path) -> Path | None:
    """Return the checkpoint with the highest number in a folder, None where there is none.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> find_signal_checkpoint(folder) is None
        True
        >>> for number in (9, 10):
        ...     Path(folder, f"hpc_ckpt_{number}.ckpt").touch()
        >>> find_signal_checkpoint(folder).name
        'hpc_ckpt_10.ckpt'
    """
    found = _numbered(Path(directory))
    return max(found)[1] if found else None


def _numbered(directory: Path) -> list[tuple[int, Path]]:
    entries = directory.iterdir() if directory.is_dir() else ()
    return [(int(match.group(1)), path) for path in entries if (match := _NAME.fullmatch(path.name))]


def save_before_the_end(trainer: Trainer) -> None:
    """Write the run's state; every rank calls it. Not with ``enable_checkpointing=False`` or ``fast_dev_run``.

    Args:
        trainer: Whose run ends.
    """
    if trainer.fast_dev_run or not trainer.arguments.enable_checkpointing:
        return
    path = None
    if trainer.is_global_zero:
        directory = Path(trainer.default_root_dir)
        number = max((number for number, _ in _numbered(directory)), default=0) + 1
        path = os.path.join(directory, f"hpc_ckpt_{number}.ckpt")
    path = str(trainer.strategy.broadcast(path))
    trainer.save_checkpoint(path)
    rank_zero_info(f"SIGTERM ended the run; its state is saved in {path!r}: go on with `ckpt_path='hpc'`.")
