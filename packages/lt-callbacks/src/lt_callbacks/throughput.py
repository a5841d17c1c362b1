"""Measures throughput: batches, samples and operations a second, over a window of recent batches."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import torch

from lt_core.errors import MisconfigurationValueError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Throughput", "measure_flops"]


class Throughput:
    """Computes throughput from running totals, as an average over the last updates.

    `compute` returns the totals ``time``, ``batches``, ``samples`` and ``lengths``, and once the window is full
    ``device/batches_per_sec``, ``device/samples_per_sec``, ``device/items_per_sec`` (where lengths were given),
    ``device/flops_per_sec`` (where operations were given) and ``device/mfu``, the part of ``available_flops`` that was
    used. With several processes there are the same names without ``device/``, for all of them.

    Args:
        available_flops: The operations a second that one device can do at best; None for no ``mfu``.
        world_size: How many processes there are.
        window_size: Over how many updates is averaged, at least 2.
        separator: Stands between ``device`` and the rest of a name.

    Raises:
        MisconfigurationValueError: A number is out of its range.

    Example:
        >>> throughput = Throughput(window_size=2)
        >>> throughput.update(time=1.0, batches=1, samples=8)
        >>> throughput.update(time=1.5, batches=2, samples=16)
        >>> throughput.compute()["device/samples_per_sec"]
        16.0
    """

    def __init__(
        self,
        available_flops: float | None = None,
        world_size: int = 1,
        window_size: int = 100,
        separator: str = "/",
    ) -> None:
        for name, value, least in (("world_size", world_size, 1), ("window_size", window_size, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise MisconfigurationValueError(
                    f"Throughput got {name}={value!r}; expected a whole number of at least {least}. Write for example"
                    f" `{name}={max(least, 2)}`."
                )
        self.available_flops = available_flops
        self.world_size = world_size
        self.separator = separator
        self._time: deque[float] = deque(maxlen=window_size)
        self._batches: deque[float] = deque(maxlen=window_size)
        self._samples: deque[float] = deque(maxlen=window_size)
        self._lengths: deque[float] = deque(maxlen=window_size)
        self._flops: deque[float] = deque(maxlen=window_size)

    def update(
        self, *, time: float, batches: int, samples: int, lengths: int | None = None, flops: float | None = None
    ) -> None:
        """Take new totals of this process.

        Args:
            time: Seconds since the beginning.
            batches: Batches since the beginning.
            samples: Samples since the beginning.
            lengths: Items (such as tokens) since the beginning; given always or never.
            flops: Operations since the last update.

        Raises:
            MisconfigurationValueError: A total is not above the one before, or the totals contradict each other.
        """
        if samples < batches:
            raise _contradiction("samples", samples, "batches", batches)
        if lengths is not None and lengths < samples:
            raise _contradiction("lengths", lengths, "samples", samples)
        _append("time", self._time, time)
        _append("batches", self._batches, batches)
        _append("samples", self._samples, samples)
        if lengths is not None:
            _append("lengths", self._lengths, lengths)
        if len(self._lengths) not in (0, len(self._samples)):
            raise MisconfigurationValueError(
                f"Throughput got lengths for {len(self._lengths)} of {len(self._samples)} updates; expected them for"
                " all or none. Pass `lengths=` each time."
            )
        if flops is not None:
            self._flops.append(flops)

    def compute(self) -> dict[str, float]:
        """Return the totals and the rates; empty before the first update."""
        if not self._time:
            return {}
        metrics = {"time": self._time[-1], "batches": self._batches[-1], "samples": self._samples[-1]}
        if self._lengths:
            metrics["lengths"] = self._lengths[-1]
        if len(self._time) < (self._time.maxlen or 0):
            return metrics
        seconds = self._time[-1] - self._time[0]
        rates = {
            "batches_per_sec": (self._batches[-1] - self._batches[0]) / seconds,
            "samples_per_sec": (self._samples[-1] - self._samples[0]) / seconds,
        }
        if len(self._lengths) == self._lengths.maxlen:
            rates["items_per_sec"] = (self._lengths[-1] - self._lengths[0]) / seconds
        if len(self._flops) == self._flops.maxlen:
            rates["flops_per_sec"] = (sum(self._flops) - self._flops[0]) / seconds
        for name, rate in rates.items():
            metrics[f"device{self.separator}{name}"] = rate
            if self.world_size > 1:
                metrics[name] = rate * self.world_size
        if "flops_per_sec" in rates and self.available_flops:
            metrics[f"device{self.separator}mfu"] = rates["flops_per_sec"] / self.available_flops
        return metrics

    def reset(self) -> None:
        """Forget all updates."""
        for window in (self._time, self._batches, self._samples, self._lengths, self._flops):
            window.clear()


def measure_flops(
    model: torch.nn.Module,
    forward_fn: Callable[[], torch.Tensor],
    loss_fn: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> int:
    """Count the floating point operations of a forward pass, and of the backward pass that follows it.

    Args:
        model: The module; on the device ``meta`` nothing is computed.
        forward_fn: Runs the forward pass and returns its output ``[…]``.
        loss_fn: Returns the loss ``[]`` of that output; None counts the forward pass alone.

    Returns:
        The operations that torch counts: those of matrix products, convolutions and attention.

    Example:
        >>> with torch.device("meta"):
        ...     layer, x = torch.nn.Linear(32, 2, bias=False), torch.randn(5, 32)
        >>> measure_flops(layer, lambda: layer(x))
        640
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        output = forward_fn()
        if loss_fn is not None:
            loss_fn(output).backward()
    return int(counter.get_total_flops())


def _append(name: str, window: deque[float], total: float) -> None:
    if window and total <= window[-1]:
        raise MisconfigurationValueError(
            f"Throughput got {name}={total!r} after {window[-1]!r}; expected totals that grow with each update. Pass"
            f" `{name}=` counted from the beginning, and call `reset()` where it begins anew."
        )
    window.append(total)


def _contradiction(more: str, value: float, less: str, other: float) -> MisconfigurationValueError:
    return MisconfigurationValueError(
        f"Throughput got {more}={value!r} and {less}={other!r}; Expected {more} to be greater or equal than {less}."
        f" Pass totals: all {more} and all {less} since the beginning."
    )
