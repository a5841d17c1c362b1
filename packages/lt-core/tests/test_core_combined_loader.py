"""CombinedLoader: what each mode yields, how long it is, and that it costs little."""

from __future__ import annotations

import math
import pickle
import random
from collections import deque, namedtuple
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from lt_core.combined_loader import CombinedLoader
from lt_core.errors import CheckpointError, MisconfigurationException

MODES = ["min_size", "max_size_cycle", "max_size", "sequential"]
Pair = namedtuple("Pair", ["left", "right"])


class Unsized:
    """An iterable that cannot tell its length."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.size))


class Counted:
    """An iterable that counts how often it is started and how many items are taken from it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.started = 0
        self.taken = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        self.started += 1
        for item in range(self.size):
            self.taken += 1
            yield item


class Stateful(Counted):
    """An iterable that keeps a state."""

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.taken = state_dict["taken"]


def oracle(lists: list[list[int]], mode: str) -> list[tuple[Any, int, int]]:
    """Say what a mode yields for a flat list of lists, worked out the slow and plain way."""
    if mode == "sequential":
        return [(batch, i, position) for position, items in enumerate(lists) for i, batch in enumerate(items)]
    length = min(map(len, lists)) if mode == "min_size" else max(map(len, lists))
    rows = []
    for i in range(length):
        if mode == "max_size":
            rows.append([items[i] if i < len(items) else None for items in lists])
        else:
            rows.append([items[i % len(items)] for items in lists])
    return [(row, i, 0) for i, row in enumerate(rows)]


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_yields_what_a_plain_program_yields(mode: str) -> None:
    """For many random lengths the items equal those of the oracle, and len() is their number."""
    draw = random.Random(0)
    for _ in range(200):
        lists = [[100 * k + i for i in range(draw.randint(1, 7))] for k in range(draw.randint(1, 4))]
        # Tensors, so that a member is an iterable of batches and not a collection of numbers.
        loader = CombinedLoader([torch.tensor(items) for items in lists], mode)  # type: ignore[arg-type]

        items = list(loader)

        plain = [(int(b) if mode == "sequential" else _numbers(b), i, k) for b, i, k in items]
        assert plain == oracle(lists, mode)
        assert len(loader) == loader.num_batches == len(items)


def _numbers(batch: list[Any]) -> list[int | None]:
    return [None if item is None else int(item) for item in batch]


@pytest.mark.parametrize("mode", MODES)
def test_limits_cut_the_iteration_to_the_length_that_is_told(mode: str) -> None:
    """Whatever the limits, an iteration yields num_batches items."""
    draw = random.Random(1)
    for _ in range(200):
        sizes = [draw.randint(1, 6) for _ in range(draw.randint(1, 3))]
        loader = CombinedLoader([Counted(size) for size in sizes], mode)  # type: ignore[arg-type]
        loader.limits = [draw.choice([0, 1, 2, 4, math.inf]) for _ in sizes]

        items = list(loader)

        assert len(items) == loader.num_batches == len(loader)


def test_a_limit_of_one_iterable_counts_for_that_one_alone() -> None:
    """In sequential mode each iterable stops at its own limit, and no batch beyond it is fetched."""
    members = [Counted(5), Counted(5), Counted(2)]
    loader = CombinedLoader(members, "sequential")
    loader.limits = [2, 0, 9]

    items = list(loader)

    assert items == [(0, 0, 0), (1, 1, 0), (0, 0, 2), (1, 1, 2)]
    assert [member.taken for member in members] == [2, 0, 2]
    assert members[1].started == 0


