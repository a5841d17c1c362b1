"""The values of logged keys over all ranks: exchanged at few points of the loop, and kept for whoever reads.

Reading never talks to other ranks, so a rank may read what and when it likes. Talking is left to the points at which
all ranks pass: the end of the steps of an epoch, its last hook, and a row that goes to the loggers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lt_core.log.exchange import NOTHING, Entry, Exchange, Key, Pair, Shared, agree, combine
from lt_core.log.metric_slot import MetricSlot
from lt_core.log.metric_states import lend_list_states
from lt_core.log.options import LogOptions
from lt_core.log.reading import read_scalars
from lt_core.log.slot import Slot

if TYPE_CHECKING:
    from lt_core.log.slot import Totals

__all__ = ["RankValues"]

Book = dict[Key, "Slot | MetricSlot"]
_NOTES = 3


class RankValues:
    """What all ranks know together of the books of one sink.

    Attributes:
        epoch: The values over ranks that were exchanged last, by key.
        step: The step values over ranks, while a row is being made of them.
        wants_steps: Whether any rank has step values to combine; None while nobody was asked in this epoch.
        late: Whether the hook that ends the epoch is still to be exchanged.
    """

    __slots__ = ("_foreign", "_schemas", "epoch", "late", "step", "wants_steps")

    def __init__(self) -> None:
        self.epoch: dict[Key, Tensor] = {}
        self.step: dict[Key, Tensor] = {}
        self.wants_steps: bool | None = None
        self.late = False
        self._schemas: dict[str, dict[Key, Shared]] = {}
        self._foreign: set[int] = set()

    def begin_epoch(self) -> None:
        """Forget the values of the last epoch; what the ranks know of each other's keys stays."""
        self.epoch.clear()
        self.step.clear()
        self.wants_steps = None
        self.late = False

    def clear(self) -> None:
        """Forget everything, as at the beginning of a run."""
        self.begin_epoch()
        self._schemas.clear()
        self._foreign.clear()

    def exchange_epoch(
        self,
        exchange: Exchange,
        point: str,
        book: Book,
        module: nn.Module,
        device: torch.device,
        chosen: Callable[[Key], bool],
        notes: tuple[bool, bool] = (False, False),
    ) -> list[bool]:
        """Combine the epoch's values of the keys that ``chosen`` takes.

        Args:
            exchange: Talks to the other ranks.
            point: The name of this point, which has a schema of its own.
            book: The open book; keys that only other ranks know are added.
            module: Where metric objects are found by their names.
            device: Where the values go.
            chosen: Tells which keys are exchanged here.
            notes: What this rank has to say to all.

        Returns:
            For each note, and for whether there are step values to combine, whether any rank has said so.
        """
        mine = {key: slot for key, slot in book.items() if slot.options.on_epoch and chosen(key)}
        totals = {
            key: found
            for key, slot in mine.items()
            if isinstance(slot, Slot) and (found := slot.totals(device)) is not None
        }
        pairs = _pairs_of(totals)
        metrics = {key: slot for key, slot in mine.items() if isinstance(slot, MetricSlot)}
        pairs.update({key: (0.0, 1.0) for key, slot in metrics.items() if slot.is_fresh})
        asks = any(_is_shared_step(slot) for slot in book.values())
        schema, rows = self._gather(exchange, point, pairs, mine, (*notes, asks))
        self._add_foreign(schema, book, module)
        values = _combined(schema, rows, exchange.rank)
        for key, value in _published(schema, values, device).items():
            own = totals.get(key)
            self.epoch[key] = value if own is None else _with_graph(own, values[key], value)
        self._compute(exchange, schema, rows, values, book)
        return [any(row[1 + index] for row in rows) for index in range(_NOTES)]

    def exchange_steps(
        self, exchange: Exchange, point: str, book: Book, module: nn.Module, device: torch.device
    ) -> None:
        """Combine the last step's values of the keys with ``sync_dist=True``, unless it is known that there are none.

        The values are in ``step`` until it is cleared.
        """
        if self.wants_steps is False:
            return
        mine: Book = {key: slot for key, slot in book.items() if _is_shared_step(slot)}
        lasts = {key: last for key, slot in mine.items() if (last := slot.last(device)) is not None}
        pairs = {key: (value, 1.0) for key, value in _read(lasts).items()}
        schema, rows = self._gather(exchange, point, pairs, mine, (False,) * _NOTES)
        self.wants_steps = bool(schema)
        self._add_foreign(schema, book, module)
        self.step = _published(schema, _combined(schema, rows, exchange.rank), device)

    def _gather(
        self, exchange: Exchange, point: str, pairs: Mapping[Key, Pair], mine: Book, notes: tuple[bool, ...]
    ) -> tuple[dict[Key, Shared], list[list[float]]]:
        """Return the schema and the rows of all ranks; the schema is agreed first, where a rank does not know it."""
        schema = self._schemas.get(point)
        if schema is not None:
            unknown = any(key not in schema for key in pairs)
            rows = exchange.gather_numbers(_row(float(unknown), notes, schema, pairs))
            if not any(row[0] for row in rows):
                return schema, rows
        entries = [_entry(exchange, key, slot) for key, slot in mine.items() if not self._is_foreign(slot)]
        schema = self._schemas[point] = agree(exchange.gather_objects(entries))
        return schema, exchange.gather_numbers(_row(0.0, notes, schema, pairs))

    def _is_foreign(self, slot: Slot | MetricSlot) -> bool:
        """Tell whether the key of a slot is known here from other ranks only."""
        return slot.raw is None and id(slot) in self._foreign

    def _add_foreign(self, schema: dict[Key, Shared], book: Book, module: nn.Module) -> None:
        for key, shared in schema.items():
            if key in book:
                continue
            options = LogOptions(sync_dist_group=None, **shared.options)  # type: ignore[arg-type]
            slot: Slot | MetricSlot = Slot(key[0], options, None, key[2])
            if shared.attribute is not None:
                metric = module.get_submodule(shared.attribute)
                slot = MetricSlot(key[0], options, None, key[2], metric, shared.attribute)
            book[key] = slot
            self._foreign.add(id(slot))

    def _compute(
        self,
        exchange: Exchange,
        schema: dict[Key, Shared],
        rows: list[list[float]],
        values: dict[Key, Pair | None],
        book: Book,
    ) -> None:
        """Compute metric objects, which is a collective for each, in the order that all ranks have."""
        logged = [key for key, shared in schema.items() if shared.attribute is not None and values[key] is not None]
        if not logged:
            return
        slots = {key: slot for key in logged if isinstance(slot := book[key], MetricSlot)}
        positions = {key: index for index, key in enumerate(schema)}
        # All ranks have the same rows, so they take this branch together.
        unused = [key for key in logged if any(_pair(row, positions[key])[1] < 0 for row in rows)]
        lent = lend_list_states(exchange, {key: slots[key].metric for key in unused}) if unused else []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*was called before the ``update`` method.*")
            for key in logged:
                self.epoch[key] = slots[key].value_over_ranks()
        for give_back in lent:
            give_back()


