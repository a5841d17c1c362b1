"""Contexts that are made once per run and entered at every step, also within themselves.

torch's own `autocast` keeps what it found on entering in one place and so cannot be entered twice; and building an
object for every step would cost as much as the step's bookkeeping.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["AutocastContext", "DefaultDtypeContext"]


class DefaultDtypeContext:
    """Gives new floating point tensors ``dtype``, and afterwards the type they had before.

    Args:
        dtype: A floating point type.

    Example:
        >>> context = DefaultDtypeContext(torch.float64)
        >>> with context:
        ...     torch.zeros(1).dtype
        torch.float64
        >>> torch.zeros(1).dtype
        torch.float32
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._before: list[torch.dtype] = []

    def __enter__(self) -> None:
        self._before.append(torch.get_default_dtype())
        torch.set_default_dtype(self._dtype)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        torch.set_default_dtype(self._before.pop())


class AutocastContext:
    """Runs operations in the lower precision where that is safe, as `torch.autocast` does.

    On leaving, the weights that were cast are forgotten also where another autocast is active outside: the optimizer
    changes the weights next, and what was cast under ``no_grad`` carries no gradient.

    Args:
        device_type: ``"cpu"``, ``"cuda"``, ``"mps"``, …
        dtype: The lower precision.

    Example:
        >>> context = AutocastContext("cpu", torch.bfloat16)
        >>> with context:
        ...     torch.nn.Linear(2, 1)(torch.ones(1, 2)).dtype
        torch.bfloat16
    """

    def __init__(self, device_type: str, dtype: torch.dtype) -> None:
        self._device_type = device_type
        self._dtype = dtype
        self._active: list[torch.autocast] = []
        self._idle: list[torch.autocast] = [self._make()]

    def _make(self) -> torch.autocast:
        return torch.autocast(self._device_type, dtype=self._dtype, cache_enabled=weight_cache_keeps_gradients())

    def __enter__(self) -> None:
        context = self._idle.pop() if self._idle else self._make()
        context.__enter__()
        self._active.append(context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context = self._active.pop()
        context.__exit__(kind, error, trace)
        self._idle.append(context)
        torch.clear_autocast_cache()


@lru_cache(maxsize=1)
def weight_cache_keeps_gradients() -> bool:
    """Whether a weight first used under ``no_grad`` within an autocast still gets its gradient afterwards.

    In older releases of torch it does not, because the cast weight is kept without its history; there the cache has
    to be off.
    """
    weight = torch.ones(1, 1, requires_grad=True)
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            torch.mm(weight, weight)
        return torch.mm(weight, weight).requires_grad
