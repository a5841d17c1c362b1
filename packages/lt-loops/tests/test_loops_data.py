"""Where loaders come from, how much of them is read, and what is changed on them."""

import math
import os

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from lt_core.combined_loader import CombinedLoader
from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError
from lt_core.module import LightningModule
from lt_core.rank_zero import PossibleUserWarning
from lt_core.seed import pl_worker_init_function
from lt_loops.data import prepare
from lt_loops.data.limits import batch_counts, check_log_interval, check_val_batches, limited_count, loader_size
from lt_loops.data.loader_copy import with_sampler
from lt_loops.data.prepare import prepare_loaders
from lt_loops.data.samplers import set_epoch
from lt_loops.data.source import DataSource, combine

DATA = list(range(10))


class Model(LightningModule):
    pass


class WithLoaders(LightningModule):
    loaders = "module"

    def train_dataloader(self):
        return self.loaders

    val_dataloader = train_dataloader
    predict_dataloader = train_dataloader


class WithData(DataHooks):
    loaders = ("datamodule",)

    def train_dataloader(self):
        return self.loaders


class Endless(IterableDataset):
    def __iter__(self):
        yield from DATA


def returning(loaders):
    model = WithLoaders()
    model.loaders = loaders
    return model


# -- where they come from


def test_what_is_passed_wins_over_the_data_module_and_that_over_the_module():
    """And the module is asked where the data module has no such method."""
    model, data = returning([[1]]), WithData()

    assert DataSource("train", model, loaders=[[2]], datamodule=data).request() == [[2]]
    assert DataSource("train", model, datamodule=data).request() == ("datamodule",)
    assert DataSource("val", model, datamodule=data).request() == [[1]]
    assert DataSource("test", model, datamodule=data).is_defined() is False


def test_a_method_is_called_through_what_the_trainer_gives():
    """For profilers and the name of the running hook."""
    called = []

    def call(name, method):
        called.append(name)
        return method()

    assert DataSource("train", returning([[1]])).request(call) == [[1]]
    assert called == ["train_dataloader"]


@pytest.mark.parametrize("prefix", ["train", "predict"])
def test_no_loader_is_an_error_that_says_where_to_put_one(prefix):
    """By argument, data module or method."""
    with pytest.raises(MisconfigurationException, match=rf"no \w+ data.*def {prefix}_dataloader\(self\)` on `Model`"):
        DataSource(prefix, Model()).request()


def test_a_forgotten_return_is_an_error_where_data_is_needed():
    """Validation does without."""
    assert DataSource("val", returning(None)).request() is None
    with pytest.raises(
        MisconfigurationException, match=r"`WithLoaders.train_dataloader` returned None.*`return` missing"
    ):
        DataSource("train", returning(None)).request()


@pytest.mark.parametrize("wrong", [3, "text", [[1], 4], {"a": None}, DataLoader])
def test_what_is_no_loader_is_a_type_error_that_names_its_origin(wrong):
    """The method, or the argument."""
    with pytest.raises(TypeError, match=r"(?s)`WithLoaders.train_dataloader` returned.*DataLoader\(dataset"):
        DataSource("train", returning(wrong)).request()
    with pytest.raises(TypeError, match=r"(?s)`trainer.fit\(model, train_loader\)` got"):
        DataSource("train", Model(), loaders=wrong).request()


def test_loaders_are_combined_as_the_stage_reads_them():
    """A combined loader is kept, unless its mode cannot be used."""
    own = CombinedLoader([[1]], "min_size")

    assert combine([[1]], "train").mode == "max_size_cycle"
    assert combine([[1]], "predict").mode == "sequential"
    assert combine(own, "val") is own
    with pytest.raises(ValueError, match=r"mode='sequential'.*ConcatDataset"):
        combine(CombinedLoader([[1]], "sequential"), "train")
    with pytest.raises(ValueError, match=r"mode='min_size'. Expected 'sequential'"):
        combine(own, "predict")


# -- how much is read


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [(10, 1.0, 10), (10, 1, 1), (10, 0.35, 3), (10, 20, 10), (10, 0, 0), (10, 0.0, 0), (math.inf, 1.0, math.inf)]
    + [(math.inf, 5, 5), (math.inf, 0.0, 0), (0, 0.5, 0), (0, 3, 0)],
)
def test_a_limit_is_a_count_or_a_fraction(size, limit, expected):
    """An int counts, a float is a share."""
    assert limited_count(size, limit, "train") == expected


def test_a_fraction_of_an_unknown_length_is_an_error():
    """A number of batches is what works."""
    with pytest.raises(MisconfigurationException, match=r"limit_val_batches=0.5.*no length.*limit_val_batches=100"):
        limited_count(math.inf, 0.5, "val")


