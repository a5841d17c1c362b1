"""The trivial strategy: one process, one device, every collective the identity."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lt_core.protocols import TrainerProtocol

__all__ = ["SingleProcess"]


class SingleProcess:
    """What a trainer in one process answers to callbacks that ask about ranks.

    Args:
        trainer: Whose module's state is asked for.
        root_device: The device.
    """

    is_global_zero: bool = True
    global_rank: int = 0
    local_rank: int = 0
    node_rank: int = 0
    world_size: int = 1

    def __init__(self, trainer: TrainerProtocol, root_device: torch.device | None = None) -> None:
        self._trainer = trainer
        self.root_device = root_device or torch.device("cpu")

    def barrier(self, name: str | None = None) -> None:
        """Return at once: there is nobody to wait for."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return ``obj``."""
        return obj

    def all_gather(self, tensor: Tensor, group: Any = None, *, sync_grads: bool = False) -> Tensor:
        """Return ``tensor``, unchanged."""
        return tensor

    def reduce(self, tensor: Any, group: Any = None, reduce_op: str | None = "mean") -> Any:
        """Return ``tensor``, unchanged."""
        return tensor

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:  # noqa: A002, FBT001, FBT002
        """Return ``decision``."""
        return decision

    def remove_checkpoint(self, filepath: str | Path) -> None:
        """Remove a checkpoint file or folder; one that is gone already is no error."""
        path = Path(filepath)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the module's full state."""
        return self._trainer.lightning_module.state_dict()
