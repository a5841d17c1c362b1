"""A trainer for one fold: made from the same arguments, with nothing of another fold in it."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lt_loops.trainer import Trainer

__all__ = ["Recipe"]


class Recipe:
    """What the trainers of all folds are made from.

    Args:
        trainer: A trainer that has not run yet; its callbacks and loggers are copied, never used.

    Attributes:
        arguments: The arguments of its constructor.
        loggers: Its loggers.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._kind = type(trainer)
        self.arguments: dict[str, Any] = dict(trainer.given)
        self.loggers: list[Any] = list(trainer.loggers)

    def make(self, folder: Path, index: int, logger_versions: list[Any]) -> Trainer:
        """Make the trainer of a fold.

        Args:
            folder: The fold's folder, the trainer's ``default_root_dir``.
            index: The number of the fold.
            logger_versions: The version of each logger; the fold's files lie in a folder within it.
        """
        arguments, loggers = copy.deepcopy((self.arguments, self.loggers))
        name = f"fold_{index}"
        for logger, version in zip(loggers, logger_versions, strict=True):
            if version is not None:
                base = f"version_{version}" if isinstance(version, int) else str(version)
                logger.take_version(os.path.join(base, name))
        arguments.update(default_root_dir=folder, logger=loggers or False)
        trainer = self._kind(**arguments)
        for callback in trainer.checkpoint_callbacks:
            if callback.dirpath is not None:  # a folder that the user chose is shared by all folds
                callback.dirpath = os.path.join(callback.dirpath, name)
        return trainer

    def folders_of(self, trainer: Trainer, folder: Path) -> list[Path]:
        """Return every folder that the trainer of a fold writes to."""
        folders = [folder]
        folders += [Path(logger.log_dir) for logger in trainer.loggers if getattr(logger, "log_dir", None)]
        folders += [Path(callback.dirpath) for callback in trainer.checkpoint_callbacks if callback.dirpath]
        return folders
