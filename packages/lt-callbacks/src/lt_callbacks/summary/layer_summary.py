"""What a summary says about one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lt_callbacks.summary.counts import count_parameters

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

__all__ = ["LayerSummary", "parse_batch_shape"]

_UNKNOWN = "?"


class LayerSummary:
    """The type, parameters and sizes of one layer; the sizes are those of its first forward pass.

    Args:
        module: The layer.
        num_parameters: Its number of parameters if that is known already.
        observe: Whether to wait for a forward pass; without it the sizes stay unknown.

    Example:
        >>> layer = LayerSummary(nn.Conv2d(3, 8, 3))
        >>> layer.layer_type, layer.num_parameters, layer.in_size
        ('Conv2d', 224, '?')
    """

    def __init__(self, module: nn.Module, num_parameters: int | None = None, *, observe: bool = True) -> None:
        self._module = module
        self._num_parameters = num_parameters
        self._in_size: str | list[Any] | None = None
        self._out_size: str | list[Any] | None = None
        self._handle: RemovableHandle | None = None
        if observe and not isinstance(module, torch.jit.ScriptModule):
            self._handle = module.register_forward_hook(self._note_sizes, with_kwargs=True)

    def __del__(self) -> None:
        self.detach_hook()

    def detach_hook(self) -> None:
        """Stop waiting for a forward pass."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def set_num_parameters(self, num_parameters: int) -> None:
        """Correct the number of parameters, once a forward pass has given all of them a shape."""
        self._num_parameters = num_parameters

    @property
    def in_size(self) -> str | list[Any]:
        """The shape of the input, nested as the input is, or ``"?"``."""
        return self._in_size or _UNKNOWN

    @property
    def out_size(self) -> str | list[Any]:
        """The shape of the output, nested as the output is, or ``"?"``."""
        return self._out_size or _UNKNOWN

    @property
    def layer_type(self) -> str:
        """The layer's class name."""
        return type(self._module).__name__

    @property
    def num_parameters(self) -> int:
        """The number of parameters in the layer, each counted once."""
        if self._num_parameters is None:
            return count_parameters(self._module).total
        return self._num_parameters

    @property
    def training(self) -> bool:
        """Whether the layer is in training mode."""
        return self._module.training

    def _note_sizes(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = (*args, *kwargs.values())
        self._in_size = parse_batch_shape(given[0] if len(given) == 1 else given)
        self._out_size = parse_batch_shape(output)
        self.detach_hook()


def parse_batch_shape(batch: Any) -> str | list[Any]:
    """Return the shape of a tensor, or of each tensor in a list or tuple; ``"?"`` for everything else.

    Example:
        >>> parse_batch_shape([torch.zeros(2, 3), None])
        [[2, 3], '?']
    """
    if hasattr(batch, "shape"):
        return list(batch.shape)
    if isinstance(batch, (list, tuple)):
        return [parse_batch_shape(item) for item in batch]
    return _UNKNOWN