def test_a_fraction_below_one_batch_is_an_error_with_the_least_that_works():
    """The suggested fraction works."""
    with pytest.raises(MisconfigurationException, match=r"Write `limit_test_batches=0.125`"):
        limited_count(8, 0.1, "test")

    assert limited_count(8, 0.125, "test") == 1


def test_an_empty_loader_is_warned_of():
    """It usually is a mistake."""
    with pytest.warns(UserWarning, match=r"train loader number 1 .list. has no batches.*drop_last"):
        assert batch_counts([DATA, []], 1.0, "train") == [10, 0]


def test_a_loader_without_a_length_is_of_unknown_size():
    """However it says so."""
    assert loader_size(DataLoader(Endless())) == math.inf
    assert loader_size(iter(DATA)) == math.inf
    assert loader_size(DataLoader(DATA, batch_size=4)) == 3
    assert loader_size(CombinedLoader([[1, 2], [3]], "max_size")) == 2


@pytest.mark.parametrize(
    ("interval", "batches", "every_n_epoch", "expected"),
    [(3, 10, 1, 3), (10, 10, 1, 10), (0.5, 10, 1, 5), (1.0, 10, 1, 10), (0.01, 10, 1, 1), (15, 10, None, 15)]
    + [(None, 10, 1, None)],
)
def test_validation_runs_after_a_number_of_batches(interval, batches, every_n_epoch, expected):
    """A fraction is rounded down, to at least one."""
    options = {"is_sized": True, "check_val_every_n_epoch": every_n_epoch, "limit_val_batches": 1.0}

    assert check_val_batches(interval, batches, **options) == expected


def test_an_interval_longer_than_the_epoch_is_an_error_unless_nothing_is_validated():
    """It would never validate."""
    options = {"is_sized": True, "check_val_every_n_epoch": 1}

    with pytest.raises(ValueError, match="`val_check_interval=11` is more than the 10 training batches"):
        check_val_batches(11, 10, limit_val_batches=1.0, **options)
    assert check_val_batches(11, 10, limit_val_batches=0, **options) == 11


def test_without_a_length_validation_runs_at_the_end_or_after_a_number_of_batches():
    """A fraction cannot be told."""
    options = {"is_sized": False, "check_val_every_n_epoch": 1, "limit_val_batches": 1.0}

    assert check_val_batches(1.0, math.inf, **options) is None
    assert check_val_batches(1.0, 5, **options) is None
    assert check_val_batches(7, math.inf, **options) == 7
    with pytest.raises(MisconfigurationException, match=r"val_check_interval=0.5.*no length"):
        check_val_batches(0.5, math.inf, **options)


def test_an_epoch_shorter_than_the_log_interval_is_warned_of():
    """Equal is long enough, and 0 means never."""
    check_log_interval(50, 50)
    check_log_interval(5, 0)
    with pytest.warns(PossibleUserWarning, match=r"log_every_n_steps=50.*the 5 training batches"):
        check_log_interval(5, 50)


# -- what is changed


def prepared(loader, prefix, **options):
    combined = combine(loader, prefix)
    prepare_loaders(combined, prefix, **options)
    return combined.flattened[0]


def order(loader):
    return [number for batch in loader for number in torch.as_tensor(batch).reshape(-1).tolist()]


class Numbers:
    """An iterable that is no DataLoader, and would shuffle for all anybody knows."""

    def __init__(self):
        self.read = []

    def __iter__(self):
        self.read.append(True)
        return iter(DATA)


class Own(DataLoader):
    """A loader whose constructor says nothing about torch's arguments."""

    def __init__(self, name):
        super().__init__(DATA, batch_size=3, shuffle=True, drop_last=True)
        self.name = name


def test_a_training_loader_is_left_as_it_is():
    """The very same object is read."""
    loader = DataLoader(DATA, shuffle=True)

    assert prepared(loader, "train") is loader


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(DATA, batch_size=3, shuffle=True),
        lambda: DataLoader(DATA, batch_size=None, shuffle=True),
        lambda: DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=False)),
        lambda: DataLoader(DATA, sampler=WeightedRandomSampler([1.0] * 10, 10)),
    ],
)
def test_overfitting_reads_in_order(make):
    """The replacement is batched as the original, which still shuffles."""
    loader = make()

    with pytest.warns(UserWarning, match="`overfit_batches` is on"):
        found = prepared(loader, "train", overfit=True)

    assert order(found) == DATA
    assert len(found) == len(loader)
    assert loader.sampler is not found.sampler or loader.batch_sampler is not found.batch_sampler


