"""Which checkpoint files a logger has still to upload.

A checkpoint callback tells its best, last and best-k paths only; which of them are new is known by their times.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

__all__ = ["SavedCheckpoint", "checkpoint_settings", "keeps_all", "new_checkpoints"]


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that was written.

    Attributes:
        path: The file, or the folder of a sharded checkpoint.
        saved_at: Its time in seconds since 1970.
        score: The monitored value, None if there is none.
        tag: ``latest``, ``best`` or ``best_k``.
    """

    path: str
    saved_at: float
    score: float | None
    tag: str


def new_checkpoints(callback: Any, known: dict[str, float]) -> list[SavedCheckpoint]:
    """Return the checkpoints of a callback that were written since they were last seen, the oldest first.

    Args:
        callback: The checkpoint callback.
        known: When each path that was seen had been written. The new ones are added.
    """
    tagged: dict[str, tuple[Any, str]] = {}
    tagged[getattr(callback, "last_model_path", "")] = (getattr(callback, "current_score", None), "latest")
    for path, score in (getattr(callback, "best_k_models", None) or {}).items():
        tagged[path] = (score, "best_k")
    tagged[getattr(callback, "best_model_path", "")] = (getattr(callback, "best_model_score", None), "best")
    found = []
    for path, (score, tag) in tagged.items():
        if path and os.path.exists(path) and known.get(path, 0.0) < os.path.getmtime(path):
            known[path] = os.path.getmtime(path)
            found.append(SavedCheckpoint(path, known[path], None if score is None else float(score), tag))
    return sorted(found, key=lambda checkpoint: checkpoint.saved_at)


def keeps_all(callback: Any, log_model: Any) -> bool:
    """Whether checkpoints are uploaded while training: all were asked for, or none will be there at the end.

    Args:
        callback: The checkpoint callback.
        log_model: The logger's argument.
    """
    return log_model == "all" or (log_model is True and getattr(callback, "save_top_k", 0) == -1)


def checkpoint_settings(callback: Any) -> dict[str, Any]:
    """Return the settings of a checkpoint callback, for the metadata of what is uploaded."""
    names = ("monitor", "mode", "save_last", "save_top_k", "save_weights_only")
    return {name: getattr(callback, name) for name in names if getattr(callback, name, None) is not None}