def _is_shared_step(slot: Slot | MetricSlot) -> bool:
    return isinstance(slot, Slot) and slot.options.on_step and slot.options.sync_dist


def _read(values: dict[Key, Tensor]) -> dict[Key, float]:
    """Read values of keys in one copy."""
    keys = list(values)
    numbers = read_scalars({str(index): values[key] for index, key in enumerate(keys)})
    return {key: numbers[str(index)] for index, key in enumerate(keys)}


def _pairs_of(totals: dict[Key, Totals]) -> dict[Key, Pair]:
    numbers = _read({key: each.value for key, each in totals.items()})
    return {key: (number, float(totals[key].weight)) for key, number in numbers.items()}


def _row(unknown: float, notes: tuple[bool, ...], schema: dict[Key, Shared], pairs: Mapping[Key, Pair]) -> list[float]:
    row = [unknown, *map(float, notes)]
    for key in schema:
        row += pairs.get(key, NOTHING)
    return row


def _pair(row: list[float], index: int) -> Pair:
    start = 1 + _NOTES + 2 * index
    return row[start], row[start + 1]


def _entry(exchange: Exchange, key: Key, slot: Slot | MetricSlot) -> Entry:
    group = slot.options.sync_dist_group
    wide = isinstance(slot, Slot) and slot.dtype == torch.float64
    return Entry(
        key=key,
        options=slot.options.to_dict(),
        members=None if group is None else exchange.members(group),
        attribute=slot.attribute if isinstance(slot, MetricSlot) else None,
        dtype="float64" if wide else "float32",
    )


def _combined(schema: dict[Key, Shared], rows: list[list[float]], rank: int) -> dict[Key, Pair | None]:
    return {
        key: combine(shared, [_pair(row, index) for row in rows], rank)
        for index, (key, shared) in enumerate(schema.items())
    }


def _published(schema: dict[Key, Shared], values: dict[Key, Pair | None], device: torch.device) -> dict[Key, Tensor]:
    """Return the results of plain values as scalar tensors ``[]`` on the device, brought there in one copy."""
    results = {
        key: _result(pair, schema[key].reduction)
        for key, pair in values.items()
        if pair is not None and schema[key].attribute is None
    }
    wide = torch.float32 if device.type == "mps" else torch.float64
    there = torch.tensor(list(results.values()), dtype=wide).to(device)
    return {key: there[index].to(getattr(torch, schema[key].dtype)) for index, key in enumerate(results)}


def _result(pair: Pair, reduction: str) -> float:
    value, weight = pair
    if reduction != "mean":
        return value
    return value / weight if weight else math.nan


def _with_graph(own: Totals, pair: Pair | None, value: Tensor) -> Tensor:
    """Return ``value`` with the graph of this rank's own part in it, where there is one."""
    if pair is None or not own.value.requires_grad:
        return value
    part = own.value / pair[1] if own.reduction == "mean" else own.value
    if own.reduction in ("min", "max") and float(part) != float(value):
        return value  # the extreme value is another rank's
    return value + (part - part.detach()).to(value.dtype)
