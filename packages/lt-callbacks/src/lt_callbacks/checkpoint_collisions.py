"""Finds checkpoint callbacks that would overwrite each other's files.

Several checkpoint callbacks in one folder are common: one for the best, one for every hour. Names that are taken get a
version, so they stay apart, unless versions are switched off. Then one callback would replace, and later remove, what
the other believes to keep.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lt_core.errors import MisconfigurationException

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lt_callbacks.checkpoint_writer import CheckpointWriter

__all__ = ["refuse_a_file_of_another", "refuse_same_names"]

_ADVICE = "Give each a `filename` or a `dirpath` of its own, or leave `enable_version_counter` on."


def refuse_same_names(writer: CheckpointWriter, others: Iterable[CheckpointWriter]) -> None:
    """Raise if two callbacks are sure to write the same file; known before training.

    Args:
        writer: The callback whose folder has just been chosen.
        others: The other checkpoint callbacks of the run.

    Raises:
        MisconfigurationException: They share a folder and a name, and one of them replaces files.
    """
    for other in others:
        if _folder(writer) != _folder(other) or (writer.enable_version_counter and other.enable_version_counter):
            continue
        shared = sorted(writer.name_templates() & other.name_templates())
        if shared:
            raise MisconfigurationException(
                f"Two `{type(writer).__name__}` callbacks would write the same file: both have the folder"
                f" {writer.dirpath!r} and the name {shared[0]!r}, and one has `enable_version_counter=False`. Expected"
                f" names of their own. {_ADVICE}"
            )


def refuse_a_file_of_another(writer: CheckpointWriter, filepath: str, others: Iterable[CheckpointWriter]) -> None:
    """Raise if a file that is about to be written is one that another callback keeps.

    Args:
        writer: The callback that is about to write.
        filepath: Where to.
        others: The other checkpoint callbacks of the run.

    Raises:
        MisconfigurationException: The file is another's.
    """
    target = os.path.abspath(filepath)
    for other in others:
        if target in {os.path.abspath(path) for path in other.kept_files()}:
            raise MisconfigurationException(
                f"`{type(writer).__name__}` was about to write {filepath!r}, which another"
                f" `{type(other).__name__}` of the run keeps. Expected files of their own. {_ADVICE}"
            )


def _folder(writer: CheckpointWriter) -> str | None:
    return None if writer.dirpath is None else os.path.abspath(writer.dirpath)