def test_one_number_as_limit_holds_for_each_iterable() -> None:
    """A single number becomes a list, one for each."""
    loader = CombinedLoader([[1, 2, 3], [4, 5, 6]], "sequential")

    loader.limits = 2

    assert loader.limits == [2, 2]
    assert [batch for batch, _, _ in loader] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    ("collection", "expected"),
    [
        ([[1, 2], [3, 4]], [1, 3]),
        (([1, 2], [3, 4]), (1, 3)),
        ({"a": [1, 2], "b": [3, 4]}, {"a": 1, "b": 3}),
        (deque([[1, 2], [3, 4]]), deque([1, 3])),
        (Pair([1, 2], [3, 4]), Pair(1, 3)),
        ({"a": [[1, 2], ([3, 4], [5, 6])], "b": {"c": [7, 8]}}, {"a": [1, (3, 5)], "b": {"c": 7}}),
        ([[[1, 2], [3, 4]], [5, 6]], [[1, 3], 5]),
        ([1, 2, 3], 1),
        ([[1, 2]], [1]),
    ],
)
@pytest.mark.parametrize("mode", MODES[:3])
def test_the_batch_has_the_shape_of_the_collection(collection: Any, expected: Any, mode: Any) -> None:
    """Any nesting is kept; a list of numbers is an iterable of batches."""
    loader = CombinedLoader(collection, mode)

    batch, batch_idx, iterable_idx = next(iter(loader))

    assert batch == expected
    assert type(batch) is type(expected)
    assert (batch_idx, iterable_idx) == (0, 0)


def test_sequential_starts_each_iterable_when_its_turn_comes() -> None:
    """No workers are started for loaders that are still waiting."""
    members = [Counted(2), Counted(2)]
    iterator = iter(CombinedLoader(members, "sequential"))

    next(iterator)

    assert [member.started for member in members] == [1, 0]


def test_cycling_starts_nothing_again_for_an_item_that_does_not_come() -> None:
    """With equal lengths each iterable is started once an epoch."""
    members = [Counted(3), Counted(3), Counted(1)]

    items = list(CombinedLoader(members, "max_size_cycle"))

    assert len(items) == 3
    assert [member.started for member in members] == [1, 1, 3]


def test_a_shuffling_loader_shuffles_anew_when_it_is_cycled() -> None:
    """Each cycle of the shorter loader holds all its samples, in another order."""
    torch.manual_seed(0)
    short = DataLoader(range(32), shuffle=True)  # type: ignore[arg-type]
    loader = CombinedLoader([short, range(64)], "max_size_cycle")

    seen = [int(batch[0]) for batch, _, _ in loader]

    assert sorted(seen[:32]) == sorted(seen[32:]) == list(range(32))
    assert seen[:32] != seen[32:]


def test_an_iterable_that_cannot_be_cycled_is_an_error_that_names_it() -> None:
    """An exhausted generator ends in a message, not in an epoch that is too short."""
    loader = CombinedLoader([(i for i in range(2)), range(5)], "max_size_cycle")

    with pytest.raises(MisconfigurationException, match=r"Iterable 0 .*\(generator\).*mode='min_size'"):
        list(loader)


def test_unsized_iterables_have_infinite_length_and_can_be_read() -> None:
    """num_batches is inf where a member that decides has no length; len() says what to read instead."""
    sizes = {"min_size": 2, "max_size_cycle": math.inf, "max_size": math.inf, "sequential": math.inf}
    for mode, expected in sizes.items():
        loader = CombinedLoader([Unsized(3), range(2)], mode)  # type: ignore[arg-type]
        assert loader.num_batches == expected
        assert len(list(loader)) == {"min_size": 2, "sequential": 5}.get(mode, 3)

    with pytest.raises(TypeError, match="num_batches"):
        len(loader)


def test_a_loader_of_an_iterable_data_set_has_no_length() -> None:
    """A DataLoader whose data set has no length counts as infinite."""

    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(4))

    loader = CombinedLoader(DataLoader(Stream(), batch_size=2), "sequential")

    assert loader.num_batches == math.inf
    assert [batch.tolist() for batch, _, _ in loader] == [[0, 1], [2, 3]]


def test_len_before_iter_says_to_start_first() -> None:
    """The length is known once the loader is started."""
    loader = CombinedLoader([[1], [2]])

    with pytest.raises(RuntimeError, match=r"iter\(combined_loader\)"):
        len(loader)
    with pytest.raises(RuntimeError, match=r"iter\(combined_loader\)"):
        next(loader)  # type: ignore[call-overload]


def test_next_continues_the_iteration_that_was_started_last() -> None:
    """next() on the loader reads on where its iterator stands; iter() begins again."""
    loader = CombinedLoader([[1, 2], [3]], "sequential")
    iterator = iter(loader)

    assert next(iterator) == (1, 0, 0)
    assert loader.__next__() == (2, 1, 0)
    assert next(iter(loader)) == (1, 0, 0)