def test_overfitting_keeps_a_subset_a_subset():
    """In the order of its indices."""
    with pytest.warns(UserWarning, match="SubsetRandomSampler"):
        found = prepared(DataLoader(DATA, sampler=SubsetRandomSampler([4, 2, 7])), "val", overfit=True)

    assert order(found) == [4, 2, 7]


def test_overfitting_leaves_alone_what_does_not_shuffle():
    """Sequential loaders, streams, other iterables, other stages."""
    sequential, stream = DataLoader(DATA), DataLoader(Endless())

    assert prepared(sequential, "train", overfit=True) is sequential
    assert prepared(stream, "train", overfit=True) is stream
    assert prepared(Numbers(), "train", overfit=True).read == []


def test_a_loader_of_another_class_is_replaced_by_one_of_its_class():
    """Whatever its constructor takes, and with all that was set on it."""
    loader = Own("mine")
    loader.note = "later"

    found = with_sampler(loader, SequentialSampler(DATA))

    assert isinstance(found, Own)
    assert (found.name, found.note, found.drop_last) == ("mine", "later", True)
    assert order(found) == DATA[:9]
    assert isinstance(loader.sampler, RandomSampler)


def test_a_batch_sampler_that_makes_the_order_itself_is_an_error():
    """It has no sampler to be replaced."""

    class Batches(Sampler):
        def __iter__(self):
            return iter([[1, 2], [3, 4]])

        def __len__(self):
            return 2

    with pytest.raises(MisconfigurationTypeError, match=r"`Batches` makes the order itself.*BatchSampler"):
        prepared(DataLoader(DATA, batch_sampler=Batches()), "train", overfit=True)


def test_prediction_keeps_the_last_batch():
    """Each sample is predicted; the user's loader is not changed."""
    loader = DataLoader(DATA, batch_size=4, drop_last=True)

    found = prepared(loader, "predict")

    assert order(found) == DATA
    assert len(found) == 3
    assert len(loader) == 2


@pytest.mark.parametrize("prefix", ["val", "test", "predict"])
def test_shuffling_where_results_are_compared_is_warned_of(prefix):
    """The order of results differs from run to run."""
    with pytest.warns(PossibleUserWarning, match=f"The {prefix} loader shuffles"):
        prepared(DataLoader(DATA, shuffle=True), prefix)


def test_workers_get_seeds_when_asked_for(monkeypatch):
    """Unless the loader sees to it."""
    mine = lambda worker_id: None  # noqa: E731
    own, plain, off = DataLoader(DATA, worker_init_fn=mine), DataLoader(DATA), DataLoader(DATA)

    monkeypatch.setenv("PL_SEED_WORKERS", "1")
    prepared(own, "train", rank=3)
    prepared(plain, "train", rank=3)
    monkeypatch.setenv("PL_SEED_WORKERS", "0")
    prepared(off, "train")

    assert own.worker_init_fn is mine
    assert plain.worker_init_fn.func is pl_worker_init_function
    assert plain.worker_init_fn.keywords == {"rank": 3}
    assert off.worker_init_fn is None


def test_reloading_persistent_pinning_workers_is_warned_of():
    """It is known to hang."""
    loader = DataLoader(DATA, num_workers=1, persistent_workers=True, pin_memory=True)

    with pytest.warns(PossibleUserWarning, match="pin_memory=False"):
        prepared(loader, "train", reloads=True)


def test_the_hint_about_workers_is_given_once(monkeypatch):
    """It is advice, not a warning, and names a number that fits the machine."""
    monkeypatch.setattr(prepare, "_hints", type(prepare._hints)())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    for prefix in ("train", "val", "train"):
        prepared(DataLoader(DATA), prefix)

    (hint,) = prepare._hints
    assert "The train loader has no workers" in hint
    assert "up to 7" in hint


def test_samplers_are_told_the_epoch():
    """Wherever they sit; others are left alone."""
    sampler, inner = (DistributedSampler(DATA, num_replicas=1, rank=0) for _ in range(2))
    loaders = [DataLoader(DATA, sampler=sampler), DataLoader(DATA, batch_sampler=BatchSampler(inner, 2, False)), [1, 2]]

    set_epoch(loaders, 4)

    assert (sampler.epoch, inner.epoch) == (4, 4)


def test_tensors_are_batched_by_a_replaced_loader_as_before():
    """The collate function and the data set are those of the original."""
    loader = DataLoader(torch.arange(6.0), batch_size=2, shuffle=True, collate_fn=lambda items: torch.stack(items) * 10)

    assert order(with_sampler(loader, [0, 1, 2, 3])) == [0.0, 10.0, 20.0, 30.0]
