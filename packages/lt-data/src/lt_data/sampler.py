"""A sampler that knows where it is: its order follows from seed and epoch, and it goes on at any position at once."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch.utils.data import Sampler

from lt_core.errors import CheckpointError, MisconfigurationException, MisconfigurationTypeError
from lt_data.order import checked_seed, shuffled

__all__ = ["ResumableSampler"]


class ResumableSampler(Sampler[int]):
    """Gives each row once, in an order that depends on seed and epoch alone.

    Iterating again begins the next epoch, unless :meth:`set_epoch` says which. To resume, hand :meth:`load_state_dict`
    what :meth:`state_dict` returned: the next iteration goes on after the samples that were given, without going
    through them.

    With workers a ``DataLoader`` asks for samples before they are used; :class:`~lt_data.ResumableDataLoader` counts
    the batches that were handed out instead.

    Args:
        data: What the samples are of: anything with a length, which is looked at in each epoch.
        shuffle: Whether to shuffle, anew in each epoch; True by default.
        seed: From 0; 0 by default.

    Attributes:
        epoch: The epoch that is under way, or else comes next; from 0.

    Raises:
        MisconfigurationTypeError: The data have no length.
        MisconfigurationValueError: The seed is no whole number.

    Example:
        >>> sampler = ResumableSampler(range(4), seed=1)
        >>> first, second = list(sampler), list(sampler)
        >>> passed = iter(sampler)
        >>> begun = [next(passed), next(passed)]
        >>> again = ResumableSampler(range(4), seed=1)
        >>> again.load_state_dict(sampler.state_dict())
        >>> list(again) == list(passed)
        True
    """

    epoch: int = 0

    def __init__(self, data: Sized, *, shuffle: bool = True, seed: int = 0) -> None:
        self._data = data
        self._size = sized(data, "ResumableSampler")
        self.shuffle = shuffle
        self.seed = checked_seed(seed, "ResumableSampler")
        self.epoch = 0
        self._position = 0
        self._starts_at = 0
        self._has_begun = False

    def __len__(self) -> int:
        """Return the number of samples of a whole epoch."""
        return self._size

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next.

        Args:
            epoch: From 0. A position that was loaded for another epoch is given up.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self._position = self._starts_at = 0
        self._has_begun = False

    def order(self) -> torch.Tensor:
        """Return the rows of the present epoch in their order."""
        return shuffled(self._size, self.seed, self.epoch) if self.shuffle else torch.arange(self._size)

    def __iter__(self) -> Iterator[int]:
        """Begin an epoch, or go on with the one that was loaded.

        Raises:
            MisconfigurationException: The data have another length than at first.
        """
        check_size(self._data, self._size, "ResumableSampler")
        if self._has_begun:
            self.epoch += 1
        self._has_begun = True
        start, self._starts_at = self._starts_at, 0
        self._position = start
        return self._rows(self.order()[start:])

    def _rows(self, order: torch.Tensor) -> Iterator[int]:
        for row in order.tolist():
            self._position += 1
            yield row

    def state_dict(self) -> dict[str, Any]:
        """Return where the sampler is: plain numbers."""
        return {
            "epoch": self.epoch,
            "position": self._position,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "size": self._size,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration go on where another one was.

        Args:
            state_dict: What :meth:`state_dict` returned, for the same data.

        Raises:
            CheckpointError: The data, the seed or the shuffling are others.
        """
        check_alike(state_dict, {"seed": self.seed, "shuffle": self.shuffle, "size": self._size}, "ResumableSampler")
        self.epoch, position = state_dict["epoch"], state_dict["position"]
        if position >= self._size:
            self.epoch, position = self.epoch + 1, 0
        self._position = self._starts_at = position
        self._has_begun = False


def sized(data: Any, owner: str) -> int:
    """Return the length of data.

    Raises:
        MisconfigurationTypeError: They have none.
    """
    try:
        return len(data)
    except (TypeError, NotImplementedError) as error:
        raise MisconfigurationTypeError(
            f"`{owner}` got a {type(data).__name__}, which has no length. Expected map-style data, whose samples have"
            " numbers. For streams use a loader with a state of its own, such as torchdata's `StatefulDataLoader`."
        ) from error


def check_size(data: Any, size: int, owner: str) -> None:
    """Check that data still have the length that they had.

    Raises:
        MisconfigurationException: They have not.
    """
    now = sized(data, owner)
    if now != size:
        raise MisconfigurationException(
            f"The data of a `{owner}` had {size} samples and have {now} now. Expected one length for all epochs, since"
            " the order and the position count on it. Make a new loader for the changed data, for example with"
            " `reload_dataloaders_every_n_epochs=1`."
        )


def check_alike(state: dict[str, Any], own: dict[str, Any], owner: str) -> None:
    """Check that a state was saved by somebody built alike.

    Args:
        state: What is to be loaded.
        own: What must be equal in it.
        owner: Who loads it, for the message.

    Raises:
        CheckpointError: Something differs or is missing.
    """
    for name, value in own.items():
        if name not in state or state[name] != value:
            raise CheckpointError(
                f"The state of a `{owner}` was saved with {name}={state.get(name, 'nothing')!r}, and it has"
                f" {name}={value!r} now. Expected the same, since the order depends on it. Resume with the data and"
                " arguments of the interrupted run."
            )
