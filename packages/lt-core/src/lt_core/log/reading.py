"""Reading many scalars from a device at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_scalars"]


def read_scalars(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Copy scalar tensors to the host with one transfer per device and return them as numbers.

    On CUDA the copy goes to pinned memory and waits for its own event only, so that it never becomes an implicit
    synchronisation of the stream.

    Args:
        values: Scalar tensors ``[]`` by name.

    Example:
        >>> read_scalars({"loss": torch.tensor(0.5)})
        {'loss': 0.5}
    """
    if not values:
        return {}
    devices: dict[torch.device, list[str]] = {}
    for name, value in values.items():
        devices.setdefault(value.device, []).append(name)
    result = dict.fromkeys(values, 0.0)
    for device, names in devices.items():
        wide = torch.float32 if device.type == "mps" else torch.float64
        with torch.no_grad():
            stacked = torch.stack([values[name].detach().to(wide) for name in names])
        if device.type == "cuda":
            host = torch.empty(stacked.shape, dtype=wide, pin_memory=True)
            host.copy_(stacked, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(device))
            event.synchronize()
            stacked = host
        result.update(zip(names, stacked.tolist(), strict=True))
    return result
