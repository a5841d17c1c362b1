"""PurgedTimeSeriesSplit: dates stay whole, gaps are kept, windows grow or roll; wrong data and arguments are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_core.errors import MisconfigurationException
from lt_data import PurgedTimeSeriesSplit, folds


@settings(max_examples=150, deadline=None)
@given(
    dates=st.integers(2, 40),
    splits=st.integers(2, 6),
    purge=st.integers(0, 4),
    embargo=st.integers(0, 4),
    window=st.sampled_from(["expanding", "rolling", "around"]),
    seed=st.integers(0, 1000),
)
def test_no_fold_leaks_over_its_gap(dates: int, splits: int, purge: int, embargo: int, window: Any, seed: int) -> None:
    """Dates are whole; training keeps its distance before and after; blocks are disjoint, and cover all if around."""
    generator = np.random.default_rng(seed)
    days = generator.permutation(np.concatenate([np.arange(dates), generator.integers(0, dates, 2 * dates)]))
    splitter = PurgedTimeSeriesSplit(splits, purge=purge, embargo=embargo, window=window)
    try:
        pairs = list(splitter.split(days, groups=days))
    except MisconfigurationException as error:
        assert "too few" in str(error)  # noqa: PT017 - whether it is raised depends on the example
        return

    assert len(pairs) == splits == splitter.get_n_splits()
    seen: set[int] = set()
    for train, val in pairs:
        trained, validated = set(days[train].tolist()), set(days[val].tolist())
        assert sorted(train) == list(train)
        assert all(set(np.flatnonzero(days == day)) <= set(train) for day in trained)
        assert all(set(np.flatnonzero(days == day)) <= set(val) for day in validated)
        first, last = min(validated), max(validated)
        assert not trained & set(range(first - purge, last + 1))
        after = {day for day in trained if day > last}
        assert all(day > last + purge + embargo for day in after)
        assert window == "around" or not after
        assert not seen & validated
        seen |= validated
    assert window != "around" or seen == set(range(dates))


def dates_of(splitter: PurgedTimeSeriesSplit, count: int) -> list[tuple[list[int], list[int]]]:
    return [(list(train), list(val)) for train, val in splitter.split(range(count), groups=list(range(count)))]


def test_an_expanding_window_grows_and_a_rolling_one_moves() -> None:
    """With one row a date the row numbers are the dates."""
    expanding = dates_of(PurgedTimeSeriesSplit(2, purge=1, val_size=2), 9)
    rolling = dates_of(PurgedTimeSeriesSplit(2, purge=1, val_size=2, window="rolling", train_size=3), 9)

    assert expanding == [([0, 1, 2, 3], [5, 6]), ([0, 1, 2, 3, 4, 5], [7, 8])]
    assert rolling == [([1, 2, 3], [5, 6]), ([3, 4, 5], [7, 8])]


def test_an_embargo_follows_earlier_blocks_and_the_own_one_where_training_comes_after() -> None:
    """In a window that comes before its block, later folds leave out what follows earlier blocks."""
    expanding = dates_of(PurgedTimeSeriesSplit(3, embargo=1, val_size=2), 8)
    around = dates_of(PurgedTimeSeriesSplit(3, purge=1, embargo=1, window="around"), 9)

    assert expanding == [([0, 1], [2, 3]), ([0, 1, 2, 3], [4, 5]), ([0, 1, 2, 3, 5], [6, 7])]
    assert around == [([5, 6, 7, 8], [0, 1, 2]), ([0, 1, 8], [3, 4, 5]), ([0, 1, 2, 3, 4], [6, 7, 8])]


@pytest.mark.parametrize(
    "dates",
    [
        pd.Series(pd.date_range("2020-01-01", periods=6)),
        pd.date_range("2020-01-01", periods=6).to_numpy(),
        torch.arange(6),
        list("abcdef"),
        np.arange(6) / 7,
    ],
    ids=lambda dates: type(dates).__name__,
)
def test_dates_may_be_anything_with_an_order(dates: Any) -> None:
    """Times, numbers and text."""
    made = folds(torch.arange(6), PurgedTimeSeriesSplit(2), groups=dates)

    assert [fold.val_indices.tolist() for fold in made] == [[2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_splits": 0}, "n_splits=0"),
        ({"n_splits": 1, "window": "around"}, "n_splits=1"),
        ({"purge": -1}, "purge=-1"),
        ({"embargo": 0.5}, "embargo=0.5"),
        ({"window": "sliding"}, "window='sliding'"),
        ({"train_size": 3}, "with a rolling window only"),
        ({"val_size": 3, "window": "around"}, "with window='around'"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, message: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match=message):
        PurgedTimeSeriesSplit(**arguments)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (None, "none dates for 6 rows"),
        ([1, 2], "2 dates for 6 rows|2 groups for 6 rows"),
        ([0, 1, 2, 3, 4, None], "1 of 6 rows have no date, the first of them row 5"),
        (pd.to_datetime(["2020", None, "2021", "2022", "2023", "2024"]), "row 1"),
        ([0, 0, 0, 0, 1, 1], "2 dates, which is too few"),
    ],
)
def test_dates_that_are_missing_or_too_few_are_refused(groups: Any, message: str) -> None:
    """No row is dropped instead."""
    with pytest.raises(ValueError, match=message):
        folds(range(6), PurgedTimeSeriesSplit(3), groups=groups)
