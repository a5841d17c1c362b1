"""Samplers that deal indices or batches to ranks: nothing twice in evaluation, equally many in training."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, Sampler, SequentialSampler

from lt_core.distributed_sampler import (
    DistributedSamplerWrapper,
    UnrepeatedDistributedSampler,
    UnrepeatedDistributedSamplerWrapper,
)
from lt_core.errors import MisconfigurationTypeError
from lt_core.seed import collect_random_states

SIZES = range(1, 41)
RANKS = range(1, 5)
BATCHES = range(1, 6)


def in_turn(by_rank: list[list[Any]]) -> list[Any]:
    """Put what was dealt in turn back into order."""
    missing = object()
    rounds = itertools.zip_longest(*by_rank, fillvalue=missing)
    return [item for items in rounds for item in items if item is not missing]


class Stream(Sampler[int]):
    """Yields indices and does not know how many."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.size))


class Told(Sampler[int]):
    """Shuffles with the global generators of Python and torch; remembers the epochs that it was told."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.size).tolist()
        random.shuffle(order)
        return iter(order)

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


# -- evaluation


def test_each_batch_of_one_process_goes_to_exactly_one_rank() -> None:
    """For every size, number of ranks and batch size, the ranks' batches in turn are those of one process."""
    for size, ranks, batch_size in itertools.product(SIZES, RANKS, BATCHES):
        batches = BatchSampler(SequentialSampler(range(size)), batch_size, drop_last=False)

        dealt = [UnrepeatedDistributedSamplerWrapper(batches, ranks, rank) for rank in range(ranks)]
        read = [list(sampler) for sampler in dealt]

        assert in_turn(read) == list(batches), (size, ranks, batch_size)
        assert [len(sampler) for sampler in dealt] == [len(part) for part in read]
        assert max(map(len, read)) - min(map(len, read)) <= 1


@pytest.mark.parametrize("shuffle", [False, True])
def test_each_index_goes_to_exactly_one_rank(shuffle: bool) -> None:
    """Nothing is padded and nothing is left out, shuffled or not; ranks differ by one index at most."""
    for size, ranks in itertools.product(range(41), RANKS):
        dealt = [UnrepeatedDistributedSampler(range(size), ranks, rank, shuffle, seed=3) for rank in range(ranks)]
        read = [list(sampler) for sampler in dealt]

        assert sorted(index for part in read for index in part) == list(range(size))
        assert [len(sampler) for sampler in dealt] == [len(part) for part in read]
        assert [sampler.num_samples for sampler in dealt] == [len(part) for part in read]
        assert max(map(len, read)) - min(map(len, read)) <= 1


