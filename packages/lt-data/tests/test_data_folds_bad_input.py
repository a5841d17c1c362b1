"""Data, splitters and options that make no folds: each is answered with what to write instead."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
import pytest
import torch
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, WeightedRandomSampler

from lt_core.errors import MisconfigurationException, MissingPackageError
from lt_data import KFoldDataModule, LightningDataModule, folds
from lt_data.optional import require


class Giving:
    """A splitter that gives what it was made with."""

    def __init__(self, *pairs: Any) -> None:
        self.pairs = pairs

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:  # noqa: N803 - scikit-learn's name
        return iter(self.pairs)


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(3))


class NoLoader(LightningDataModule):
    pass


class Forgetful(LightningDataModule):
    def train_dataloader(self) -> Any:
        DataLoader([1, 2])


class OwnLoader(DataLoader[Any]):
    pass


FRAME = pd.DataFrame({"a": [1.0, 2, 3, 4, 5, 6], "y": [0, 1, 0, 1, 0, 1], "t": list("uvwxyz")})
SIX = list(range(6))


@pytest.mark.parametrize(
    ("data", "splitter", "options", "message"),
    [
        (SIX, 7, {}, "have 6 rows, and 7 folds.*`splitter=6`"),
        ([range(6), range(2)], 3, {}, "Source 1 of the data has 2 rows"),
        (SIX, 1, {}, "at least 2 folds"),
        (SIX, "five", {}, "splitter='five'"),
        (SIX, None, {}, "splitter=None"),
        (SIX, GroupKFold(2), {"groups": [1, 2]}, "2 groups for 6 rows"),
        (SIX, StratifiedKFold(2), {"y": [1, 2]}, "2 y for 6 rows"),
        (SIX, StratifiedKFold(2), {"y": 3}, "y=3"),
        (SIX, StratifiedKFold(2), {}, r"StratifiedKFold\.split` refused.*y not given.*`folds\(\.\.\., y=labels\)`"),
        (SIX, GroupKFold(2), {}, "groups not given"),
        (SIX, KFold(7), {}, "KFold.split` refused"),
        (SIX, 3, {"groups": SIX}, r"splitter=GroupKFold\(3\)"),
        (SIX, 3, {"y": SIX}, r"splitter=StratifiedKFold\(3\)"),
        (SIX, Giving(([0, 1], [1, 2])), {}, "1 rows are in the training part and in the held-out part"),
        (SIX, Giving(([0, 1], [2, 2])), {}, "Row 2 is 2 times in the held-out part"),
        (SIX, Giving(([0, 1], [6])), {}, "Row 6 is in the held-out part.*from 0 to 5"),
        (SIX, Giving(([0, 1], [-1])), {}, "Row -1"),
        (SIX, Giving(([], [1])), {}, "no rows in the training part"),
        (SIX, Giving(([0.5], [1])), {}, "one-dimensional"),
        (SIX, Giving(("ab", [1])), {}, "one-dimensional"),
        (SIX, Giving(([[0], [2]], [1])), {}, "one-dimensional"),
        (SIX, Giving([0, 1, 2]), {}, "Expected a pair"),
        (SIX, Giving(), {}, "gave no fold"),
        (SIX, Giving(([0, 1, 2], [3, 4]), ([3, 4], [0, 1])), {}, "never validates 2 of 6 rows, the first of them 2"),
        (SIX, Giving(([0], SIX[1:]), (SIX[2:], [0, 1])), {}, "validates 1 rows more than once, the first of them 1"),
        (SIX, 3, {"coverage": "twice"}, "coverage='twice'"),
        (SIX, 3, {"test": 1.5}, "test=1.5"),
        (SIX, 3, {"test": 0.01}, "test=0.01"),
        (SIX, 3, {"test": "last"}, "test='last'"),
        (SIX, 3, {"test": 2}, r"test=\[row\]"),
        (SIX, 3, {"test": [6]}, "Row 6"),
        (SIX, 3, {"test": SIX}, "all 6 rows"),
        (SIX, KFold(3), {"test": 0.5}, "Choose them yourself"),
        (SIX, 2, {"test": "rotate"}, "at least 3 folds"),
        (SIX, 3, {"seed": 1.5}, "seed=1.5"),
        (SIX, 3, {"batch_size": 0}, "batch_size=0"),
        (SIX, 3, {"num_workers": -1}, "num_workers=-1"),
        (SIX, 3, {"features": ["a"]}, "with a frame of pandas only"),
        (SIX, GroupKFold(2), {"groups": "a"}, "only frames have columns"),
        (FRAME, 3, {"features": ["b"]}, "no such column"),
        (FRAME, 3, {"targets": "z"}, "no such column"),
        (FRAME, GroupKFold(2), {"groups": "g", "features": ["a"]}, "`groups` names"),
        (FRAME, 3, {"features": ["a"], "targets": [1, 2, 3, 4, 5, 6]}, "no such column"),
        (FRAME, 3, {"features": ["a"], "targets": FRAME["y"]}, "frame.assign"),
        (FRAME, 3, {"features": ["a"], "eval_data": FRAME}, "eval_data beside a frame"),
        (range(6), 3, {"eval_data": range(5)}, "eval_data with 5 rows"),
        ([range(6), range(6)], 3, {"eval_data": range(6)}, "1 sources as eval_data for 2"),
        ([], 3, {}, "have 0 rows"),
        (Stream(), 3, {}, "stream cannot be parted"),
        (3, 3, {}, "got a int"),
        (NoLoader(), 3, {}, "without `train_dataloader`"),
        (Forgetful(), 3, {}, "returned None"),
        (DataLoader(SIX, sampler=WeightedRandomSampler([1.0] * 6, 6)), 3, {}, "WeightedRandomSampler.*make_loader"),
        (DataLoader(SIX, batch_sampler=BatchSampler(SequentialSampler(SIX), 2, False)), 3, {}, "batch sampler"),
        (OwnLoader(SIX), 3, {}, "class `OwnLoader`"),
    ],
)
def test_what_makes_no_folds_is_named(data: Any, splitter: Any, options: Any, message: str) -> None:
    """With what to write instead; nothing is silently dropped or repeated."""
    data = range(6) if data is SIX else data

    with pytest.raises(MisconfigurationException, match=message):
        folds(data, splitter, **options)


def test_text_in_a_frame_is_an_error_of_the_first_part() -> None:
    """Unless preprocessing makes numbers of it."""
    with pytest.raises(TypeError, match=r"'t'.*astype"):
        _ = folds(FRAME, 3, targets="y")[0].train_dataset


def test_data_that_change_their_length_are_refused() -> None:
    """Rows are known by their numbers."""
    data = torch.utils.data.TensorDataset(torch.arange(6))
    made = folds(data, 3)
    data.tensors = (torch.arange(7),)

    with pytest.raises(MisconfigurationException, match="had 6 rows and has 7 now"):
        _ = made[0].train_dataset


def test_a_source_without_rows_in_a_part_is_named() -> None:
    """A trainer would silently train without it."""
    made = folds([range(3), range(3)], Giving(([0, 1, 2], [3, 4, 5]), ([3, 4, 5], [0, 1, 2])))

    with pytest.raises(MisconfigurationException, match="Source 1 of the data has no row in the train part of fold 0"):
        made[0].train_dataloader()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [((5,), {}, "folds and splitter"), ((), {"seed": 1}, "folds and seed"), ((), {"fold": 3}, "from 0 to 2")],
)
def test_a_k_fold_data_module_takes_folds_or_options(arguments: Any, options: Any, message: str) -> None:
    """Not both; and a fold that is there."""
    with pytest.raises(MisconfigurationException, match=message):
        KFoldDataModule(folds(range(6), 3), *arguments, **options)


def test_nested_folds_take_options_of_their_own_only() -> None:
    """The rest is that of the outer folds."""
    with pytest.raises(TypeError, match=r"'sed'.*Did you mean `seed`"):
        folds(range(6), 3)[0].folds(2, sed=1)


def test_a_missing_extra_is_named_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture needs matplotlib."""
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingPackageError, match=r"pip install 'lt-data\[matplotlib\]'"):
        folds(range(6), 3).plot()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match="scikit-learn"):
        require("sklearn", "this test")
