"""Samplers and loaders that know where they are: order by seed and epoch, O(1) skip, augmentation by sample."""

from __future__ import annotations

import copy
import random
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from lt_core.errors import CheckpointError, MisconfigurationException
from lt_core.seed import collect_random_states
from lt_data import CombinedLoader, ResumableDataLoader, ResumableSampler


class Augmented(Dataset[torch.Tensor]):
    """Row numbers with noise of each of the three global generators; notes which rows were read here."""

    def __init__(self, size: int = 12) -> None:
        self.size = size
        self.read: list[int] = []

    def __getitem__(self, row: int) -> torch.Tensor:
        self.read.append(row)
        legacy = float(np.random.rand())  # noqa: NPY002 - the global generator, as augmentation libraries use it
        return torch.tensor([row, random.random(), legacy, float(torch.rand(()))], dtype=torch.float64)

    def __len__(self) -> int:
        return self.size


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(3))


def loader(size: int = 12, **options: Any) -> ResumableDataLoader:
    return ResumableDataLoader(Augmented(size), **{"batch_size": 2, "shuffle": True, "seed": 3, **options})


def batches(of: Any) -> list[Any]:
    return [batch.tolist() for batch in of]


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 30), position=st.integers(0, 30), epoch=st.integers(0, 5), shuffle=st.booleans())
def test_a_sampler_goes_on_anywhere(size: int, position: int, epoch: int, shuffle: bool) -> None:
    """What was given does not come again, nothing is left out, and the epochs that follow are the same."""
    position = min(position, size)
    sampler = ResumableSampler(range(size), shuffle=shuffle, seed=1)
    sampler.set_epoch(epoch)
    passing = iter(sampler)
    begun = [next(passing) for _ in range(position)]
    state = dict(sampler.state_dict())
    rest, following = list(passing), list(sampler)

    again = ResumableSampler(range(size), shuffle=shuffle, seed=1)
    again.load_state_dict(state)

    if position < size:
        assert list(again) == rest
    assert list(again) == following
    assert sorted(begun + rest) == list(range(size))
    assert len(again) == size


def test_saying_the_epoch_gives_up_a_position_of_another() -> None:
    """A position counts within its epoch; saying that same epoch keeps it."""
    sampler = ResumableSampler(range(6), seed=1)
    state = {**sampler.state_dict(), "epoch": 2, "position": 4}
    sampler.load_state_dict(state)
    sampler.set_epoch(2)
    kept = list(sampler)
    sampler.load_state_dict(state)
    sampler.set_epoch(3)

    assert (len(kept), len(list(sampler))) == (2, 6)


@pytest.mark.parametrize(
    ("change", "name"), [({"seed": 9}, "seed"), ({"size": 7}, "size"), ({"shuffle": 0}, "shuffle")]
)
def test_a_state_of_another_sampler_is_refused(change: Any, name: str) -> None:
    """The order would be another one."""
    sampler = ResumableSampler(range(6))

    with pytest.raises(CheckpointError, match=f"saved with {name}="):
        sampler.load_state_dict({**sampler.state_dict(), **change})


def test_data_that_change_their_length_between_epochs_are_refused() -> None:
    """By the sampler and by the loader."""
    data: list[int] = [1, 2, 3]
    sampler, reading = ResumableSampler(data), ResumableDataLoader(data)
    _ = list(sampler), list(reading)
    data.append(4)

    for each in (sampler, reading):
        with pytest.raises(MisconfigurationException, match="had 3 samples and have 4 now"):
            list(each)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes:UserWarning")
def test_the_same_batches_come_with_any_number_of_workers() -> None:
    """Order and augmentation, in two epochs, with workers that live on, too."""
    readers = [
        loader(),
        loader(num_workers=1),
        loader(num_workers=4),
        loader(num_workers=2, persistent_workers=True),
    ]

    epochs = [[batches(reader), batches(reader)] for reader in readers]

    assert epochs[0] == epochs[1] == epochs[2] == epochs[3]
    assert epochs[0][0] != epochs[0][1]
    noise = [sample[1:] for epoch in epochs[0] for batch in epoch for sample in batch]
    assert len({tuple(each) for each in noise}) == 24


def test_reading_leaves_the_generators_of_the_process_alone() -> None:
    """What training draws does not depend on augmentation, nor the other way round."""
    reader = loader()
    expected = batches(loader())
    random.seed(77)
    torch.manual_seed(77)
    passing = iter(reader)  # torch draws a base seed for workers here
    before = collect_random_states()

    read = batches(passing)

    after = collect_random_states()
    assert read == expected
    assert before["python"] == after["python"]
    assert torch.equal(before["torch"], after["torch"])


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("done", [0, 1, 3, 6])
def test_a_loader_goes_on_where_it_was_with_other_workers(before: int, after: int, done: int) -> None:
    """The position is that of batches handed out, whatever workers have read ahead."""
    reader = loader(num_workers=before)
    _ = batches(reader)
    passing = iter(reader)
    for _number in range(done):
        next(passing)
    state = copy.deepcopy(reader.state_dict())
    rest, following = batches(passing), batches(reader)

    resumed = loader(num_workers=after)
    resumed.load_state_dict(state)

    assert state["samples"] == 2 * done
    if done < 6:
        assert batches(resumed) == rest
    assert batches(resumed) == following
    assert len(resumed) == 6


