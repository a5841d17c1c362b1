"""Names in a trace that tell which submodule runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

__all__ = ["ModuleNames"]


class ModuleNames:
    """Marks the forward passes of all submodules for torch's profiler, from `attach` to `detach`.

    Example:
        >>> names = ModuleNames()
        >>> names.attach(nn.Sequential(nn.Linear(1, 1)))
        >>> names.detach()
    """

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []
        self._running: list[torch.profiler.record_function] = []

    def attach(self, module: nn.Module) -> None:
        """Mark the submodules of ``module``, and of no other one."""
        self.detach()
        for name, child in module.named_modules():
            if name:
                self._mark(name, child)

    def detach(self) -> None:
        """Leave the forward passes as they were."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._running.clear()

    def _mark(self, name: str, module: nn.Module) -> None:
        label = f"[module]{type(module).__module__}.{type(module).__name__}: {name}"

        def enter(*_: Any) -> None:
            region = torch.profiler.record_function(label)
            region.__enter__()
            self._running.append(region)

        def leave(*_: Any) -> None:
            if self._running:
                self._running.pop().__exit__(None, None, None)

        self._handles.append(module.register_forward_pre_hook(enter))
        # Also where the forward pass raises: the region must not stay open.
        self._handles.append(module.register_forward_hook(leave, always_call=True))
