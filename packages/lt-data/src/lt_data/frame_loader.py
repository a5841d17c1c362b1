"""A loader for tabular data that takes each batch with one gather, on the device where the data lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import Sampler

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_core.whole_number import as_whole
from lt_data.frame_dataset import FrameDataset
from lt_data.order import shuffled
from lt_data.sampler import ResumableSampler, check_alike, check_size

__all__ = ["FrameLoader"]


class FrameLoader(Iterable[Any]):
    """Yields the batches of a :class:`FrameDataset`: no worker, no collation, no Python for each row.

    A batch has the shape of a sample of the dataset, with one row for each. In order, batches are views of the data;
    shuffled, each is gathered. The order depends on seed and epoch alone. Iterating again begins the next epoch; the
    state of the loader (``state_dict``, ``load_state_dict``) goes on at any batch at once.

    Args:
        dataset: The data.
        batch_size: Samples in a batch, from 1; 256 by default.
        shuffle: Whether to shuffle, anew in each epoch; False by default.
        seed: For the shuffling, from 0; 0 by default.
        drop_last: Whether a last, smaller batch is left out; False by default.
        device: Where the data are to lie: all of them are copied there when the loader is made, and batches are made
            there. None (default): where they are.
        shuffle_on: ``"cpu"`` (default) draws the order on the host, so that it is the same on each device, and copies
            it over once an epoch; ``"device"`` draws it where the data lie, which is quicker, and another order for
            each kind of device.
        sampler: Row numbers in another order, in place of ``shuffle``; asked for anew in each epoch. None by default.

    Attributes:
        dataset: The data, on their device.
        batch_size: See above.
        sampler: What gives the order; its ``set_epoch`` says which epoch comes next.

    Raises:
        MisconfigurationTypeError: The data are no ``FrameDataset``.
        MisconfigurationValueError: A number is out of range, or ``sampler`` and ``shuffle`` are both given.

    Example:
        >>> data = FrameDataset(torch.arange(10.0).reshape(5, 2), targets=1)
        >>> [len(targets) for features, targets in FrameLoader(data, batch_size=2)]
        [2, 2, 1]
    """

    def __init__(
        self,
        dataset: FrameDataset,
        batch_size: int = 256,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        device: torch.device | str | None = None,
        shuffle_on: str = "cpu",
        sampler: Sampler[int] | None = None,
    ) -> None:
        if not isinstance(dataset, FrameDataset):
            raise MisconfigurationTypeError(
                f"`FrameLoader` got a {type(dataset).__name__}. Expected a `FrameDataset`, whose batches are gathered"
                " at once. Write `FrameLoader(FrameDataset(frame, ...))`, or use a `DataLoader`."
            )
        number = as_whole(batch_size)
        if number is None or number < 1:
            raise MisconfigurationValueError(
                f"`FrameLoader` got batch_size={batch_size!r}. Expected a whole number of at least 1. Write, for"
                " example, `batch_size=256`."
            )
        if sampler is not None and shuffle:
            raise MisconfigurationValueError(
                f"`FrameLoader` got shuffle=True and the sampler {type(sampler).__name__}. Expected one of them: the"
                " sampler makes the order. Leave `shuffle` out."
            )
        if shuffle_on not in ("cpu", "device"):
            raise MisconfigurationValueError(
                f"`FrameLoader` got shuffle_on={shuffle_on!r}. Expected 'cpu' or 'device'. Write `shuffle_on='device'`."
            )
        self.dataset = dataset if device is None else dataset.to(device)
        self.batch_size = number
        self.drop_last = drop_last
        self.sampler: Any = _Order(self.dataset, shuffle=shuffle, seed=seed) if sampler is None else sampler
        self._shuffle_on = shuffle_on
        self._batches = 0
        self._starts_at: int | None = None

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        size = len(self.sampler)
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch, or go on with the one that was loaded."""
        start, self._starts_at = self._starts_at or 0, None
        self._batches = start
        numbers, codes, targets = self.dataset.tensors()
        if isinstance(self.sampler, _Order):
            self.sampler.begin()
        parts = self._parts(start)
        if codes is None and targets is not None:
            return self._pairs(parts, numbers, targets)
        if codes is None:
            return self._features(parts, numbers)
        return self._with_codes(parts, numbers, codes, targets)

    # Each form of batch has a loop of its own, so that what is spent on a batch is its gathers and little else.

    def _pairs(self, parts: Iterable[Any], numbers: torch.Tensor, targets: torch.Tensor) -> Iterator[Any]:
        for rows in parts:
            self._batches += 1
            yield numbers[rows], targets[rows]

    def _features(self, parts: Iterable[Any], numbers: torch.Tensor) -> Iterator[Any]:
        for rows in parts:
            self._batches += 1
            yield numbers[rows]

    def _with_codes(self, parts: Iterable[Any], numbers: Any, codes: Any, targets: Any) -> Iterator[Any]:
        for rows in parts:
            self._batches += 1
            inputs = (numbers[rows], codes[rows])
            yield inputs if targets is None else (inputs, targets[rows])

    def _parts(self, start: int) -> Iterable[Any]:
        """Return the rows of each batch from the batch ``start`` on: slices or index tensors."""
        size, step = len(self.sampler), self.batch_size
        stop = len(self) * step if self.drop_last else size
        device = self.dataset.features.device
        if not isinstance(self.sampler, _Order):
            order = torch.tensor(list(self.sampler), dtype=torch.int64, device=device)
            return order[start * step : stop].split(step) if len(order) > start * step else ()
        if not self.sampler.shuffle:
            return [slice(first, min(first + step, stop)) for first in range(start * step, stop, step)]
        where = "cpu" if self._shuffle_on == "cpu" else device
        order = shuffled(size, self.sampler.seed, self.sampler.epoch, where).to(device)
        return order[start * step : stop].split(step) if stop > start * step else ()

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is, by the batches that it handed out: plain numbers and strings."""
        sampler = self.sampler
        state: dict[str, Any] = {"samples": min(self._batches * self.batch_size, len(sampler)), "size": len(sampler)}
        if isinstance(sampler, _Order):
            drawn = self.dataset.features.device.type if self._shuffle_on == "device" and sampler.shuffle else "cpu"
            state |= {"epoch": sampler.epoch, "seed": sampler.seed, "shuffle": sampler.shuffle, "drawn_on": drawn}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration go on where another one was.

        Args:
            state_dict: What :meth:`state_dict` returned, for the same data and arguments. The batch size may be another
                one if it divides the samples that were handed out.

        Raises:
            CheckpointError: The data, the seed, the shuffling or where the order is drawn are others, or the batch size
                does not divide what was handed out.
        """
        own = self.state_dict()
        check_alike(state_dict, {name: own[name] for name in own if name not in ("samples", "epoch")}, "FrameLoader")
        samples = state_dict["samples"]
        complete = samples >= len(self.sampler) or (self.drop_last and samples + self.batch_size > len(self.sampler))
        if not complete:
            check_alike({"samples": samples % self.batch_size}, {"samples": 0}, "FrameLoader")
        if isinstance(self.sampler, _Order):
            self.sampler.set_epoch(state_dict["epoch"] + complete)
        self._starts_at = None if complete else samples // self.batch_size
        self._batches = self._starts_at or 0


class _Order(Sampler[int]):
    """Says which epoch is read; the loader makes the order itself, and keeps the position."""

    def __init__(self, dataset: FrameDataset, *, shuffle: bool, seed: int) -> None:
        self._plain = ResumableSampler(dataset, shuffle=shuffle, seed=seed)
        self._dataset = dataset
        self.shuffle = shuffle
        self.seed = self._plain.seed
        self.epoch = 0
        self._has_begun = False

    def __len__(self) -> int:
        return len(self._plain)

    def __iter__(self) -> Iterator[int]:
        self._plain.set_epoch(self.epoch)
        return iter(self._plain)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self._has_begun = False

    def begin(self) -> None:
        """Go to the next epoch, unless somebody said which."""
        check_size(self._dataset, len(self._plain), "FrameLoader")
        self.epoch += self._has_begun
        self._has_begun = True
