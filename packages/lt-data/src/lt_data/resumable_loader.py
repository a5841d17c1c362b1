"""A DataLoader that knows where it is, and whose samples are the same whatever reads them.

The position is that of the batches that were handed out, not of those that workers read ahead. Random augmentation
draws from generators that are seeded for each sample by seed, epoch and row: so the number of workers, an interruption
and what the process drew before make no difference.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler, Subset

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_data.order import checked_seed, mixed_seed
from lt_data.sampler import ResumableSampler, check_alike, check_size

__all__ = ["ResumableDataLoader"]

_OWN = ("sampler", "batch_sampler", "generator")


class ResumableDataLoader(DataLoader[Any]):
    """Reads map-style data in an order that depends on seed and epoch alone, and goes on at any batch at once.

    ``state_dict`` and ``load_state_dict`` are named as those of torchdata's ``StatefulDataLoader``; trainers that know
    these resume within an epoch. Iterating again begins the next epoch, unless :meth:`set_epoch` (or that of
    ``sampler``) says which.

    Args:
        dataset: Map-style data.
        batch_size: Samples in a batch, from 1; 1 by default.
        shuffle: Whether to shuffle, anew in each epoch; False by default.
        seed: For the order and for augmentation, from 0; 0 by default.
        drop_last: Whether a last, smaller batch is left out; False by default.
        seed_samples: Whether the global generators (Python, NumPy, torch on the CPU) are seeded for each sample, so
            that random augmentation is the same however it is read; True by default. In this process they are given
            back as they were. Takes some 30 µs a sample. Data with ``__getitems__`` are seeded once a batch.
        options: Further arguments of ``DataLoader``, for example ``num_workers`` or ``collate_fn``.

    Raises:
        MisconfigurationTypeError: The data are a stream, or an option takes the order out of the loader's hands.
        MisconfigurationValueError: The seed or the batch size is none.

    Example:
        >>> loader = ResumableDataLoader(range(6), batch_size=2, shuffle=True, seed=1)
        >>> passing = iter(loader)
        >>> first = next(passing)
        >>> again = ResumableDataLoader(range(6), batch_size=2, shuffle=True, seed=1)
        >>> again.load_state_dict(loader.state_dict())
        >>> [batch.tolist() for batch in again] == [batch.tolist() for batch in passing]
        True
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,  # noqa: FBT001, FBT002 - the order of DataLoader's signature
        *,
        seed: int = 0,
        drop_last: bool = False,
        seed_samples: bool = True,
        **options: Any,
    ) -> None:
        taken = [name for name in _OWN if options.get(name) is not None]
        if taken:
            raise MisconfigurationTypeError(
                f"`ResumableDataLoader` got {taken[0]}={options[taken[0]]!r}. Expected `shuffle` and `seed`: the loader"
                " makes the order itself, so that it can go on anywhere in it. Leave it out, or use a `DataLoader` with"
                " a `ResumableSampler`."
            )
        if isinstance(dataset, IterableDataset):
            raise MisconfigurationTypeError(
                f"`ResumableDataLoader` got the stream {type(dataset).__name__}. Expected map-style data, whose samples"
                " have numbers. For streams use torchdata's `StatefulDataLoader`."
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise MisconfigurationValueError(
                f"`ResumableDataLoader` got batch_size={batch_size!r}. Expected a whole number of at least 1. Write,"
                " for example, `batch_size=32`."
            )
        for name in _OWN:
            options.pop(name, None)
        self.seed = checked_seed(seed, "ResumableDataLoader")
        self.seed_samples = seed_samples
        self._step = batch_size
        self._batches = 0
        self._order = _Order(dataset, shuffle=shuffle, seed=self.seed, tells_epoch=seed_samples)
        read: Any = _SeededSamples(dataset, self.seed) if seed_samples else dataset
        super().__init__(
            read,
            batch_size,
            sampler=self._order,
            drop_last=drop_last,
            **options,
        )

    @property
    def data(self) -> Any:
        """The data as they were given; ``dataset`` is what the loader reads them through."""
        return self.dataset.dataset if isinstance(self.dataset, _SeededSamples) else self.dataset

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 0."""
        self._order.set_epoch(epoch)

    def __iter__(self) -> Any:
        """Begin an epoch, or go on with the one that was loaded."""
        check_size(self.data, len(self._order), "ResumableDataLoader")
        self._order.begin()
        self._batches = self._order.starts_at // self._step
        return self._counted(super().__iter__())

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader is, by the batches that it handed out: plain numbers."""
        order = self._order
        return {
            "epoch": order.epoch,
            "samples": min(self._batches * self._step, len(order)),
            "seed": self.seed,
            "shuffle": order.shuffle,
            "size": len(order),
            "seed_samples": self.seed_samples,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration go on where another one was, without reading what comes before.

        Args:
            state_dict: What :meth:`state_dict` returned, for the same data and seed. The number of workers may be
                another one, and the batch size if it divides the samples that were handed out.

        Raises:
            CheckpointError: The data, the seed or the shuffling are others.
        """
        own = self.state_dict()
        check_alike(
            state_dict, {name: own[name] for name in own if name not in ("samples", "epoch")}, "ResumableDataLoader"
        )
        size, step, samples = len(self._order), self._step, state_dict["samples"]
        complete = samples >= size or (self.drop_last and samples + step > size)
        if not complete:
            check_alike({"samples": samples % step}, {"samples": 0}, "ResumableDataLoader")
        self._order.set_epoch(state_dict["epoch"] + complete)
        self._order.starts_at = 0 if complete else samples
        self._batches = self._order.starts_at // step


class _Order(Sampler[int]):
    """The order of one epoch, from a position on. It has no state of its own: the loader counts what was handed out."""

    def __init__(self, dataset: Any, *, shuffle: bool, seed: int, tells_epoch: bool) -> None:
        self._plain = ResumableSampler(dataset, shuffle=shuffle, seed=seed)
        self._tells_epoch = tells_epoch
        self.shuffle = shuffle
        self.epoch = 0
        self.starts_at = 0
        self._has_begun = False

    def __len__(self) -> int:
        return len(self._plain)

    def set_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self.starts_at = epoch, 0
        self._has_begun = False

    def begin(self) -> None:
        if self._has_begun:
            self.epoch, self.starts_at = self.epoch + 1, 0
        self._has_begun = True

    def __iter__(self) -> Iterator[int]:
        self._plain.set_epoch(self.epoch)
        rows = self._plain.order()[self.starts_at :].tolist()
        return (_row(row, self.epoch) for row in rows) if self._tells_epoch else iter(rows)


class _Row(int):
    """The number of a row, with the epoch it is read in: so workers that live on know it, too."""

    epoch: int = 0

    def __reduce__(self) -> Any:
        return _row, (int(self), self.epoch)


def _row(number: int, epoch: int) -> _Row:
    made = _Row(number)
    made.epoch = epoch
    return made


class _SeededSamples:
    """Reads each sample with generators that are seeded by seed, epoch and row."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self._seed = seed
        source = dataset
        while isinstance(source, Subset):  # has `__getitems__` whatever it is made of
            source = source.dataset
        self._reads_batches = callable(getattr(source, "__getitems__", None))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> Any:
        return self.dataset[row]

    def __getitems__(self, rows: Sequence[int]) -> Any:
        if torch.utils.data.get_worker_info() is not None:
            return self._read(rows)
        # In this process the generators are those of training. Taken in their own form, which is quick.
        python, plain, numpy = random.getstate(), torch.get_rng_state(), sys.modules.get("numpy")
        legacy = None if numpy is None else numpy.random.get_state()
        try:
            return self._read(rows)
        finally:
            random.setstate(python)
            torch.set_rng_state(plain)
            if numpy is not None and legacy is not None:
                numpy.random.set_state(legacy)

    def _read(self, rows: Sequence[int]) -> Any:
        if self._reads_batches and len(rows):
            self._seed_for(rows[0])
            return self.dataset.__getitems__([int(row) for row in rows])
        samples = []
        for row in rows:
            self._seed_for(row)
            samples.append(self.dataset[int(row)])
        return samples

    def _seed_for(self, row: int) -> None:
        _seed_generators(mixed_seed(self._seed, row.epoch if isinstance(row, _Row) else 0, row))


def _seed_generators(seed: int) -> None:
    random.seed(seed)
    torch.default_generator.manual_seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed([seed & 0xFFFFFFFF, seed >> 32])
