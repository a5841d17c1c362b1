"""Several loaders read as one: in turn, or side by side until the shortest or the longest ends.

The loops read every set of loaders through a :class:`CombinedLoader`, so that one loop serves a single loader, a list
and any nesting of them. What depends on the nesting is worked out once, when the collection is given; what is left
for each batch is the ``next`` of the loaders themselves and, for a collection, one call that puts the batches back into
its shape.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from lt_core.errors import (
    CheckpointError,
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    did_you_mean,
)

__all__ = ["CombinedLoader"]

_Item: TypeAlias = "tuple[Any, int, int]"
_Build: TypeAlias = Callable[[Sequence[Any]], Any]
_Number: TypeAlias = "int | float"
_Mode: TypeAlias = Literal["min_size", "max_size_cycle", "max_size", "sequential"]


class CombinedLoader(Iterable[Any]):
    """Iterate over a collection of iterables at once.

    Each item is ``(batch, batch_idx, iterable_idx)``. In the mode ``"sequential"``, ``batch`` comes from one iterable,
    ``batch_idx`` counts within it and ``iterable_idx`` tells which one it is. In the other modes ``batch`` has the
    shape of the collection, ``batch_idx`` counts the items and ``iterable_idx`` is 0.

    Args:
        iterables: One iterable, or lists, tuples, mappings and deques of them, nested as you like. A list or tuple
            that holds nothing but numbers and strings is itself an iterable of batches, not a collection.
        mode: How the iterables are combined:

            * ``"min_size"`` (default): side by side, until the first of them ends.
            * ``"max_size_cycle"``: side by side, until each of them has ended once; one that ends earlier is started
              again (a shuffling loader then shuffles anew).
            * ``"max_size"``: side by side, until all have ended; None stands for the batch of one that has ended.
            * ``"sequential"``: one after the other, each started only when its turn comes.

    Raises:
        MisconfigurationValueError: The mode is unknown (a ``ValueError``).
        MisconfigurationTypeError: Something in the collection cannot be iterated over (a ``TypeError``).

    Example:
        >>> loader = CombinedLoader({"a": [1, 2, 3], "b": [10, 20]}, "max_size_cycle")
        >>> for batch, batch_idx, iterable_idx in loader:
        ...     print(batch, batch_idx, iterable_idx)
        {'a': 1, 'b': 10} 0 0
        {'a': 2, 'b': 20} 1 0
        {'a': 3, 'b': 10} 2 0
        >>> len(loader)
        3
        >>> list(CombinedLoader([[1, 2], [10]], "sequential"))
        [(1, 0, 0), (2, 1, 0), (10, 0, 1)]
    """

    def __init__(self, iterables: Any, mode: _Mode = "min_size") -> None:
        if mode not in _MODES:
            raise MisconfigurationValueError(
                f"CombinedLoader got mode={mode!r}. It must be one of {sorted(_MODES)}."
                + did_you_mean(str(mode), _MODES)
            )
        self._mode: _Mode = mode
        self._iterables: Any = iterables
        self._flattened: list[Any] = []
        self._build: _Build = _flatten(iterables, self._flattened)
        self._limits: list[_Number] | None = None
        self._iterator: Generator[_Item, None, None] | None = None
        _check_iterable(self._flattened)

    @property
    def mode(self) -> str:
        """How the iterables are combined."""
        return self._mode

    @property
    def iterables(self) -> Any:
        """The collection as it was given."""
        return self._iterables

    @property
    def flattened(self) -> list[Any]:
        """The iterables as a flat list, in the order of the collection. It may be set to a list of the same length."""
        return self._flattened

    @flattened.setter
    def flattened(self, flattened: list[Any]) -> None:
        if len(flattened) != len(self._flattened):
            raise MisconfigurationValueError(
                f"CombinedLoader.flattened was set to {len(flattened)} iterables, but the collection has"
                f" {len(self._flattened)}. Set a list of the same length."
            )
        _check_iterable(flattened)
        self._flattened = list(flattened)
        self._iterables = self._build(self._flattened)

    @property
    def sampler(self) -> Any:
        """The ``sampler`` of each iterable (None where it has none), in the shape of the collection."""
        return self._build([getattr(iterable, "sampler", None) for iterable in self._flattened])

    @property
    def batch_sampler(self) -> Any:
        """The ``batch_sampler`` of each iterable (None where it has none), in the shape of the collection."""
        return self._build([getattr(iterable, "batch_sampler", None) for iterable in self._flattened])

    @property
    def limits(self) -> list[_Number] | None:
        """The most batches to take from each iterable (None: no limit).

        It may be set to a number, which then holds for each iterable, or to a list with one number for each. Numbers
        are counts of batches from 0; ``float("inf")`` means all. It takes effect with the next ``iter``.
        """
        return self._limits

    @limits.setter
    def limits(self, limits: _Number | Sequence[_Number] | None) -> None:
        if limits is None:
            self._limits = None
            return
        values = [limits] * len(self._flattened) if isinstance(limits, (int, float)) else list(limits)
        if len(values) != len(self._flattened):
            raise MisconfigurationValueError(
                f"CombinedLoader.limits was set to {len(values)} limits, but the collection has"
                f" {len(self._flattened)} iterables. Give one number for all, or one for each."
            )
        for value in values:
            if not (isinstance(value, int) or value == math.inf or (isinstance(value, float) and value.is_integer())):
                raise MisconfigurationValueError(
                    f"CombinedLoader.limits got {value!r}. A limit is a whole number of batches or float('inf')."
                    " Multiply a fraction by the iterable's length first."
                )
            if value < 0:
                raise MisconfigurationValueError(
                    f"CombinedLoader.limits got {value!r}. A limit is 0 or more. Write None to have no limits."
                )
        self._limits = values

    @property
    def num_batches(self) -> _Number:
        """How many items an iteration yields; ``float("inf")`` when an iterable that decides has no length."""
        return _MODES[self._mode].length([_length(iterable) for iterable in self._flattened], self._limits)

    def __len__(self) -> int:
        """Return how many items an iteration yields.

        Raises:
            RuntimeError: Before the first ``iter`` (iterables may be replaced until then).
            TypeError: No length can be told. ``num_batches`` is then ``float("inf")``.
        """
        if self._iterator is None:
            raise RuntimeError(
                "len() was called on a CombinedLoader that is not started. Its length is known from iter() on."
                " Call iter(combined_loader) first, or read combined_loader.num_batches."
            )
        length = self.num_batches
        if length == math.inf:
            raise MisconfigurationTypeError(
                "len() was called on a CombinedLoader of iterables without length. A length needs `__len__` on each"
                " of them. Read combined_loader.num_batches instead, which is then float('inf')."
            )
        return int(length)

    def __iter__(self) -> Iterator[_Item]:
        """Start from the beginning. An iteration that was under way is ended."""
        if self._iterator is not None:
            self._iterator.close()
        limits = self._limits or [math.inf] * len(self._flattened)
        # A lone iterable is what nearly all runs have, and all modes read it alike.
        iterate = _iterate_sequential if self._build is _only else _MODES[self._mode].iterate
        self._iterator = iterate(self._flattened, limits, self._build)
        return self._iterator

    def __next__(self) -> _Item:
        """Return the next item of the iteration that ``iter`` started last."""
        if self._iterator is None:
            raise RuntimeError(
                "next() was called on a CombinedLoader that is not started. It needs an iteration."
                " Call iter(combined_loader) first."
            )
        return next(self._iterator)

    def __getstate__(self) -> dict[str, Any]:
        # Positions within iterators cannot be pickled; a copy starts anew.
        return {"iterables": self._iterables, "mode": self._mode, "limits": self._limits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._mode = state["mode"]
        self._iterables = state["iterables"]
        self._flattened = []
        self._build = _flatten(self._iterables, self._flattened)
        self._limits = state["limits"]
        self._iterator = None

    def reset(self) -> None:
        """End the iteration and shut down the worker processes of the loaders."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None
        for iterable in self._flattened:
            _shutdown_workers(iterable)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the states of the iterables that keep one (``state_dict`` and ``load_state_dict``), in flat order."""
        return [iterable.state_dict() for iterable in self._stateful()]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        """Hand the states back to the iterables that keep one. An empty list changes nothing.

        Args:
            states: What :meth:`state_dict` returned for the same collection.

        Raises:
            CheckpointError: The number of states is not the number of iterables that keep one.
        """
        if not states:
            return
        stateful = self._stateful()
        if len(stateful) != len(states):
            raise CheckpointError(
                f"The checkpoint holds the states of {len(states)} data loaders, but {len(stateful)} of the"
                f" {len(self._flattened)} loaders given now keep a state. Resume with the loaders that were used when"
                " the checkpoint was saved."
            )
        for iterable, state in zip(stateful, states, strict=True):
            iterable.load_state_dict(state)

    def _stateful(self) -> list[Any]:
        names = ("state_dict", "load_state_dict")
        return [item for item in self._flattened if all(callable(getattr(item, name, None)) for name in names)]


def _iterate_min_size(iterables: list[Any], limits: list[_Number], build: _Build) -> Generator[_Item, None, None]:
    together = zip(*(iter(iterable) for iterable in iterables), strict=False)
    for index, batches in enumerate(itertools.islice(together, _stop(min(limits, default=0)))):
        yield build(batches), index, 0


def _iterate_max_size(iterables: list[Any], limits: list[_Number], build: _Build) -> Generator[_Item, None, None]:
    pairs = zip(iterables, limits, strict=True)
    limited = [itertools.islice(iter(iterable), _stop(limit)) for iterable, limit in pairs]
    ended = object()
    for index, batches in enumerate(itertools.zip_longest(*limited, fillvalue=ended)):
        yield build([None if batch is ended else batch for batch in batches]), index, 0


def _iterate_max_size_cycle(iterables: list[Any], limits: list[_Number], build: _Build) -> Generator[_Item, None, None]:
    iterators = [iter(iterable) for iterable in iterables]
    running = set(range(len(iterables)))  # those that have not ended once
    limited = [(position, limit) for position, limit in enumerate(limits) if limit != math.inf]
    ended = object()
    for index in itertools.count():
        if limited:
            running.difference_update(position for position, limit in limited if index >= limit)
        if not running:
            return
        batches = [next(iterator, ended) for iterator in iterators]
        again = [position for position, batch in enumerate(batches) if batch is ended]
        running.difference_update(again)
        # Nothing is started again for the sake of an item that will not come: that would cost workers and random
        # numbers at the end of each epoch.
        if not running:
            return
        for position in again:
            iterators[position] = iter(iterables[position])
            batches[position] = next(iterators[position], ended)
            if batches[position] is ended:
                raise _cannot_cycle(iterables[position], position)
        yield build(batches), index, 0


def _iterate_sequential(iterables: list[Any], limits: list[_Number], _: _Build) -> Generator[_Item, None, None]:
    for position, (iterable, limit) in enumerate(zip(iterables, limits, strict=True)):
        if limit == 0:
            continue
        for index, batch in enumerate(itertools.islice(iter(iterable), _stop(limit))):
            yield batch, index, position


class _ModeRule:
    """How one mode iterates, and how long that takes."""

    def __init__(
        self,
        iterate: Callable[[list[Any], list[_Number], _Build], Generator[_Item, None, None]],
        combine: Callable[[list[_Number]], _Number],
    ) -> None:
        self.iterate = iterate
        self._combine = combine

    def length(self, lengths: list[_Number], limits: list[_Number] | None) -> _Number:
        if limits is not None:
            lengths = [min(length, limit) for length, limit in zip(lengths, limits, strict=True)]
        return self._combine(lengths)


_MODES: dict[str, _ModeRule] = {
    "min_size": _ModeRule(_iterate_min_size, lambda lengths: min(lengths, default=0)),
    "max_size_cycle": _ModeRule(_iterate_max_size_cycle, lambda lengths: max(lengths, default=0)),
    "max_size": _ModeRule(_iterate_max_size, lambda lengths: max(lengths, default=0)),
    "sequential": _ModeRule(_iterate_sequential, sum),
}


def _flatten(tree: Any, leaves: list[Any]) -> _Build:
    """Append the iterables of a collection to ``leaves``; return what puts as many batches into the same shape."""
    children = _children(tree)
    if children is None:
        leaves.append(tree)
        return _only
    before = len(leaves)
    parts: list[tuple[int, int, _Build]] = []
    for child in children:
        start = len(leaves) - before
        build = _flatten(child, leaves)
        parts.append((start, len(leaves) - before, build))
    pack = _packer(tree)
    if all(build is _only for _, _, build in parts):
        return pack
    return lambda batches: pack([build(batches[start:stop]) for start, stop, build in parts])


def _only(batches: Sequence[Any]) -> Any:
    return batches[0]


def _children(tree: Any) -> list[Any] | None:
    """Return the members of a collection, or None when ``tree`` is itself an iterable of batches."""
    if isinstance(tree, Mapping):
        members = list(tree.values())
    elif isinstance(tree, (list, tuple, deque)):
        members = list(tree)
    else:
        return None
    return None if all(isinstance(member, (int, float, str)) for member in members) else members


def _packer(tree: Any) -> _Build:
    """Return what makes a collection like ``tree`` of as many batches as it has members."""
    if isinstance(tree, Mapping):
        keys = tuple(tree)
        return lambda batches: dict(zip(keys, batches, strict=True))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return lambda batches: type(tree)(*batches)
    if isinstance(tree, tuple):
        return tuple
    return deque if isinstance(tree, deque) else list


def _check_iterable(flattened: Sequence[Any]) -> None:
    for position, iterable in enumerate(flattened):
        if not (hasattr(iterable, "__iter__") or hasattr(iterable, "__getitem__")):
            raise MisconfigurationTypeError(
                f"CombinedLoader got {iterable!r} (iterable {position}), which cannot be iterated over. Each member is"
                " a DataLoader or another iterable of batches. Remove it, or wrap the data set in a DataLoader."
            )


def _length(iterable: Any) -> _Number:
    try:
        return len(iterable)
    except (TypeError, NotImplementedError):
        return math.inf


def _stop(limit: _Number) -> int | None:
    return None if limit == math.inf else int(limit)


def _cannot_cycle(iterable: Any, position: int) -> MisconfigurationException:
    return MisconfigurationException(
        f"Iterable {position} of a CombinedLoader with mode='max_size_cycle' ({type(iterable).__name__}) gave no batch"
        " when it was started again. A shorter iterable is cycled, so it must give batches each time iter() is called."
        " Pass a non-empty DataLoader or list instead of an exhausted generator, or use mode='min_size' or 'max_size'."
    )


def _shutdown_workers(iterable: Any) -> None:
    # torch has no public way to stop the persistent workers of a DataLoader, which outlive its iterators.
    iterator = getattr(iterable, "_iterator", None)
    if iterator is None:
        return
    shutdown = getattr(iterator, "_shutdown_workers", None)
    if shutdown is not None:
        shutdown()
    iterable._iterator = None  # noqa: SLF001 - see above