def test_the_shuffled_order_is_a_function_of_seed_and_epoch() -> None:
    """It repeats with the same seed and epoch, and differs with another of either."""

    def order(seed: int, epoch: int) -> list[int]:
        sampler = UnrepeatedDistributedSampler(range(30), 2, 1, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(5, 1)


def test_a_shorter_sampler_is_begun_again_up_to_the_wanted_length() -> None:
    """Beside a longer loader it gives the items that one process would read when it cycles."""
    read = [list(UnrepeatedDistributedSamplerWrapper([7, 8, 9], 2, rank, length=7)) for rank in range(2)]

    assert in_turn(read) == [7, 8, 9, 7, 8, 9, 7]
    assert [len(part) for part in read] == [4, 3]


def test_an_empty_sampler_is_not_begun_again_for_ever() -> None:
    """Where there is nothing, nothing comes."""
    sampler = UnrepeatedDistributedSamplerWrapper([], 2, 0, length=4)

    assert list(sampler) == []
    assert len(sampler) == 0


# -- training


def test_padding_is_that_of_torch() -> None:
    """Over indices in order, the wrapper gives what torch's own sampler gives, for every size and number of ranks."""
    for size, ranks, drop_last in itertools.product(SIZES, RANKS, (False, True)):
        for rank in range(ranks):
            theirs = DistributedSampler(range(size), ranks, rank, shuffle=False, drop_last=drop_last)  # type: ignore[arg-type]
            ours = DistributedSamplerWrapper(range(size), ranks, rank, drop_last=drop_last)

            assert list(ours) == list(theirs), (size, ranks, rank)
            assert len(ours) == len(theirs)
            assert (ours.num_samples, ours.total_size) == (theirs.num_samples, theirs.total_size)


def test_a_sampler_without_length_is_dealt_as_it_goes_on() -> None:
    """Also then all ranks have equally many; nobody knows how many, and shuffling is refused."""
    for size, ranks in itertools.product(range(12), RANKS):
        read = [list(DistributedSamplerWrapper(Stream(size), ranks, rank)) for rank in range(ranks)]
        sized = [list(DistributedSamplerWrapper(range(size), ranks, rank)) for rank in range(ranks)]
        exact = [list(UnrepeatedDistributedSamplerWrapper(Stream(size), ranks, rank)) for rank in range(ranks)]

        assert read == sized
        assert in_turn(exact) == list(range(size))
    with pytest.raises(TypeError, match="Stream"):
        len(DistributedSamplerWrapper(Stream(3), 2, 0))
    with pytest.raises(MisconfigurationTypeError, match=r"no length.*Leave `shuffle` out"):
        DistributedSamplerWrapper(Stream(3), 2, 0, shuffle=True)


def test_an_endless_sampler_with_a_length_is_read_that_far() -> None:
    """Samplers that go round for ever say how long an epoch is."""

    class Endless(Stream):
        def __len__(self) -> int:
            return self.size

        def __iter__(self) -> Iterator[int]:
            return itertools.cycle(range(self.size))

    read = [list(DistributedSamplerWrapper(Endless(4), 2, rank)) for rank in range(2)]

    assert read == [[0, 2], [1, 3]]


# -- the order


@pytest.mark.parametrize("wrapper", [DistributedSamplerWrapper, UnrepeatedDistributedSamplerWrapper])
def test_all_ranks_draw_the_same_order_whatever_their_generators_are(wrapper: Any) -> None:
    """A sampler that draws from the global generators is dealt without overlap, and leaves them as they are."""
    read = []
    for rank in range(3):
        torch.manual_seed(100 + rank)
        random.seed(rank)
        before = collect_random_states()
        read.append(list(wrapper(Told(12), 3, rank, seed=9)))
        after = collect_random_states()

        assert torch.equal(before["torch"], after["torch"])
        assert before["python"] == after["python"]

    assert sorted(index for part in read for index in part) == list(range(12))
    assert in_turn(read) != list(range(12))


def test_the_order_changes_with_the_epoch_and_the_sampler_is_told() -> None:
    """`set_epoch` reaches samplers within batch samplers, too; each is told once."""
    told = Told(10)
    batches = BatchSampler(told, 2, drop_last=False)
    sampler = DistributedSamplerWrapper(batches, 2, 0)

    sampler.set_epoch(0)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)

    assert told.epochs == [0, 1]
    assert first == again
    assert first != second


def test_a_generator_of_the_samplers_own_is_used() -> None:
    """The user's seed decides, not ours."""

    def read(own_seed: int, seed: int) -> list[int]:
        sampler = RandomSampler(range(20), generator=torch.Generator().manual_seed(own_seed))
        return list(DistributedSamplerWrapper(sampler, 2, 0, seed=seed))

    assert read(1, seed=0) == read(1, seed=7)
    assert read(1, seed=0) != read(2, seed=0)


def test_the_wrapper_shuffles_only_when_asked() -> None:
    """By default the order of the sampler is kept; shuffling keeps each item."""
    kept = [list(DistributedSamplerWrapper(range(10), 2, rank)) for rank in range(2)]
    shuffled = [list(DistributedSamplerWrapper(range(10), 2, rank, shuffle=True)) for rank in range(2)]

    assert in_turn(kept) == list(range(10))
    assert in_turn(shuffled) != list(range(10))
    assert sorted(in_turn(shuffled)) == list(range(10))


def test_the_wrapper_shows_what_the_sampler_has() -> None:
    """`batch_size` and the like are those of the sampler; copies and files work."""
    wrapped = DistributedSamplerWrapper(BatchSampler(range(7), 3, drop_last=False), 2, 0)

    assert wrapped.batch_size == 3
    assert list(copy.copy(wrapped)) == list(wrapped)
    assert list(pickle.loads(pickle.dumps(wrapped))) == list(wrapped)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = wrapped.nothing_like_it


def test_a_length_that_changes_is_followed() -> None:
    """A sampler may have another length in each epoch."""
    told = Told(10)
    sampler = DistributedSamplerWrapper(told, 3, 0)

    told.size = 4

    assert len(sampler) == math.ceil(4 / 3)
    assert len(list(sampler)) == len(sampler)


def test_a_rank_that_does_not_exist_is_refused() -> None:
    """As torch's sampler does."""
    with pytest.raises(ValueError, match="rank"):
        UnrepeatedDistributedSampler(range(4), 2, 2)
