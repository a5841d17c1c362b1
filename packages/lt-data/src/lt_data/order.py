"""The order of samples as a function of seed and epoch alone.

What a process has drawn before, how many workers read and where a run was interrupted make no difference to it.
"""

from __future__ import annotations

import torch

from lt_core.errors import MisconfigurationValueError
from lt_core.whole_number import as_whole

__all__ = ["checked_seed", "mixed_seed", "shuffled"]

_MASK64 = (1 << 64) - 1


def mixed_seed(*numbers: int) -> int:
    """Return a seed of 63 bits that depends on each of the numbers and on their order.

    Args:
        numbers: For example a seed, an epoch and the index of a sample.

    Example:
        >>> mixed_seed(1, 2) == mixed_seed(1, 2), mixed_seed(1, 2) == mixed_seed(2, 1)
        (True, False)
    """
    state = 0
    for number in numbers:
        # Finalizer of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
        state = ((state ^ (number & _MASK64)) + 0x9E3779B97F4A7C15) & _MASK64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK64
        state ^= state >> 31
    return state >> 1


def shuffled(size: int, seed: int, epoch: int = 0, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return the numbers from 0 to ``size - 1`` in the order that belongs to a seed and an epoch.

    Args:
        size: How many, from 0.
        seed: A whole number.
        epoch: Counted from 0.
        device: Where the numbers are drawn and stay. Kinds of devices draw differently.

    Example:
        >>> shuffled(5, seed=1).tolist() == shuffled(5, seed=1).tolist()
        True
        >>> sorted(shuffled(5, seed=1, epoch=3).tolist())
        [0, 1, 2, 3, 4]
    """
    generator = torch.Generator(device=device).manual_seed(mixed_seed(seed, epoch))
    return torch.randperm(size, generator=generator, device=device)


def checked_seed(seed: object, owner: str) -> int:
    """Return the seed as an int.

    Args:
        seed: What was received.
        owner: Who received it, for the message.

    Raises:
        MisconfigurationValueError: It is no whole number from 0 to 2**64 - 1.
    """
    number = as_whole(seed)
    if number is None or not 0 <= number <= _MASK64:
        raise MisconfigurationValueError(
            f"`{owner}` got seed={seed!r}. Expected a whole number from 0 to 2**64 - 1. Write, for example, `seed=0`."
        )
    return number
