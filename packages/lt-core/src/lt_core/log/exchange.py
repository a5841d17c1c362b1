"""How logged values of several ranks become one, as a function of what each rank holds.

A value moves as a pair (value, weight): a weighted sum and the sum of its weights for means, else the value and how
many made it. Pairs are combined in the order of ranks and in double precision, so all ranks hold the same bits.

What moves in the steady state is one row of numbers per rank, laid out by a schema that all ranks remember in the same
order. The schema is agreed by exchanging descriptions (`Entry`), and agreed anew when a rank has a key that is not in
it. A key that only some ranks logged gets the value over those ranks, and is known on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lt_core.errors import MisconfigurationException

__all__ = ["NOTHING", "Entry", "Exchange", "Key", "Pair", "Shared", "agree", "combine"]

Key = tuple[str, "str | None", "int | None"]
Pair = tuple[float, float]

NOTHING: Pair = (0.0, -1.0)
"""The pair of a rank that has logged nothing under a key; a weight of 0 is one that was logged."""


class Exchange(Protocol):
    """What a distributed strategy plugs into `LogSink.exchange`; each method is a collective except `members`."""

    @property
    def rank(self) -> int:
        """The number of this process among all."""

    @property
    def world_size(self) -> int:
        """How many processes there are."""

    def gather_numbers(self, numbers: Sequence[float]) -> list[list[float]]:
        """Return the rows of all ranks, in their order; the rows are equally long."""

    def gather_objects(self, obj: Any) -> list[Any]:
        """Return the objects of all ranks, in their order; they are pickled."""

    def members(self, group: Any) -> tuple[int, ...]:
        """Return the ranks of a process group."""


@dataclass(frozen=True)
class Entry:
    """How one rank describes a key to the others.

    Attributes:
        key: The name, the hook and the evaluation loader.
        options: The resolved options, as `LogOptions.to_dict` gives them.
        members: The ranks of ``sync_dist_group``, None for all.
        attribute: The name of the metric object, None for plain values.
        dtype: The name of the type in which the value is published.
    """

    key: Key
    options: dict[str, bool | str]
    members: tuple[int, ...] | None
    attribute: str | None
    dtype: str


@dataclass(frozen=True)
class Shared:
    """What all ranks know of a key.

    Attributes:
        key: The name, the hook and the evaluation loader.
        options: The resolved options.
        attribute: The name of the metric object, None for plain values.
        dtype: The widest type of those that ranks publish.
        members: The ranks with which each rank combines.
    """

    key: Key
    options: dict[str, bool | str]
    attribute: str | None
    dtype: str
    members: tuple[tuple[int, ...], ...]

    @property
    def reduction(self) -> str:
        """How values are combined."""
        return str(self.options["reduction"])


def agree(described: Sequence[Sequence[Entry]]) -> dict[Key, Shared]:
    """Unite what the ranks describe, in the order of ranks.

    Args:
        described: The entries of each rank.

    Returns:
        The keys in the same order on every rank.

    Raises:
        MisconfigurationException: Ranks logged a key with different arguments; raised on every rank alike.

    Example:
        >>> options = {"reduction": "mean"}
        >>> mine = Entry(("a", "training_step", None), options, None, None, "float32")
        >>> other = Entry(("b", "training_step", None), options, None, None, "float32")
        >>> [key[0] for key in agree([[mine], [other, mine]])]
        ['a', 'b']
    """
    found: dict[Key, dict[int, Entry]] = {}
    for rank, entries in enumerate(described):
        for entry in entries:
            found.setdefault(entry.key, {})[rank] = entry
    return {key: _unite(by_rank, len(described)) for key, by_rank in found.items()}


def _unite(by_rank: dict[int, Entry], world_size: int) -> Shared:
    first_rank, first = next(iter(by_rank.items()))
    for rank, entry in by_rank.items():
        if entry.options != first.options or entry.attribute != first.attribute:
            raise MisconfigurationException(_conflict(first_rank, first, rank, entry))
    everybody = tuple(range(world_size))
    given = {rank: everybody if entry.members is None else entry.members for rank, entry in by_rank.items()}
    members = []
    for rank in everybody:
        containing = (group for group in given.values() if rank in group)
        members.append(given.get(rank) or next(containing, given[first_rank]))
    dtype = "float64" if any(entry.dtype == "float64" for entry in by_rank.values()) else first.dtype
    return Shared(first.key, first.options, first.attribute, dtype, tuple(members))


def _conflict(first_rank: int, first: Entry, rank: int, entry: Entry) -> str:
    name, hook, _ = first.key
    ours, theirs = ({**each.options, "metric": each.attribute} for each in (first, entry))
    different = [option for option in ours if ours[option] != theirs.get(option)]
    said = [", ".join(f"{option}={each.get(option)!r}" for option in different) for each in (ours, theirs)]
    return (
        f"`self.log({name!r}, …)` was called in `{hook}` with different arguments on different ranks: {said[0]} on "
        f"rank {first_rank} and {said[1]} on rank {rank}. Expected the same on all ranks, or their values cannot be "
        "combined: use one set of arguments, or another key."
    )


def combine(shared: Shared, pairs: Sequence[Pair], rank: int) -> Pair | None:
    """Combine the pairs of the ranks that logged a key.

    Args:
        shared: The key.
        pairs: The pair of each rank, `NOTHING` for those that logged nothing.
        rank: Whose value is asked for; ranks combine with the members of their group only.

    Returns:
        The pair over these ranks, None where none of them has logged.

    Example:
        >>> entry = Entry(("a", "validation_step", None), {"reduction": "mean"}, None, None, "float32")
        >>> shared = agree([[entry], [entry]])[entry.key]
        >>> combine(shared, [(6.0, 3.0), (4.0, 1.0)], 0)
        (10.0, 4.0)
        >>> combine(shared, [(6.0, 3.0), NOTHING], 1)
        (6.0, 3.0)
    """
    reduction = shared.reduction
    total: Pair | None = None
    for member in shared.members[rank]:
        value, weight = pairs[member]
        if weight < 0:
            continue
        total = (value, weight) if total is None else (_reduce(reduction, total[0], value), total[1] + weight)
    return total


def _reduce(reduction: str, one: float, other: float) -> float:
    if reduction in ("mean", "sum"):
        return one + other
    if math.isnan(one) or math.isnan(other):
        return math.nan
    return min(one, other) if reduction == "min" else max(one, other)