def test_setting_flattened_replaces_the_iterables_in_their_shape() -> None:
    """The collection is rebuilt around the new iterables."""
    loader = CombinedLoader({"a": [1, 2], "b": ([3, 4],)})

    loader.flattened = [[10, 20], [30, 40]]

    assert loader.iterables == {"a": [10, 20], "b": ([30, 40],)}
    assert next(iter(loader))[0] == {"a": 10, "b": (30,)}
    with pytest.raises(ValueError, match="3 iterables, but the collection has 2"):
        loader.flattened = [[1], [2], [3]]


def test_samplers_are_collected_in_the_shape_of_the_collection() -> None:
    """Members without sampler give None."""
    torch_loader = DataLoader(range(4), batch_size=2)  # type: ignore[arg-type]
    loader = CombinedLoader({"a": torch_loader, "b": [1, 2]})

    assert loader.sampler == {"a": torch_loader.sampler, "b": None}
    assert loader.batch_sampler == {"a": torch_loader.batch_sampler, "b": None}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ([1], "1 limits, but the collection has 2"),
        (-1, "0 or more"),
        (0.5, "whole number of batches"),
        (math.nan, "whole number of batches"),
    ],
)
def test_a_wrong_limit_is_an_error_that_says_what_to_give(limits: Any, message: str) -> None:
    """The number of limits and their values are checked when they are set."""
    loader = CombinedLoader([[1], [2]])

    with pytest.raises(ValueError, match=message):
        loader.limits = limits


def test_an_unknown_mode_names_the_nearest() -> None:
    """A misspelled mode is a ValueError with a suggestion."""
    with pytest.raises(ValueError, match="Did you mean `max_size_cycle`"):
        CombinedLoader([[1]], "max_size_cycel")  # type: ignore[arg-type]


def test_a_member_that_is_no_iterable_is_named_at_once() -> None:
    """The error comes at construction, with the member and its place."""
    with pytest.raises(TypeError, match=r"3\.5 \(iterable 1\).*DataLoader"):
        CombinedLoader([[[1, 2]], 3.5])


def test_states_go_to_the_members_that_keep_one() -> None:
    """Members without state are passed over; a wrong number of states is an error."""
    loader = CombinedLoader({"a": Stateful(3), "b": [1, 2], "c": Stateful(4)}, "min_size")
    list(loader)
    states = loader.state_dict()

    fresh = CombinedLoader({"a": Stateful(3), "b": [1, 2], "c": Stateful(4)}, "min_size")
    fresh.load_state_dict(states)

    assert states == [{"taken": 3}, {"taken": 2}]
    assert fresh.state_dict() == states
    with pytest.raises(CheckpointError, match="1 data loaders, but 2 of the 3"):
        fresh.load_state_dict(states[:1])


def test_reset_ends_the_worker_processes_of_persistent_loaders() -> None:
    """After reset no worker is alive and the loader can be read again."""
    loader = DataLoader(range(4), num_workers=1, persistent_workers=True)  # type: ignore[arg-type]
    combined = CombinedLoader(loader, "sequential")
    assert len(list(combined)) == 4
    workers = list(loader._iterator._workers)  # type: ignore[union-attr]
    assert all(worker.is_alive() for worker in workers)

    combined.reset()

    assert not any(worker.is_alive() for worker in workers)
    with pytest.raises(RuntimeError, match="not started"):
        len(combined)
    assert len(list(combined)) == 4
    combined.reset()


def test_a_pickled_loader_starts_anew() -> None:
    """A loader under way can be pickled; the copy has the collection, the mode and the limits."""
    loader = CombinedLoader({"a": [1, 2, 3], "b": [4, 5, 6]}, "max_size")
    loader.limits = 2
    next(iter(loader))

    copy = pickle.loads(pickle.dumps(loader))

    assert [batch for batch, _, _ in copy] == [{"a": 1, "b": 4}, {"a": 2, "b": 5}]
    assert copy.mode == "max_size"


def test_an_error_in_a_loader_reaches_the_caller() -> None:
    """The exception of a member is raised as it is."""

    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("broken sample")

    for mode in MODES:
        with pytest.raises(KeyError, match="broken sample"):
            list(CombinedLoader([broken(), range(3)], mode))  # type: ignore[arg-type]
