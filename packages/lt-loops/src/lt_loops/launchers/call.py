"""A call of one of the trainer's entry points, in a form that can travel to another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lt_loops.trainer import Trainer

__all__ = ["Call"]


@dataclass(frozen=True)
class Call:
    """What the user called.

    Attributes:
        name: ``fit``, ``validate``, ``test`` or ``predict``.
        arguments: By name.
    """

    name: str
    arguments: dict[str, Any]

    def __call__(self, trainer: Trainer) -> Any:
        """Call it on ``trainer``; what it returns."""
        return getattr(trainer, self.name)(**self.arguments)
