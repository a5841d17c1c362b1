"""Saves a checkpoint when an exception ends the run.

The file says where a crashed run was; a run that ends well removes it again, so that it never stands for anything
else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lt_callbacks import file_system
from lt_core.callback import Checkpoint
from lt_core.errors import MisconfigurationException, MisconfigurationValueError

if TYPE_CHECKING:
    from pathlib import Path

    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["OnExceptionCheckpoint"]


class OnExceptionCheckpoint(Checkpoint):
    """Save a checkpoint when an exception ends the run, and remove it when a run ends well.

    Args:
        dirpath: The folder.
        filename: The file's name without extension.

    Raises:
        ValueError: ``filename`` is empty.

    Example:
        >>> OnExceptionCheckpoint("runs").ckpt_path.replace(os.sep, "/")
        'runs/on_exception.ckpt'
    """

    FILE_EXTENSION = ".ckpt"

    dirpath: str | Path

    def __init__(self, dirpath: str | Path, filename: str = "on_exception") -> None:
        super().__init__()
        if not filename:
            raise MisconfigurationValueError(
                f"OnExceptionCheckpoint got filename={filename!r}; expected a name without extension. Write for example"
                " `filename='on_exception'`."
            )
        self.dirpath = dirpath
        self.filename = filename

    def find_last_checkpoints(self, trainer: Trainer) -> set[str]:
        """Return the file that an earlier run left when it failed."""
        return {self.ckpt_path}

    def setup(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Refuse a folder that cannot be written to, and two callbacks with one file."""
        if any(
            isinstance(other, OnExceptionCheckpoint)
            and other is not self
            and os.path.abspath(other.ckpt_path) == os.path.abspath(self.ckpt_path)
            for other in trainer.callbacks
        ):
            raise MisconfigurationException(
                f"Two `OnExceptionCheckpoint` callbacks would write the same file {self.ckpt_path!r}. Expected one."
                " Remove one of them, or give it another `filename`."
            )
        problem = (
            file_system.why_not_writable(str(self.dirpath), "OnExceptionCheckpoint") if trainer.is_global_zero else None
        )
        problem = trainer.strategy.broadcast(problem)
        if problem is not None:
            raise MisconfigurationException(problem)

    @property
    def ckpt_path(self) -> str:
        """Where the file is written."""
        return os.path.join(self.dirpath, self.filename + self.FILE_EXTENSION)

    def on_exception(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Save the run's state, over a file of an earlier exception."""
        trainer.save_checkpoint(self.ckpt_path)

    def teardown(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Remove the file; teardown is only called when a run ends well."""
        if trainer.is_global_zero and file_system.exists(self.ckpt_path):
            trainer.strategy.remove_checkpoint(self.ckpt_path)
