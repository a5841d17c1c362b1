"""An epoch that is saved at any batch and resumed elsewhere gives the batches that were left, to the bit."""

import io
import math
import random

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, Sampler

from lt_core.combined_loader import CombinedLoader
from lt_core.errors import CheckpointError
from lt_core.seed import collect_random_states, restore_random_states
from lt_loops.data.batches import EpochBatches

try:
    import numpy as np
except ImportError:  # it is no dependency; where it is, its generators count, too
    np = None


def numpy_draw():
    return 0.0 if np is None else np.random.rand()


def seed_all(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    if np is not None:
        np.random.seed(seed)


class Augmented(Dataset):
    """Numbers with noise from the three global generators; counts what is read."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.reads = 0

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.reads += 1
        noise = torch.rand(()).double() + random.random() + numpy_draw()
        return torch.stack([torch.tensor(float(index)).double(), noise])


class Stream(IterableDataset):
    def __iter__(self):
        for index in range(7):
            yield torch.tensor([float(index), torch.rand(()).item(), random.random()])


class OwnGeneratorSampler(Sampler):
    """Keeps its generators over epochs."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.generator = torch.Generator().manual_seed(5)
        self.dice = random.Random(3)
        self.numbers = random.Random(4) if np is None else np.random.default_rng(2)

    def __len__(self):
        return self.size

    def __iter__(self):
        for index in torch.randperm(self.size, generator=self.generator).tolist():
            shift = self.dice.randrange(self.size) + int(self.numbers.random() * self.size)
            yield (index + shift) % self.size


class StatefulLoader:
    """A loader that can go on where it was, as torchdata's."""

    def __init__(self, size: int, *, sized: bool) -> None:
        self.size = size
        self.at = 0
        self.iterated_from = []
        if sized:
            self.__class__ = SizedStatefulLoader

    def __iter__(self):
        self.iterated_from.append(self.at)
        while self.at < self.size:
            self.at += 1
            yield torch.tensor(self.at)
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class SizedStatefulLoader(StatefulLoader):
    def __len__(self):
        return self.size


def plain():
    return DataLoader(Augmented(), batch_size=2, shuffle=True)


def own_generator():
    return DataLoader(Augmented(), batch_size=3, sampler=OwnGeneratorSampler(10))


def loader_generator():
    return DataLoader(Augmented(), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(9))


def with_replacement():
    sampler = RandomSampler(Augmented(), replacement=True, num_samples=90, generator=torch.Generator().manual_seed(1))
    return DataLoader(Augmented(), batch_size=10, sampler=sampler)


def custom_batch_sampler():
    return DataLoader(Augmented(), batch_sampler=BatchSampler(RandomSampler(range(10)), 2, drop_last=False))


def unbatched():
    return DataLoader(Augmented(6), batch_size=None, shuffle=True)


def workers():
    return DataLoader(Augmented(12), batch_size=2, shuffle=True, num_workers=2)


def workers_own_generator():
    return DataLoader(Augmented(12), batch_size=2, sampler=OwnGeneratorSampler(12), num_workers=2)


def stream():
    return DataLoader(Stream(), batch_size=2)


def stream_in_a_worker():
    return DataLoader(Stream(), batch_size=2, num_workers=1)


def several():
    return CombinedLoader({"a": plain(), "b": DataLoader(Augmented(2), shuffle=True)}, "max_size_cycle")


def shortest():
    return CombinedLoader([plain(), loader_generator()], "min_size")


def read(batches, number=math.inf):
    """Read as training does, which draws random numbers, too."""
    found = []
    while len(found) < number:
        try:
            batch = batches.next_batch()
        except StopIteration:
            break
        found.append((batch, batches.is_last, torch.rand(()).item(), random.random(), numpy_draw()))
    return found


def seeded(make, *, warm_up=1):
    """Make a loader of which some epochs were read."""
    seed_all(1)
    loader = make()
    for _ in range(warm_up):
        batches = EpochBatches(loader, math.inf, resumable=True)
        batches.start()
        read(batches)
    return loader


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


FAST = [plain, own_generator, loader_generator, with_replacement, custom_batch_sampler, unbatched, stream, several]
SLOW = [workers, workers_own_generator, stream_in_a_worker]
CASES = [(make, at) for make in [*FAST, shortest] for at in (0, 1, 3)] + [(make, 2) for make in SLOW]


@pytest.mark.parametrize(("make", "at"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_resumed_epoch_gives_the_batches_that_were_left(make, at):
    """Order, augmentations, the training's own draws and the following epoch are those of the uninterrupted run."""
    loader = seeded(make)
    batches = EpochBatches(loader, math.inf, resumable=True)
    batches.start()
    read(batches, at)
    saved = through_a_file({"batches": batches.state_dict(), "random": collect_random_states()})
    expected = read(batches)
    following = EpochBatches(loader, math.inf, resumable=True)
    following.start()
    expected_following = read(following)

    seed_all(99)
    fresh = make()
    resumed = EpochBatches(fresh, math.inf, resumable=True)
    resumed.resume(saved["batches"])
    restore_random_states(saved["random"])
    found = read(resumed)
    resumed_following = EpochBatches(fresh, math.inf, resumable=True)
    resumed_following.start()

    assert expected
    assert resumed.position == at + len(found)
    assert same(found, expected)
    assert same(read(resumed_following), expected_following)


def test_an_epoch_can_be_resumed_from_a_resumed_one():
    """What a resumed epoch saves leads to the same batches again."""
    loader = seeded(plain)
    batches = EpochBatches(loader, math.inf, resumable=True)
    batches.start()
    read(batches, 1)
    first = {"batches": batches.state_dict(), "random": collect_random_states()}
    read(batches, 2)
    expected = read(batches)

    again = EpochBatches(plain(), math.inf, resumable=True)
    again.resume(first["batches"])
    restore_random_states(first["random"])
    read(again, 2)
    second = {"batches": again.state_dict(), "random": collect_random_states()}
    last = EpochBatches(plain(), math.inf, resumable=True)
    last.resume(second["batches"])
    restore_random_states(second["random"])

    assert same(read(last), expected)


def test_skipping_reads_no_sample_of_a_map_style_loader_without_workers():
    """Only the sampler is advanced."""
    loader = seeded(plain)
    batches = EpochBatches(loader, math.inf, resumable=True)
    batches.start()
    read(batches, 3)

    fresh = plain()
    resumed = EpochBatches(fresh, math.inf, resumable=True)
    resumed.resume(batches.state_dict())

    assert fresh.dataset.reads == 0
    read(resumed, 1)
    assert fresh.dataset.reads == 2


@pytest.mark.parametrize("sized", [True, False])
def test_a_loader_with_a_state_of_its_own_is_resumed_through_it(sized):
    """Its state is the one after the batches handed out, also where one more was read ahead."""
    batches = EpochBatches(StatefulLoader(5, sized=sized), math.inf, resumable=True)
    batches.start()
    first = [int(batch) for batch in (next(batches), next(batches))]
    state = through_a_file(batches.state_dict())

    loader = StatefulLoader(5, sized=sized)
    resumed = EpochBatches(loader, math.inf, resumable=True)
    resumed.resume(state)
    rest = [(int(batch), resumed.is_last) for batch in resumed]

    assert first == [1, 2]
    assert rest == [(3, False), (4, False), (5, True)]
    assert loader.iterated_from == [2]


def test_the_last_batch_is_told_by_counting_where_there_is_a_length():
    """Nothing is read ahead, and a limit makes the last batch earlier."""
    data = Augmented()
    batches = EpochBatches(DataLoader(data, batch_size=2), 3, resumable=False)
    batches.start()

    flags = [(batches.is_last, data.reads) for _ in batches]

    assert flags == [(False, 2), (False, 4), (True, 6)]


@pytest.mark.parametrize(("limit", "expected"), [(math.inf, 7), (3, 3), (7, 7), (9, 7), (0, 0)])
def test_the_last_batch_is_found_by_looking_ahead_where_there_is_no_length(limit, expected):
    """The end is known at the last batch, whether the limit or the loader makes it."""
    batches = EpochBatches(DataLoader(Stream(), batch_size=1), limit, resumable=False)
    batches.start()

    flags = [batches.is_last for _ in batches]

    assert flags == [False] * (expected - 1) + [True] * min(expected, 1)


def test_an_epoch_may_be_stopped():
    """No further batch comes, whatever the loader holds."""
    batches = EpochBatches([1, 2, 3], math.inf, resumable=False)
    batches.start()

    found = []
    for batch in batches:
        found.append(batch)
        if batch == 2:
            batches.stop()

    assert found == [1, 2]


def test_a_loader_that_ends_before_its_length_ends_the_epoch():
    """The length was a promise; what comes counts."""

    class Short:
        def __len__(self):
            return 5

        def __iter__(self):
            return iter([1, 2])

    batches = EpochBatches(Short(), math.inf, resumable=True)
    batches.start()

    assert list(batches) == [1, 2]
    assert not batches.is_last


def test_resuming_with_fewer_batches_than_were_read_is_an_error():
    """The message names both numbers."""
    batches = EpochBatches(seeded(plain), math.inf, resumable=True)
    batches.start()
    read(batches, 4)
    state = batches.state_dict()
    shorter = EpochBatches(DataLoader(Augmented(4), batch_size=2, shuffle=True), math.inf, resumable=True)

    with pytest.raises(CheckpointError, match=r"after batch 4 of an epoch.*ended after 2 batches"):
        shorter.resume(state)


def test_the_position_of_an_epoch_that_was_not_recorded_is_an_error():
    """Nothing could be resumed from it."""
    batches = EpochBatches([1, 2], math.inf, resumable=False)
    batches.start()

    with pytest.raises(CheckpointError, match="resumable=True"):
        batches.state_dict()


def test_a_sampler_that_draws_for_each_sample_from_the_global_generators_is_warned_of():
    """The order that training's own draws led to cannot be had again."""

    class Late(Sampler):
        def __len__(self):
            return 8

        def __iter__(self):
            for _ in range(8):
                yield int(torch.randint(8, ()))

    batches = EpochBatches(DataLoader(Augmented(8), sampler=Late()), math.inf, resumable=True)
    batches.start()
    read(batches, 4)
    resumed = EpochBatches(DataLoader(Augmented(8), sampler=Late()), math.inf, resumable=True)

    with pytest.warns(UserWarning, match="`Late` draws from the global random generators"):
        resumed.resume(batches.state_dict())


def test_other_generators_than_were_saved_are_warned_of():
    """They are left alone, and the user learns that the order differs."""
    batches = EpochBatches(seeded(own_generator), math.inf, resumable=True)
    batches.start()
    resumed = EpochBatches(plain(), math.inf, resumable=True)

    with pytest.warns(UserWarning, match=r"the states of 3 random generators.*there are 0 now"):
        resumed.resume(batches.state_dict())


def test_persistent_workers_are_warned_of_when_resuming():
    """Their own draws in earlier epochs are not known."""
    loader = DataLoader(Augmented(8), batch_size=2, num_workers=1, persistent_workers=True)
    batches = EpochBatches(loader, math.inf, resumable=True)
    batches.start()
    read(batches, 1)

    with pytest.warns(UserWarning, match="persistent_workers=False"):
        batches.resume(batches.state_dict())


def test_the_shape_of_several_loaders_is_kept():
    """A batch of a dict of loaders is a dict."""
    loader = CombinedLoader({"a": [1, 2], "b": [3]}, "max_size_cycle")
    batches = EpochBatches(loader, math.inf, resumable=True)
    batches.start()

    assert list(batches) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


def test_a_single_loader_in_a_combined_one_is_read_directly():
    """Its batches come as they are, without an index."""
    loader = CombinedLoader([[1, 2]], "max_size_cycle")
    lone = CombinedLoader(DataLoader([1, 2]), "max_size_cycle")
    batches, lone_batches = (EpochBatches(each, math.inf, resumable=False) for each in (loader, lone))
    batches.start()
    lone_batches.start()

    assert list(batches) == [[1], [2]]
    assert [int(batch) for batch in lone_batches] == [1, 2]
