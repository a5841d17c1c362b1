"""Where the values of one logged key live between the step that logs them and the reader that wants them.

The step path only copies a scalar into a preallocated cell; everything else (weights, sums, conversion to Python
numbers) happens in bulk, once per `RING` values or when somebody reads. The copy is what makes a tensor that the user
changes in place afterwards keep the value that it had when it was logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_core.rank_zero import WarningCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_core.log.options import LogOptions, RawOptions

__all__ = ["RING", "Slot", "Totals"]

RING = 64
"""How many values are kept before they are reduced in bulk."""

_REDUCERS: dict[str, Callable[[Tensor], Tensor]] = {"sum": torch.sum, "min": torch.min, "max": torch.max}
_warnings = WarningCache()


@dataclass
class Totals:
    """A reduced value that can be combined with others of its kind exactly.

    Attributes:
        value: The weighted sum for ``mean``, else the sum, minimum or maximum; a double where the device has doubles.
        weight: The sum of the weights for ``mean``, else the number of values.
        reduction: ``mean``, ``sum``, ``min`` or ``max``.
    """

    value: Tensor
    weight: float
    reduction: str

    def merge(self, other: Totals) -> Totals:
        """Combine with the totals of other steps or ranks."""
        if not self.weight or not other.weight:
            return other if not self.weight else self
        if self.reduction in ("mean", "sum"):
            value = self.value + other.value
        elif self.reduction == "min":
            value = torch.minimum(self.value, other.value)
        else:
            value = torch.maximum(self.value, other.value)
        return Totals(value, self.weight + other.weight, self.reduction)

    def result(self) -> Tensor:
        """Return the reduced value, a scalar tensor ``[]``; a mean over no weight is NaN."""
        if self.reduction != "mean":
            return self.value
        return self.value / self.weight if self.weight else torch.full_like(self.value, float("nan"))


def _number_dtype() -> torch.dtype:
    """Return the dtype in which plain numbers are published: the default one, but never below 32 bits."""
    return torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


class Slot:
    """The values of one key of one hook (and one evaluation loader).

    Args:
        name: The key as it was given.
        options: The resolved options.
        raw: The arguments as they were given; a later call with others is a mistake.
        dataloader_idx: The evaluation loader, None when there is only one.
    """

    __slots__ = (
        "_cells",
        "_count",
        "_graph",
        "_last",
        "_numbers",
        "_total",
        "_weighted",
        "_weights",
        "dataloader_idx",
        "dtype",
        "name",
        "options",
        "raw",
    )

    def __init__(self, name: str, options: LogOptions, raw: RawOptions | None, dataloader_idx: int | None) -> None:
        self.name = name
        self.options = options
        self.raw = raw
        self.dataloader_idx = dataloader_idx
        self.dtype = _number_dtype()
        self._weighted = options.on_epoch and options.reduction == "mean"
        self._cells: list[Tensor] = []
        self._count = 0
        self._weights: list[float] = []
        self._total: Totals | None = None
        self._numbers: tuple[float, float] | None = None
        self._last: Tensor | float | None = None
        self._graph: list[tuple[Tensor, float]] = []

    @property
    def weighted(self) -> bool:
        """Whether each value needs the size of its batch."""
        return self._weighted

    # -- the step path

    def add(self, value: Any, weight: float) -> None:
        """Keep one value.

        Args:
            value: A number, or a tensor with one element; copied.
            weight: Its batch size; counts for epoch means only.
        """
        if not isinstance(value, Tensor):
            value = self._number(value)
            if self._cells:
                self._next_cell(weight).fill_(value)
                return
            self._last = value
            if self.options.on_epoch:
                self._add_number(value, weight)
            return
        if value.numel() != 1:
            raise MisconfigurationValueError(
                f"`self.log({self.name!r}, …)` got a tensor of shape {tuple(value.shape)}. Expected a single number: "
                "reduce it first, for example with `.mean()`."
            )
        if self.options.enable_graph:
            self._take_dtype(value)
            kept = value.reshape(()).clone()
            self._last = kept
            if self.options.on_epoch:
                self._graph.append((kept, weight))
            return
        if not self._cells:
            self._allocate(value)
        if value.requires_grad:
            value = value.data  # half the price of detach(), and gone after the copy
        self._next_cell(weight).copy_(value if value.ndim == 0 else value.reshape(()))

    def _next_cell(self, weight: float) -> Tensor:
        cells = self._cells
        if not self.options.on_epoch:
            self._last = cells[0]
            return cells[0]
        count = self._count
        if count == RING:
            self._merge(self._pending())
            self._weights.clear()
            count = 0
        self._count = count + 1
        self._weights.append(weight)
        cell = self._last = cells[count]
        return cell

    def _number(self, value: Any) -> float:
        if isinstance(value, (bool, int, float)):
            return float(value)
        item = getattr(value, "item", None)
        if item is not None and getattr(value, "size", None) == 1:  # a numpy scalar or array of one
            return float(item())
        expected = "Expected a number, a tensor with one element or a torchmetrics `Metric`"
        hint = ": log its entries with `self.log_dict(…)`" if isinstance(value, dict) else ""
        raise MisconfigurationValueError(
            f"`self.log({self.name!r}, {value!r})` got a {type(value).__name__}. {expected}{hint}."
        )

    def _add_number(self, value: float, weight: float) -> None:
        reduction = self.options.reduction
        if self._numbers is None:
            self._numbers = (value * weight if self._weighted else value, weight)
            return
        total, total_weight = self._numbers
        if reduction == "mean":
            total += value * weight
        elif reduction == "sum":
            total += value
        else:
            total = min(total, value) if reduction == "min" else max(total, value)
        self._numbers = (total, total_weight + weight)

    def _take_dtype(self, value: Tensor) -> None:
        if value.is_complex():
            raise MisconfigurationTypeError(
                f"`self.log({self.name!r}, …)` got the complex value of dtype {value.dtype}. Expected a real number: "
                "log its absolute value or its parts."
            )
        if not value.is_floating_point():
            _warnings.warn(
                f"`self.log({self.name!r}, …)` got a tensor of dtype {value.dtype}; it is kept as float32. "
                "Convert it to a floating point dtype to choose yourself."
            )
        self.dtype = torch.float64 if value.dtype == torch.float64 else torch.float32

    def _allocate(self, value: Tensor) -> None:
        self._take_dtype(value)
        # A cell made under inference_mode could not be written to outside of it.
        with torch.inference_mode(mode=False), torch.no_grad():
            cells = torch.zeros(RING if self.options.on_epoch else 1, dtype=self.dtype, device=value.device)
            self._cells = list(cells.unbind(0))

    # -- bulk

    def _merge(self, totals: Totals) -> None:
        self._total = totals if self._total is None else self._total.merge(totals)

    def _pending(self) -> Totals:
        """Reduce the values that wait in the cells."""
        with torch.inference_mode(mode=False), torch.no_grad():
            cells = self._cells[: self._count]
            values = torch.stack(cells).to(_wide(cells[0].device))
            reduction = self.options.reduction
            if reduction == "mean":
                weights = torch.tensor(self._weights, dtype=values.dtype)
                if values.is_cuda:  # a copy from pinned memory does not wait for the device
                    weights = weights.pin_memory().to(values.device, non_blocking=True)
                else:
                    weights = weights.to(values.device)
                return Totals((values * weights).sum(), sum(self._weights), reduction)
            return Totals(_REDUCERS[reduction](values), len(cells), reduction)

    def totals(self, device: torch.device) -> Totals | None:
        """Return what the epoch has so far, without changing it; None when nothing was logged.

        Args:
            device: Where logged numbers become a tensor.
        """
        if self._graph:
            return self._graph_totals()
        totals = self._total
        if self._count:
            pending = self._pending()
            totals = pending if totals is None else totals.merge(pending)
        if self._numbers is not None:
            value, weight = self._numbers
            device = device if totals is None else totals.value.device
            # full() fills on the device, where tensor() would copy there and wait.
            numbers = Totals(torch.full((), value, dtype=_wide(device), device=device), weight, self.options.reduction)
            totals = numbers if totals is None else totals.merge(numbers)
        return totals

    def _graph_totals(self) -> Totals:
        values = torch.stack([value for value, _ in self._graph])
        weights = [weight for _, weight in self._graph]
        reduction = self.options.reduction
        if reduction == "mean":
            weighted = (values * torch.tensor(weights, dtype=values.dtype, device=values.device)).sum()
            return Totals(weighted, sum(weights), reduction)
        return Totals(_REDUCERS[reduction](values), len(weights), reduction)

    def last(self, device: torch.device) -> Tensor | None:
        """Return the last value as a scalar tensor ``[]``, or None when there is none; may be a view."""
        if self._last is None or isinstance(self._last, Tensor):
            return self._last
        return torch.full((), self._last, dtype=self.dtype, device=device)

    def epoch(self, totals: Totals | None) -> Tensor | None:
        """Return the epoch's value of ``totals`` in the key's dtype, ``[]``."""
        return None if totals is None else totals.result().to(self.dtype)

    def reset(self) -> None:
        """Forget all values."""
        self._count = 0
        self._weights.clear()
        self._total = None
        self._numbers = None
        self._last = None
        self._graph.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the values such that going on from them gives the same bits."""
        last = self._last
        return {
            "cells": torch.stack(self._cells[: max(self._count, 1)]).clone() if self._cells else None,
            "count": self._count,
            "weights": list(self._weights),
            "total": None if self._total is None else (self._total.value, self._total.weight),
            "numbers": self._numbers,
            "last": last.detach().clone() if isinstance(last, Tensor) else last,
            "graph": [(value.detach().clone(), weight) for value, weight in self._graph],
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take back what `state_dict` returned."""
        self.reset()
        if state["cells"] is not None:
            cells = state["cells"].to(device)
            self._allocate(cells[0])
            for cell, value in zip(self._cells, cells, strict=False):  # as many as were filled
                cell.copy_(value)
        self._count = state["count"]
        self._weights = list(state["weights"])
        if state["total"] is not None:
            value, weight = state["total"]
            self._total = Totals(value.to(device), weight, self.options.reduction)
        numbers = state["numbers"]
        self._numbers = None if numbers is None else (numbers[0], numbers[1])
        self._graph = [(value.to(device), weight) for value, weight in state["graph"]]
        last = state["last"]
        self._last = last.to(device) if isinstance(last, Tensor) else last
