"""Copies a batch to a CUDA device on a stream of its own, while the computation before it is still running.

The host is usually ahead of the device: when it has the next batch in hand, the device still works on the one before.
A copy on the computing stream would queue up behind that work; on a side stream it begins at once, and only the
computation that needs the batch waits for it. The memory in which the copy arrives belongs to the side stream, and the
allocator is told that the computing stream uses it, so that it is not given to the next copy too early (see "CUDA
streams" in torch's notes on CUDA semantics, and `torch.Tensor.record_stream`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from lt_core.transfer import move_data_to_device

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["CudaStreams", "SideStreamCopier", "Streams", "tensors_in"]


class Streams(Protocol):
    """What the copier needs of a device."""

    def side(self) -> Any:
        """Return a new stream."""

    def current(self) -> Any:
        """Return the stream on which the caller computes."""

    def use(self, stream: Any) -> AbstractContextManager[Any]:
        """Make ``stream`` the current one within a context."""


class CudaStreams:
    """The streams of a CUDA device.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def side(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self._device)

    def current(self) -> torch.cuda.Stream:
        return torch.cuda.current_stream(self._device)

    def use(self, stream: torch.cuda.Stream) -> AbstractContextManager[Any]:
        return torch.cuda.stream(stream)


class SideStreamCopier:
    """Moves batches to a device; called with a batch, returns it on the device.

    Pinned host memory (``pin_memory=True`` on the loader) is copied without any wait on the host. Batches that hold
    anything whose memory cannot be told (an object with a ``to`` of its own) or that come from another device are
    copied on the computing stream, which is always right.

    Args:
        device: Where to.
        streams: The device's streams.
        move: Moves a batch; asked to do so without waiting.
    """

    def __init__(
        self,
        device: torch.device,
        streams: Streams | None = None,
        move: Callable[[Any, torch.device], Any] = move_data_to_device,
    ) -> None:
        self._device = device
        self._streams: Streams = CudaStreams(device) if streams is None else streams
        self._side = self._streams.side()
        self._move = move

    def __call__(self, batch: Any) -> Any:
        held = tensors_in(batch)
        if held is None or any(tensor.device.type != "cpu" for tensor in held):
            return self._move(batch, self._device)
        if not held:
            return batch
        with self._streams.use(self._side):
            moved = self._move(batch, self._device)
        current = self._streams.current()
        current.wait_stream(self._side)
        for tensor in tensors_in(moved) or ():
            tensor.record_stream(current)
        return moved


def tensors_in(batch: Any) -> list[Tensor] | None:
    """Return the tensors of a batch, or None where it holds something that moves itself.

    Example:
        >>> len(tensors_in({"x": torch.ones(1), "more": [torch.ones(1), "name"]}))
        2
        >>> tensors_in([torch.nn.utils.rnn.pack_sequence([torch.ones(1)])]) is None
        True
    """
    found: list[Tensor] = []
    for leaf in _leaves(batch):
        if type(leaf) is Tensor or isinstance(leaf, torch.nn.Parameter):
            found.append(leaf)
        elif callable(getattr(type(leaf), "to", None)):
            return None  # also subclasses of Tensor: what they hold is theirs to know
    return found


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, Tensor) or callable(getattr(type(data), "to", None)):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _leaves(value)
    elif isinstance(data, Sequence) and not isinstance(data, (str, bytes, bytearray)):
        for value in data:
            yield from _leaves(value)
    elif dataclasses.is_dataclass(data) and not isinstance(data, type):
        for field in dataclasses.fields(data):
            yield from _leaves(getattr(data, field.name, None))
