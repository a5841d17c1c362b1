"""FrameDataset and FrameLoader: the rules for columns, whole batches at once, order and position."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, SequentialSampler, SubsetRandomSampler

from lt_core.errors import CheckpointError, MisconfigurationException
from lt_data import FrameDataset, FrameLoader


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "price": np.array([1.5, 2.5, 3.5, 4.5], dtype="float64"),
            "count": np.array([1, 2, 3, 4], dtype="int32"),
            "open": [True, False, True, False],
            "kind": pd.Categorical(["x", "y", "x", "z"]),
            "label": [0, 1, 1, 0],
            "gain": [0.1, 0.2, 0.3, 0.4],
        }
    )


def table(rows: int = 10) -> FrameDataset:
    return FrameDataset(torch.arange(rows * 3.0).reshape(rows, 3), targets=2)


def test_columns_become_tensors_by_the_stated_rules() -> None:
    """Numbers and truth values float32, categories codes of their own, whole-number targets int64."""
    data = FrameDataset(frame(), ["price", "count", "open", "kind"], "label")

    assert data.features.tolist() == [[1.5, 1, 1], [2.5, 2, 0], [3.5, 3, 1], [4.5, 4, 0]]
    assert (data.features.dtype, data.features.is_contiguous()) == (torch.float32, True)
    assert data.codes is not None
    assert data.codes.tolist() == [[0], [1], [0], [2]]
    assert data.categories == {"kind": ["x", "y", "z"]}
    assert data.targets is not None
    assert data.targets.dtype == torch.int64
    assert data.feature_names == ["price", "count", "open"]
    (numbers, codes), label = data[1]
    assert (numbers.tolist(), codes.tolist(), int(label)) == ([2.5, 2.0, 0.0], [1], 1)


def test_targets_keep_the_shape_in_which_they_are_named() -> None:
    """A name gives one dimension, a list two; fractions make all of them floating; values may be given as such."""
    data = frame()

    one = FrameDataset(data, ["price"], "gain").targets
    several = FrameDataset(data, ["price"], ["label", "gain"]).targets
    given_values = FrameDataset(data[["price"]], targets=data["gain"]).targets

    assert one is not None
    assert one.shape == (4,)
    assert several is not None
    assert several.shape == (4, 2)
    assert several.dtype == torch.float32
    assert given_values is not None
    assert torch.equal(given_values, one)
    labels = FrameDataset(data, ["price"], "kind").targets
    assert labels is not None
    assert labels.tolist() == [0, 1, 0, 2]
    assert FrameDataset(data.drop(columns=["kind"]), targets="gain").feature_names == [
        "price",
        "count",
        "open",
        "label",
    ]


def test_missing_values_do_what_was_said() -> None:
    """An error by default; kept as NaN and a code of its own; or a number in their place."""
    data = frame()
    data.loc[1, "price"] = np.nan
    data.loc[2, "kind"] = None
    data["count"] = data["count"].astype("Int64")
    data.loc[0, "count"] = pd.NA

    kept = FrameDataset(data, ["price", "count", "kind"], missing="keep")
    filled = FrameDataset(data, ["price", "count"], missing=-1)

    with pytest.raises(ValueError, match=r"2 columns of `features`: 'price' \(1\), 'count' \(1\).*missing='keep'"):
        FrameDataset(data, ["price", "count"])
    with pytest.raises(ValueError, match=r"'kind' of `features` misses 1"):
        FrameDataset(data, ["kind"])
    assert kept.features.isnan().tolist() == [[False, True], [True, False], [False, False], [False, False]]
    assert kept.codes is not None
    assert kept.codes.tolist() == [[0], [1], [3], [2]]
    assert kept.categories["kind"] == ["x", "y", "z", None]
    assert filled.features.tolist() == [[1.5, -1], [-1, 2], [3.5, 3], [4.5, 4]]


def test_arrays_and_tensors_are_tables_too() -> None:
    """Columns are numbered; types that are floating stay; the data are those of a frame with the same numbers."""
    array = np.arange(12, dtype="float64").reshape(4, 3)

    of_array = FrameDataset(array, [0, 2], 1)
    of_tensor = FrameDataset(torch.from_numpy(array), features=[0, 2], targets=[1])
    of_values = FrameDataset(array[:, :2], targets=array[:, 2] > 4)

    assert of_array.features.dtype == torch.float64
    assert torch.equal(of_array.features, of_tensor.features)
    assert of_tensor.targets is not None
    assert of_tensor.targets.shape == (4, 1)
    assert of_values.targets is not None
    assert of_values.targets.tolist() == [0, 1, 1, 1]
    assert FrameDataset(np.array([[1, 2]]), dtype=torch.float64).features.dtype == torch.float64


def test_the_data_do_not_change_with_the_frame() -> None:
    """The tensors have memory of their own."""
    source = frame()[["price", "gain"]].astype("float32")
    data = FrameDataset(source, ["price"], "gain")

    source.loc[:, "price"] = 0.0
    source.loc[:, "gain"] = 0.0

    assert data.features.sum() == 12
    assert data.targets is not None
    assert data.targets.sum() > 0


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        ({}, {"features": ["prise"]}, ValueError, r"no such column.*Did you mean `price`"),
        ({}, {"features": ["price"], "targets": "gian"}, ValueError, "`targets` names"),
        ({}, {"features": ["price", "price"]}, ValueError, "there 2 times"),
        ({}, {"features": ["price", "gain"], "targets": "gain"}, ValueError, "given the answer"),
        ({"t": ["a", "b", "c", "d"]}, {"features": ["t"]}, TypeError, r"'t'.*astype\('category'\)"),
        ({"t": [[1], [2], [3], [4]]}, {"features": ["t"]}, TypeError, "'t'.*Expected numbers"),
        ({"t": pd.date_range("2020", periods=4)}, {"features": ["t"]}, TypeError, "dayofyear"),
        ({"t": pd.to_timedelta([1, 2, 3, 4])}, {"features": ["t"]}, TypeError, "total_seconds"),
        ({"t": [2**40, 0, 0, 0]}, {"features": ["t"]}, ValueError, r"dtype=torch\.float64"),
        ({"t": [1.0, None, 3.0, 4.0]}, {"features": ["price"], "targets": "t"}, ValueError, "'t' misses 1 of 4.*row 1"),
        ({}, {"features": ["price"], "targets": np.zeros(3)}, ValueError, "3 targets for 4 rows"),
        ({}, {"features": ["price"], "targets": np.array([0, np.nan, 0, 0])}, ValueError, "1 targets are NaN"),
        ({}, {"features": ["price"], "targets": ["kind", "gain"]}, TypeError, "'kind' is categorical"),
        ({}, {"features": ["price"], "missing": "drop"}, ValueError, "missing='drop'"),
        ({}, {"features": ["price"], "missing_targets": 0}, ValueError, "cannot be made up"),
        ({}, {"features": ["price"], "dtype": torch.int64}, TypeError, "floating point type"),
    ],
)
def test_wrong_columns_are_named(change: Any, arguments: Any, error: type[Exception], message: str) -> None:
    """With what to write instead."""
    with pytest.raises(error, match=message):
        FrameDataset(frame().assign(**change), **arguments)


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (torch.zeros(3), {}, r"shape \(3,\)"),
        (np.array([["a"]], dtype=object), {}, "no table of numbers"),
        (torch.zeros(3, 2), {"features": [2]}, "column 2 of an array with 2 columns"),
        (torch.zeros(3, 2), {"targets": "x"}, "column 'x'"),
        (torch.zeros(3, 2), {"features": [0], "targets": 0}, "given the answer"),
        (torch.tensor([[float("nan")]]), {}, "1 features are NaN"),
        (torch.tensor([[2**30 + 1]]), {}, "does not hold exactly"),
        (torch.zeros(3, 2), {"targets": torch.zeros(3, device="meta", dtype=torch.int64)}, "one device for both"),
    ],
)
def test_wrong_arrays_are_refused(data: Any, arguments: Any, message: str) -> None:
    """With what to write instead."""
    with pytest.raises(MisconfigurationException, match=message):
        FrameDataset(data, **arguments)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_plain_data_loader_takes_whole_batches(workers: int) -> None:
    """Torch's DataLoader gathers each batch at once, and gets what it would from single rows."""
    data = FrameDataset(frame(), ["price", "kind"], "gain")

    (numbers, codes), gains = next(iter(DataLoader(data, batch_size=3, num_workers=workers)))

    assert numbers.tolist() == [[1.5], [2.5], [3.5]]
    assert codes.tolist() == [[0], [1], [0]]
    assert gains.shape == (3,)