def test_skipping_reads_nothing_and_takes_no_time() -> None:
    """Batch 1,000,000 of a map-style dataset is reached within a second, without one sample of those before."""
    resumed = loader(size=4_000_010, batch_size=4)
    resumed.load_state_dict({**resumed.state_dict(), "epoch": 0, "samples": 4_000_000})

    began = time.perf_counter()
    rest = batches(resumed)

    assert time.perf_counter() - began < 5  # a second, and room for a busy machine
    assert [len(batch) for batch in rest] == [4, 4, 2]
    assert resumed.data.read == [int(sample[0]) for batch in rest for sample in batch]


def test_a_position_may_go_on_in_batches_of_another_size() -> None:
    """The samples that are left are those that were not seen."""
    reader = loader(batch_size=4)
    next(iter(reader))
    whole = [sample for batch in batches(loader(batch_size=4)) for sample in batch]
    resumed = loader(batch_size=1)

    resumed.load_state_dict(reader.state_dict())

    assert [sample for batch in batches(resumed) for sample in batch] == whole[4:]
    with pytest.raises(CheckpointError, match="samples=1"):
        loader(batch_size=3).load_state_dict(reader.state_dict())


def test_a_dropped_last_batch_ends_the_epoch() -> None:
    """A state after the last whole batch goes on with the next epoch."""
    reader = loader(size=5, drop_last=True)
    _ = batches(reader)
    resumed = loader(size=5, drop_last=True)

    resumed.load_state_dict(reader.state_dict())

    assert batches(resumed) == batches(reader)


def test_batched_data_are_seeded_once_a_batch() -> None:
    """Data that answer whole batches keep doing so."""

    class Batched(Augmented):
        def __getitems__(self, rows: list[int]) -> list[torch.Tensor]:
            assert all(type(row) is int for row in rows)
            return [torch.tensor([row, random.random()]) for row in rows]

    readers = [ResumableDataLoader(Batched(), 4, num_workers=workers) for workers in (0, 2)]

    assert batches(readers[0]) == batches(readers[1])


def test_samples_of_a_subset_are_seeded_one_by_one() -> None:
    """The size of the batches makes no difference to them."""
    readers = [ResumableDataLoader(Subset(Augmented(), range(3, 9)), size, seed=1) for size in (2, 3)]

    samples = [[sample for batch in batches(reader) for sample in batch] for reader in readers]

    assert samples[0] == samples[1]


def test_without_seeding_the_samples_are_as_the_process_draws() -> None:
    """The order is kept, and the dataset is read as it is."""
    reader = loader(seed_samples=False)
    rows = [sample[0] for batch in batches(loader()) for sample in batch]

    assert reader.dataset is reader.data
    assert [sample[0] for batch in batches(reader) for sample in batch] == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": [1, 2]}, "got sampler="),
        ({"batch_sampler": [[1]]}, "got batch_sampler="),
        ({"generator": torch.Generator()}, "got generator="),
        ({"dataset": Stream()}, "StatefulDataLoader"),
        ({"dataset": iter([1])}, "no length"),
        ({"batch_size": None}, "batch_size=None"),
        ({"seed": "x"}, "seed='x'"),
    ],
)
def test_wrong_arguments_of_the_loader_are_named(arguments: Any, message: str) -> None:
    """With what to write instead."""
    with pytest.raises(MisconfigurationException, match=message):
        ResumableDataLoader(**{"dataset": [1, 2], **arguments})


@pytest.mark.parametrize("mode", ["min_size", "max_size", "max_size_cycle", "sequential"])
def test_a_combined_loader_keeps_the_state_of_nested_loaders(mode: Any) -> None:
    """States are taken and given back in flat order, over any nesting."""
    tree = {"a": [loader(), {"b": loader(8)}], "c": DataLoader(Augmented(4)), "d": (loader(4),)}
    combined = CombinedLoader(tree, mode)
    passing = iter(combined)
    next(passing)

    states = combined.state_dict()

    assert [state["size"] for state in states] == [12, 8, 4]
    assert [state["samples"] for state in states] == ([2, 0, 0] if mode == "sequential" else [2, 2, 2])
    other = CombinedLoader({"a": [loader(), {"b": loader(8)}], "c": [1], "d": (loader(4),)}, mode)
    other.load_state_dict(states)
    assert other.state_dict() == states


@pytest.mark.parametrize(
    ("mode", "length"), [("min_size", 1), ("max_size", 3), ("max_size_cycle", 3), ("sequential", 6)]
)
def test_a_combined_loader_reads_any_nesting(mode: Any, length: int) -> None:
    """Batches have the shape of the collection; missing ones are None, shorter loaders start again."""
    items = list(CombinedLoader({"a": [[1, 2, 3], ([4],)], "b": {"c": [5, 6]}}, mode))

    assert len(items) == length
    expected = {
        "min_size": {"a": [1, (4,)], "b": {"c": 5}},
        "max_size": {"a": [3, (None,)], "b": {"c": None}},
        "max_size_cycle": {"a": [3, (4,)], "b": {"c": 5}},
        "sequential": 6,
    }
    assert items[-1][0] == expected[mode]
