"""The launcher seam: a strategy with several processes has one, and the trainer hands its first call to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lt_loops.launchers.call import Call
    from lt_loops.trainer import Trainer

__all__ = ["Launcher"]


class Launcher(ABC):
    """Starts the processes of a run.

    Attributes:
        is_interactive_compatible: Whether it works in a notebook.
    """

    is_interactive_compatible: bool = False

    @abstractmethod
    def takes_over(self) -> bool:
        """Whether the processes have to be started before a call can run."""

    @abstractmethod
    def launch(self, trainer: Trainer, call: Call) -> Any:
        """Start the processes and run ``call`` in them.

        Returns:
            What the call returned on rank 0.
        """