def test_a_collate_function_of_the_users_gets_single_samples() -> None:
    """A gathered batch is also the sequence of its samples; rows put together by others are collated as usual."""
    data = table(5)

    seen = list(DataLoader(data, batch_size=2, collate_fn=lambda samples: [float(target) for _, target in samples]))
    by_hand = next(iter(DataLoader([data[0], data[3]], batch_size=2)))

    assert seen == [[2, 5], [8, 11], [14]]
    assert by_hand[1].tolist() == [2, 11]
    gathered = data.__getitems__([1, 2, 4])
    assert [float(target) for _, target in gathered[1:]] == [8, 14]
    assert float(gathered[-1][1]) == 14
    with pytest.raises(IndexError):
        gathered[3]
    with pytest.raises(IndexError, match="5 rows"):
        data[5]
    assert len(list(data)) == 5


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 40), size=st.integers(1, 45), shuffle=st.booleans(), drop=st.booleans())
def test_each_row_comes_once_in_batches_of_the_size(rows: int, size: int, shuffle: bool, drop: bool) -> None:
    """Features and targets stay together; the length is the number of batches; only drop_last leaves rows out."""
    loader = FrameLoader(table(rows), size, shuffle=shuffle, drop_last=drop)

    batches = list(loader)

    assert len(batches) == len(loader) == (rows // size if drop else -(-rows // size))
    assert all(torch.equal(features[:, 1] + 1, targets) for features, targets in batches)
    seen = [int(target) // 3 for _, targets in batches for target in targets]
    assert len(set(seen)) == len(seen) == (rows // size * size if drop else rows)
    if not shuffle:
        assert seen == sorted(seen)


def test_all_forms_of_batches_are_read() -> None:
    """Without targets, with codes, with both."""
    data = frame()
    features = next(iter(FrameLoader(FrameDataset(data, ["price"]), 4)))
    coded = next(iter(FrameLoader(FrameDataset(data, ["price", "kind"]), 4, shuffle=True)))
    (numbers, codes), gain = next(iter(FrameLoader(FrameDataset(data, ["price", "kind"], "gain"), 4)))

    assert features.tolist() == numbers.tolist() == [[1.5], [2.5], [3.5], [4.5]]
    assert sorted(coded[1].flatten().tolist()) == sorted(codes.flatten().tolist()) == [0, 0, 1, 2]
    assert gain.shape == (4,)


def targets_of(loader: Any) -> list[list[float]]:
    return [targets.tolist() for _, targets in loader]


def test_the_order_follows_from_seed_and_epoch() -> None:
    """Not from what the process drew before; epochs and seeds differ; set_epoch says which comes."""
    loader = FrameLoader(table(), 4, shuffle=True, seed=1)
    first, second = targets_of(loader), targets_of(loader)
    torch.manual_seed(5)
    again = FrameLoader(table(), 4, shuffle=True, seed=1)
    again.sampler.set_epoch(1)

    assert targets_of(again) == second != first
    assert targets_of(FrameLoader(table(), 4, shuffle=True, seed=2)) != first


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_loader_goes_on_at_any_batch(shuffle: bool, done: int) -> None:
    """What was handed out does not come again, and the epochs after it are those of an uninterrupted run."""
    loader = FrameLoader(table(), 4, shuffle=shuffle)
    _ = targets_of(loader)
    passing = iter(loader)
    for _number in range(done):
        next(passing)
    state = copy.deepcopy(loader.state_dict())
    rest = targets_of(passing)
    following = targets_of(loader)

    resumed = FrameLoader(table(), 4, shuffle=shuffle)
    resumed.load_state_dict(state)

    assert len(resumed) == 3
    assert (targets_of(resumed) if done < 3 else []) == rest
    assert targets_of(resumed) == following


def test_a_position_may_go_on_in_batches_of_another_size() -> None:
    """The samples that were handed out count, not the batches."""
    loader = FrameLoader(table(), 4, shuffle=True)
    next(iter(loader))
    whole = [target for batch in targets_of(FrameLoader(table(), 4, shuffle=True)) for target in batch]

    other = FrameLoader(table(), 2, shuffle=True)
    other.load_state_dict(loader.state_dict())

    assert [target for batch in targets_of(other) for target in batch] == whole[4:]
    with pytest.raises(CheckpointError, match="samples=1"):
        FrameLoader(table(), 3, shuffle=True).load_state_dict(loader.state_dict())
    with pytest.raises(CheckpointError, match="seed=0, and it has seed=1"):
        FrameLoader(table(), 4, shuffle=True, seed=1).load_state_dict(loader.state_dict())
    with pytest.raises(CheckpointError, match="size=10, and it has size=9"):
        FrameLoader(table(9), 4, shuffle=True).load_state_dict(loader.state_dict())


def test_a_sampler_of_the_users_makes_the_order() -> None:
    """Its rows are read, and no others."""
    loader = FrameLoader(table(), 2, sampler=SequentialSampler(range(3)))

    assert targets_of(loader) == [[2, 5], [8]]
    assert len(loader) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"batch_size": 2.5}, ValueError, "batch_size=2.5"),
        ({"shuffle": True, "sampler": SubsetRandomSampler([1])}, ValueError, "Leave `shuffle` out"),
        ({"shuffle_on": "gpu"}, ValueError, "'cpu' or 'device'"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"dataset": [1, 2]}, TypeError, "Expected a `FrameDataset`"),
    ],
)
def test_wrong_arguments_of_the_loader_are_named(arguments: Any, error: type[Exception], message: str) -> None:
    """With what to write instead."""
    with pytest.raises(error, match=message):
        FrameLoader(**{"dataset": table(), **arguments})


