"""16-bit floating point throughout: half the memory, and no copy of the weights in 32 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from lt_core.errors import MisconfigurationValueError, did_you_mean
from lt_loops.precision.base import Precision
from lt_loops.precision.contexts import DefaultDtypeContext
from lt_loops.precision.convert import cast_floats

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["HalfPrecision"]

_DTYPES = {"16-true": torch.float16, "bf16-true": torch.bfloat16}


class HalfPrecision(Precision):
    """Weights, inputs and new tensors in 16 bits. No loss is scaled.

    Args:
        precision: ``"16-true"`` for `torch.float16`, ``"bf16-true"`` for `torch.bfloat16`.

    Raises:
        MisconfigurationValueError: ``precision`` is neither.

    Example:
        >>> HalfPrecision("bf16-true").convert_input(torch.ones(1)).dtype
        torch.bfloat16
    """

    converts_input: ClassVar[bool] = True

    def __init__(self, precision: str = "16-true") -> None:
        if precision not in _DTYPES:
            raise MisconfigurationValueError(
                f"`HalfPrecision(precision={precision!r})`: there is no such half precision. Expected '16-true' or"
                f" 'bf16-true'.{did_you_mean(str(precision), _DTYPES)} Write `HalfPrecision(\"bf16-true\")`."
            )
        self.precision = precision
        self._dtype = _DTYPES[precision]

    def convert_module(self, module: nn.Module) -> nn.Module:
        return module.to(dtype=self._dtype)

    def convert_input(self, data: Any) -> Any:
        return cast_floats(data, self._dtype)

    def convert_output(self, data: Any) -> Any:
        return cast_floats(data, torch.get_default_dtype())

    def step_context(self) -> AbstractContextManager[Any] | None:
        return DefaultDtypeContext(self._dtype)

    def tensor_init_context(self) -> AbstractContextManager[Any]:
        return DefaultDtypeContext(self._dtype)
