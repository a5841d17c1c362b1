"""64-bit floating point throughout: for numerically delicate models, at twice the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from lt_loops.precision.base import Precision
from lt_loops.precision.contexts import DefaultDtypeContext
from lt_loops.precision.convert import cast_floats

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["DoublePrecision"]


class DoublePrecision(Precision):
    """Weights, inputs and new tensors in 64 bits.

    Example:
        >>> precision = DoublePrecision()
        >>> precision.convert_module(torch.nn.Linear(1, 1)).weight.dtype
        torch.float64
    """

    precision: str = "64-true"
    converts_input: ClassVar[bool] = True
    converts_before_loading: ClassVar[bool] = True

    def convert_module(self, module: nn.Module) -> nn.Module:
        return module.double()

    def convert_input(self, data: Any) -> Any:
        return cast_floats(data, torch.float64)

    def convert_output(self, data: Any) -> Any:
        return cast_floats(data, torch.get_default_dtype())

    def step_context(self) -> AbstractContextManager[Any] | None:
        return DefaultDtypeContext(torch.float64)

    def tensor_init_context(self) -> AbstractContextManager[Any]:
        return DefaultDtypeContext(torch.float64)