def test_a_length_that_changes_is_an_error() -> None:
    """Instead of an order that misses rows."""
    data = table()
    loader = FrameLoader(data, 4)
    data.features, data.targets = data.features[:5], data.targets[:5]

    with pytest.raises(MisconfigurationException, match="had 10 samples and have 5 now"):
        iter(loader)


def count_calls(run: Any) -> int:
    """Calls of Python functions and of C functions that a run makes."""
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


def test_a_batch_costs_a_few_calls_whatever_its_size() -> None:
    """No Python for each row: the calls of an epoch are those of its batches, a handful each."""
    data = FrameDataset(torch.zeros(8192, 3), targets=torch.zeros(8192))
    costs = {}
    for size in (64, 4096):
        loader = FrameLoader(data, size, shuffle=True)
        costs[size] = count_calls(lambda loader=loader: [None for _ in loader])

    assert costs[64] - costs[4096] <= 3 * (8192 // 64 - 2)
    assert costs[4096] < 200


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shuffle_on", ["cpu", "device"])
def test_data_lie_and_are_shuffled_on_the_device(shuffle_on: str) -> None:
    """Batches are made there; an order drawn on the host is that of the host."""
    loader = FrameLoader(table(), 4, shuffle=True, device="cuda", shuffle_on=shuffle_on)

    batches = list(loader)

    assert all(features.is_cuda and targets.is_cuda for features, targets in batches)
    seen = [target for _, targets in batches for target in targets.tolist()]
    assert sorted(seen) == [3.0 * row + 2 for row in range(10)]
    host = [target for batch in targets_of(FrameLoader(table(), 4, shuffle=True)) for target in batch]
    assert (seen == host) is (shuffle_on == "cpu")
