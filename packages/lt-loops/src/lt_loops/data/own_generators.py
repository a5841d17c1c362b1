"""The random generators that loaders, samplers and data sets keep for themselves.

The global generators are kept by whoever writes a checkpoint; these would be forgotten, and with them the order of the
samples. They are found as attributes, and their states are taken as plain numbers and tensors.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any

import torch

from lt_core.rank_zero import PossibleUserWarning, rank_zero_warn
from lt_loops.data.samplers import samplers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["OwnGenerators"]


class OwnGenerators:
    """Finds the generators of loaders and takes and restores their states.

    Looked at are the attributes of each loader, its sampler, its batch sampler, that one's sampler, and its data set:
    those that are a `torch.Generator`, a `random.Random` or a `numpy.random.Generator`. A sampler with ``state_dict``
    and ``load_state_dict`` is asked for its state, too.

    Args:
        loaders: Any iterables.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> loader = DataLoader([1, 2, 3], shuffle=True, generator=torch.Generator().manual_seed(1))
        >>> own = OwnGenerators([loader])
        >>> states = own.states()
        >>> first = [batch.item() for batch in loader]
        >>> own.restore(states)
        >>> first == [batch.item() for batch in loader]
        True
    """

    def __init__(self, loaders: Iterable[Any]) -> None:
        holders = list(_distinct(holder for loader in loaders for holder in _holders(loader)))
        generators = _distinct(value for holder in holders for value in getattr(holder, "__dict__", {}).values())
        self._generators = [value for value in generators if _is_generator(value)]
        self._stateful = [holder for holder in holders if _keeps_state(holder)]

    def states(self) -> list[Any]:
        """Return the states, in an order that depends on the loaders only."""
        return [_state(generator) for generator in self._generators] + [item.state_dict() for item in self._stateful]

    def restore(self, states: Sequence[Any]) -> None:
        """Put the generators back to what `states` returned for loaders that are built alike."""
        owners = [*self._generators, *self._stateful]
        if len(owners) != len(states):
            rank_zero_warn(
                f"The checkpoint holds the states of {len(states)} random generators of the data loader and its"
                f" sampler, and there are {len(owners)} now: they are left as they are, so the samples come in another"
                " order. Resume with a loader that is built as it was then.",
                category=PossibleUserWarning,
            )
            return
        for owner, state in zip(owners, states, strict=True):
            _restore(owner, state)


def _holders(loader: Any) -> Iterator[Any]:
    yield loader
    yield from samplers_of(loader)
    yield getattr(loader, "dataset", None)


def _distinct(things: Iterable[Any]) -> Iterator[Any]:
    seen: set[int] = set()
    for thing in things:
        if thing is not None and id(thing) not in seen:
            seen.add(id(thing))
            yield thing


def _keeps_state(holder: Any) -> bool:
    # Loaders with a state are resumed through it, and data sets are read: samplers remain.
    is_sampler = isinstance(holder, torch.utils.data.Sampler)
    return is_sampler and all(callable(getattr(holder, name, None)) for name in ("state_dict", "load_state_dict"))


def _is_numpy_generator(value: Any) -> bool:
    numpy = sys.modules.get("numpy")  # whoever has such a generator has imported NumPy
    return numpy is not None and isinstance(value, numpy.random.Generator)


def _is_generator(value: Any) -> bool:
    if isinstance(value, random.SystemRandom):
        return False  # it has no state
    return isinstance(value, (torch.Generator, random.Random)) or _is_numpy_generator(value)


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        version, internal, gauss_next = generator.getstate()
        return [version, list(internal), gauss_next]
    return _plain(generator.bit_generator.state)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    to_list = getattr(value, "tolist", None)  # arrays and numbers of NumPy
    return value if to_list is None else to_list()


def _restore(owner: Any, state: Any) -> None:
    if isinstance(owner, torch.Generator):
        owner.set_state(state.cpu())
    elif isinstance(owner, random.Random):
        version, internal, gauss_next = state
        owner.setstate((version, tuple(internal), gauss_next))
    elif _is_numpy_generator(owner):
        owner.bit_generator.state = state
    else:
        owner.load_state_dict(state)
