"""Takes the states of the global random generators in their own form, in microseconds.

The form that a checkpoint can hold takes some hundred times as long to make, and is wanted only when one is written:
an epoch's start is recorded each time, a stream of unknown length before each batch.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import torch

from lt_core.seed import collect_random_states, isolate_rng

__all__ = ["RawStates"]


class RawStates:
    """The states of the global generators of Python, NumPy and torch's CPU, as they were when this was made.

    Example:
        >>> from lt_core.seed import restore_random_states
        >>> states = RawStates()
        >>> first = random.random(), torch.rand(1)
        >>> restore_random_states(states.plain())
        >>> (random.random(), torch.rand(1)) == first
        True
    """

    __slots__ = ("_numpy", "_python", "_torch")

    def __init__(self) -> None:
        self._python = random.getstate()
        self._torch = torch.get_rng_state()
        self._numpy = _numpy_random()
        if self._numpy is not None:
            self._numpy = self._numpy.get_state()

    def plain(self) -> dict[str, Any]:
        """Return the states as `lt_core.seed.collect_random_states` would have; nothing is drawn or changed."""
        with isolate_rng(include_cuda=False):
            random.setstate(self._python)
            torch.set_rng_state(self._torch)
            if self._numpy is not None:
                _numpy_random().set_state(self._numpy)
            return collect_random_states(include_cuda=False)


def _numpy_random() -> Any:
    numpy = sys.modules.get("numpy")  # while nobody has imported it, nobody draws from it
    return None if numpy is None else numpy.random
