"""What the run of one fold leaves behind, and its file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from lt_core.checkpoint_file import load_checkpoint_file, save_checkpoint_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FoldResult"]


@dataclass
class FoldResult:
    """What the run of one fold gave.

    Attributes:
        index: The number of the fold.
        metrics: What validation and, where there is a test part, testing logged, with the best weights.
        predictions: By name (``""`` where ``predict_step`` returns one tensor), a row ``[R, …]`` for each validation
            row, in the order of the fold's ``val_indices``; None where nothing was predicted.
        checkpoint: The file with the best weights, else with the last ones.
        epochs: How many epochs were trained.
        steps: How many optimizer steps were taken.
        folder: Where the fold's files are.
    """

    index: int
    metrics: dict[str, float]
    predictions: dict[str, Tensor] | None
    checkpoint: str
    epochs: int
    steps: int
    folder: str

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        save_checkpoint_file(asdict(self), path)

    @classmethod
    def load(cls, path: Path) -> FoldResult:
        """Read what `save` wrote; only safe types are in it."""
        return cls(**load_checkpoint_file(path, weights_only=True))
