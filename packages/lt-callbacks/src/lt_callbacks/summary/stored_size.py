"""How many elements a parameter stands for, and how much memory they take.

The two are not simply ``numel`` times the element's size: a lazy parameter has no shape yet, a quantised one packs
several elements into a byte or keeps its content in other tensors, a sharded one is spread over devices.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["packed_tensors", "stored_size"]

_PLAIN = (nn.Parameter, Tensor)
_QUANTIZED_MODULES = "torch.ao.nn."


def stored_size(tensor: Tensor) -> tuple[int, int]:
    """Return the elements of a parameter and the bytes they take; over all devices if it is sharded.

    A parameter whose shape is not known yet has none of either. What quantised tensors keep beside their elements
    (scales, zero points) counts as memory where it is part of the tensor.

    Example:
        >>> import torch
        >>> stored_size(nn.Parameter(torch.zeros(3, 2)))
        (6, 24)
    """
    if type(tensor) in _PLAIN:
        elements = tensor.numel()
        return elements, elements * tensor.element_size()
    if nn.parameter.is_lazy(tensor):
        return 0, 0
    # bitsandbytes packs 4-bit elements in pairs and keeps the true shape beside them.
    quantized_from = getattr(getattr(tensor, "quant_state", None), "shape", None)
    if quantized_from is not None:
        return math.prod(quantized_from), tensor.numel() * tensor.element_size()
    elements = tensor.numel()
    if _is_sharded(tensor) or not hasattr(type(tensor), "__tensor_flatten__"):
        return elements, elements * tensor.element_size()
    return elements, _bytes_within(tensor)


def packed_tensors(modules: Sequence[nn.Module]) -> Iterator[tuple[int, Tensor]]:
    """Yield the weights and biases of torch's quantised layers, which keep them where `parameters` does not look.

    Args:
        modules: The modules to look into; each tensor comes with the position of its module.

    Example:
        >>> list(packed_tensors([nn.Linear(2, 2)]))
        []
    """
    quantised = {kind for kind in set(map(type, modules)) if kind.__module__.startswith(_QUANTIZED_MODULES)}
    if not quantised:
        return
    for position, module in enumerate(modules):
        for name in ("weight", "bias") if type(module) in quantised else ():
            method: Any = getattr(type(module), name, None)
            tensor = method(module) if callable(method) else None
            if isinstance(tensor, Tensor):
                yield position, tensor


def _is_sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor, asked without importing ``torch.distributed``."""
    return hasattr(tensor, "device_mesh") and hasattr(tensor, "placements")


def _bytes_within(tensor: Tensor) -> int:
    """Return the memory of the tensors that a wrapping tensor is made of."""
    flatten: Any = getattr(type(tensor), "__tensor_flatten__", None)
    if flatten is None:
        return tensor.numel() * tensor.element_size()
    names, _ = flatten(tensor)
    return sum(_bytes_within(getattr(tensor, name)) for name in names)
