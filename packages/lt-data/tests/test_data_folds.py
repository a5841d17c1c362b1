"""Folds: which rows go where, over all kinds of data; loaders, data modules, nesting, print and picture."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    LeaveOneOut,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

from lt_core.errors import MisconfigurationException
from lt_core.testing import BoringModel, MiniTrainer
from lt_data import (
    CombinedLoader,
    FoldDataModule,
    FrameDataset,
    FrameLoader,
    KFoldDataModule,
    LightningDataModule,
    PurgedTimeSeriesSplit,
    ResumableDataLoader,
    folds,
)


class Numbers(Dataset[torch.Tensor]):
    """The numbers from `start` on."""

    def __init__(self, size: int, start: int = 0) -> None:
        self.size = size
        self.start = start

    def __getitem__(self, index: int) -> torch.Tensor:
        if not 0 <= index < self.size:
            raise IndexError(index)
        return torch.tensor(self.start + index)

    def __len__(self) -> int:
        return self.size


class Digits(LightningDataModule):
    """A data module whose hooks are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def prepare_data(self) -> None:
        self.called.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.called.append(f"setup {stage}")
        self.train = Numbers(20)

    def teardown(self, stage: str) -> None:
        self.called.append(f"teardown {stage}")

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, batch_size=4, shuffle=True, collate_fn=torch.stack)

    def test_dataloader(self) -> Any:
        return DataLoader(Numbers(3, start=100), batch_size=4)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch * 10


def frame(rows: int = 24) -> pd.DataFrame:
    """Three numbers, a label, a group and a date for each row."""
    numbers = np.arange(rows * 3, dtype="float32").reshape(rows, 3)
    data = pd.DataFrame(numbers, columns=["a", "b", "c"])
    data["label"] = np.arange(rows) % 2
    data["group"] = np.arange(rows) // 3
    data["date"] = pd.date_range("2020-01-01", periods=rows // 2).repeat(2)
    return data


def values(loaders: Any) -> list[int]:
    return [int(value) for batch in loaders for value in batch]


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(2, 60), k=st.integers(2, 12), seed=st.integers(0, 2**63))
def test_a_k_fold_of_any_size_partitions_the_rows(rows: int, k: int, seed: int) -> None:
    """Parts are disjoint and complete, each row is validated once, and sizes differ by one at most."""
    if k > rows:
        with pytest.raises(ValueError, match=rf"{rows} rows, and {k} folds"):
            folds(range(rows), k, seed=seed)
        return

    made = folds(range(rows), k, seed=seed)

    assert torch.equal(made.times_validated, torch.ones(rows, dtype=torch.int64))
    sizes = [len(fold.val_indices) for fold in made]
    assert max(sizes) - min(sizes) <= 1
    for fold in made:
        assert sorted([*fold.train_indices.tolist(), *fold.val_indices.tolist()]) == list(range(rows))


def test_rows_are_shuffled_by_the_seed_and_by_nothing_else() -> None:
    """The same seed gives the same folds whatever the process drew before, and another seed gives others."""
    first = folds(range(30), 3, seed=1).fingerprint()
    torch.manual_seed(99)

    again, other = folds(range(30), 3, seed=1), folds(range(30), 3, seed=2)

    assert again.fingerprint() == first != other.fingerprint()
    assert [fold.seed for fold in again] != [fold.seed for fold in other]
    assert all(fold.seed < 2**32 for fold in again)
    assert again[0].val_indices.tolist() != list(range(10))


@pytest.mark.parametrize(
    ("splitter", "options", "count"),
    [
        (StratifiedKFold(3), {"y": "label"}, 3),
        (GroupKFold(4), {"groups": "group"}, 4),
        (LeaveOneOut(), {}, 24),
        (RepeatedKFold(n_splits=3, n_repeats=2), {"coverage": "any"}, 6),
        (ShuffleSplit(n_splits=2), {"coverage": "any"}, 2),
        (TimeSeriesSplit(3), {"coverage": "any"}, 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_splitters_of_scikit_learn_are_taken(splitter: Any, options: Any, count: int) -> None:
    """Each gives the rows that it gives scikit-learn."""
    data = frame()

    made = folds(data, splitter, features=["a", "b"], targets="c", **options)

    assert len(made) == count
    assert all(not set(fold.train_indices.tolist()) & set(fold.val_indices.tolist()) for fold in made)
    if "groups" in options:
        for fold in made:
            groups = [set(data.group[rows.tolist()]) for rows in (fold.train_indices, fold.val_indices)]
            assert not groups[0] & groups[1]
    if "y" in options:
        assert all(data.label[fold.val_indices.tolist()].mean() == 0.5 for fold in made)


def test_a_frames_target_is_what_stratification_looks_at_by_default() -> None:
    """No y has to be repeated."""
    data = frame()

    made = folds(data, StratifiedKFold(3), features=["a"], targets="label")

    assert all(data.label[fold.val_indices.tolist()].mean() == 0.5 for fold in made)


def test_a_splitter_of_the_users_may_give_masks_and_unordered_rows() -> None:
    """Row numbers come out in the order of the data."""

    class Halves:
        def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:  # noqa: N803 - scikit-learn's name
            first = np.arange(len(X)) < len(X) // 2
            yield first, ~first
            yield np.flatnonzero(~first)[::-1], np.flatnonzero(first)[::-1]

    made = folds(range(6), Halves())

    assert [fold.val_indices.tolist() for fold in made] == [[3, 4, 5], [0, 1, 2]]


def test_a_frame_becomes_tables() -> None:
    """Features and targets of a fold's rows, read in whole batches, validation in the order of its rows."""
    data = frame()

    fold = folds(data, 4, features=["a", "b"], targets="label", batch_size=5)[1]

    (features, targets), *_ = fold.val_dataloader()
    assert isinstance(fold.train_dataset, FrameDataset)
    assert isinstance(fold.train_dataloader(), FrameLoader)
    assert features.tolist() == data[["a", "b"]].iloc[fold.val_indices[:5].tolist()].to_numpy().tolist()
    assert targets.tolist() == data.label.iloc[fold.val_indices[:5].tolist()].tolist()
    assert fold.train_dataset.feature_names == ["a", "b"]


@pytest.mark.parametrize(
    "data",
    [
        Numbers(12),
        torch.arange(12),
        np.arange(12),
        range(12),
        Subset(Numbers(30, start=-5), list(range(5, 17))),
        ConcatDataset([Numbers(5), Numbers(7, start=5)]),
        DataLoader(Numbers(12), batch_size=5, shuffle=True, drop_last=True),
        ResumableDataLoader(Numbers(12), batch_size=5, shuffle=True),
    ],
    ids=lambda data: type(data).__name__,
)
def test_all_kinds_of_data_are_divided_alike(data: Any) -> None:
    """The loaders of a fold read its rows and no others, validation completely and in order."""
    fold = folds(data, 3, seed=4)[2]

    assert values(fold.val_dataloader()) == values(fold.predict_dataloader()) == fold.val_indices.tolist()
    trained = values(fold.train_dataloader())
    assert set(trained) <= set(fold.train_indices.tolist())
    assert len(trained) == (5 if getattr(data, "drop_last", False) else 8)
    assert values(fold.train_dataloader()) == trained != sorted(trained)


def test_the_order_of_training_rows_changes_with_the_epoch() -> None:
    """A loader shuffles anew each time it is read, and a fresh one of the same fold begins as the first did."""
    made = folds(Numbers(30), 3)
    loader = made[0].train_dataloader()

    epochs = [values(loader), values(loader)]

    again = made[0].train_dataloader()
    assert [values(again), values(again)] == epochs
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1])


def test_a_loader_keeps_its_settings_and_its_order() -> None:
    """Batch size, collation and reading in order are those of the given loader."""
    loader = DataLoader(Numbers(12), batch_size=3, collate_fn=lambda samples: [int(sample) for sample in samples])

    fold = folds(loader, 4)[0]

    assert list(fold.train_dataloader()) == [fold.train_indices[start : start + 3].tolist() for start in range(0, 9, 3)]


def test_loaders_may_be_built_by_the_user() -> None:
    """make_loader gets the part and its name."""
    seen = []

    def make(dataset: Any, part: str) -> Any:
        seen.append((part, len(dataset)))
        return DataLoader(dataset, batch_size=1)

    fold = folds(Numbers(9), 3, make_loader=make)[0]

    assert values(fold.val_dataloader()) == fold.val_indices.tolist()
    assert len(list(fold.train_dataloader())) == 6
    assert seen == [("val", 3), ("train", 6)]


def test_several_sources_are_divided_each_by_itself() -> None:
    """Every fold has its share of each; rows are numbered one source after the other; loaders have the given shape."""
    data = {"a": Numbers(10), "b": [DataLoader(Numbers(5, start=10), batch_size=2)]}

    made = folds(data, 5)

    assert made.num_rows == 15
    for fold in made:
        loaders = fold.val_dataloader()
        read = [*values(loaders["a"]), *values(loaders["b"][0])]
        assert read == fold.val_indices.tolist()
        assert (len(fold.val_dataset["a"]), len(fold.val_dataset["b"][0])) == (2, 1)
        assert sorted([*values(fold.train_dataloader()["a"]), *values(fold.train_dataloader()["b"][0])]) == (
            fold.train_indices.tolist()
        )


def test_a_combined_loader_keeps_its_mode() -> None:
    """Training goes on to be read in the way that the user chose."""
    loaders = CombinedLoader({"a": DataLoader(Numbers(8)), "b": DataLoader(Numbers(4))}, "min_size")

    fold = folds(loaders, 2)[0]

    assert fold.train_dataloader().mode == "min_size"
    assert [item[0].keys() for item in fold.train_dataloader()] == [{"a", "b"}] * 2


def test_groups_hold_over_several_sources() -> None:
    """What belongs together stays together also where it lies in different sources."""
    made = folds([Numbers(6), Numbers(6)], GroupKFold(3), groups=[0, 0, 1, 1, 2, 2] * 2)

    for fold in made:
        assert [row % 6 for row in fold.val_indices.tolist()[:2]] == [row % 6 for row in fold.val_indices.tolist()[2:]]


@pytest.mark.parametrize("test", [0.25, [3, 1, 7]])
def test_a_common_test_part_is_in_no_other_part(test: Any) -> None:
    """All folds keep the same rows apart, and the rest is validated once."""
    made = folds(Numbers(12), 3, test=test)

    apart = made[0].test_indices
    assert apart is not None
    assert len(apart) == 3
    for fold in made:
        assert torch.equal(fold.test_indices, apart)
        assert values(fold.test_dataloader()) == apart.tolist()
        assert not set(apart.tolist()) & {*fold.train_indices.tolist(), *fold.val_indices.tolist()}
    assert [int(made.times_validated[row]) for row in range(12)] == [int(row not in apart) for row in range(12)]
    if isinstance(test, list):
        assert apart.tolist() == [1, 3, 7]


def test_a_rotating_test_part_tests_each_row_once() -> None:
    """One part tests, the next validates, and the rest is trained on."""
    made = folds(Numbers(20), 4, test="rotate")

    tested = torch.cat([fold.test_indices for fold in made])
    assert sorted(tested.tolist()) == list(range(20))
    for fold in made:
        parts = (fold.train_indices, fold.val_indices, fold.test_indices)
        assert sorted(row for part in parts for row in part.tolist()) == list(range(20))


def test_nested_folds_see_nothing_that_the_outer_fold_holds_out() -> None:
    """Inner rows map back to outer training rows, and inner datasets give just these samples."""
    for outer in folds(Numbers(24), 4):
        inner = outer.folds(3)
        assert inner.rows.tolist() == outer.train_indices.tolist()
        for fold in inner:
            read = [*values(fold.val_dataloader()), *values(fold.train_dataloader())]
            assert sorted(read) == outer.train_indices.tolist()
            assert values(fold.val_dataloader()) == inner.rows[fold.val_indices].tolist()


def test_nested_folds_nest_again_and_take_groups_of_the_outer_data() -> None:
    """Groups may be given for all outer rows; the numbers of the third level still lead to the data."""
    data = frame()
    groups = data.group.to_numpy()
    outer = folds(data, GroupKFold(4), groups="group", features=["a"], targets="c")[0]

    inner = outer.folds(GroupKFold(3), groups=groups)
    innermost = inner[0].folds(GroupKFold(2), groups="group")

    for made in (inner, innermost):
        for fold in made:
            train, val = (set(groups[made.rows[rows]]) for rows in (fold.train_indices, fold.val_indices))
            assert not train & val
    assert (
        innermost[0].val_dataset.targets.tolist() == data.c[innermost.rows[innermost[0].val_indices].tolist()].tolist()
    )


def test_data_for_evaluation_may_be_others_of_the_same_rows() -> None:
    """Validation is read without what augments training."""
    fold = folds(Numbers(8), 4, eval_data=Numbers(8, start=100))[0]

    assert values(fold.val_dataloader()) == (fold.val_indices + 100).tolist()
    assert sorted(values(fold.train_dataloader())) == fold.train_indices.tolist()


def test_a_data_module_of_the_users_is_divided() -> None:
    """It is made ready once; its settings, batch hooks and test loader stay; its set-up is not run again."""
    user = Digits()

    made = folds(user, 5)
    fold = made[3]
    data = fold.datamodule()
    data.prepare_data()
    data.setup("fit")
    data.teardown("fit")

    assert user.called == ["prepare_data", "setup fit"]
    assert values(data.val_dataloader()) == fold.val_indices.tolist()
    assert data.val_dataloader().collate_fn is torch.stack
    assert data.on_after_batch_transfer(torch.tensor(2), 0) == 20
    data.setup("test")
    assert user.called[-1] == "setup test"
    assert values(data.test_dataloader()) == [100, 101, 102]


def test_a_trainer_trains_on_a_fold(tmp_path: Path) -> None:
    """The data module of a fold is taken as any other."""
    made = folds(TensorDataset(torch.randn(20, 32)), 5, batch_size=4)

    class First(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch[0], batch_idx)

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            return super().validation_step(batch[0], batch_idx)

    for fold in made:
        trainer = MiniTrainer(default_root_dir=tmp_path)
        trainer.fit(First(), datamodule=fold.datamodule())
        assert (trainer.global_step, trainer.num_val_batches) == (4, [1])


def test_a_k_fold_data_module_makes_its_folds() -> None:
    """It takes data or folds, prints its sizes, and knows its fold."""
    made = folds(Numbers(10), 5, seed=3)

    data = KFoldDataModule(Numbers(10), 5, fold=2, seed=3)

    assert isinstance(made[2].datamodule(), FoldDataModule)
    assert data.folds.fingerprint() == made.fingerprint()
    assert KFoldDataModule(made, fold=2).fold.val_indices.tolist() == data.fold.val_indices.tolist()
    assert data.num_folds == 5
    assert str(data).splitlines()[0] == "{Train dataloader: size=8}"
    with pytest.raises(MisconfigurationException, match=r"Fold 2 has no test part.*test=0\.2"):
        data.test_dataloader()


def test_predictions_out_of_fold_are_in_the_order_of_the_data() -> None:
    """Each row has its own; repeated rows have the mean; rows that are never predicted have NaN."""
    made = folds(Numbers(9), 3)
    parts = [torch.stack([fold.val_indices * 1.0, -fold.val_indices], dim=1) for fold in made]
    repeated = folds(Numbers(6), RepeatedKFold(n_splits=2, n_repeats=2), coverage="any")

    whole, partly = made.out_of_fold(parts), made.out_of_fold([parts[0], None, None])

    assert whole.tolist() == [[row, -row] for row in range(9)]
    assert partly.isnan().all(dim=1).sum() == 6
    turns = [fold.val_indices * 0.0 + (fold.index >= 2) for fold in repeated]
    assert repeated.out_of_fold(turns).tolist() == [0.5] * 6
    with pytest.raises(ValueError, match="fold 1, which validates 3 rows"):
        made.out_of_fold([parts[0], parts[1][:2], parts[2]])
    with pytest.raises(ValueError, match="2 predictions for 3 folds"):
        made.out_of_fold(parts[:2])


def test_folds_are_a_sequence_and_travel_to_other_processes() -> None:
    """They are indexed from both ends, sliced, and pickled with their data."""
    made = folds([Numbers(8), Numbers(4)], 4)

    copy = pickle.loads(pickle.dumps(made))

    assert copy.fingerprint() == made.fingerprint()
    assert copy[-1].index == 3
    assert [fold.index for fold in made[1:3]] == [1, 2]
    assert [len(loader) for loader in copy[0].val_dataloader()] == [1, 1]
    with pytest.raises(IndexError, match="fold 4 was asked for, and there are 4"):
        made[4]


def test_printed_folds_show_sizes_and_places() -> None:
    """A line for each fold, a sign for each row, and how often rows are validated."""
    made = folds(frame(12), PurgedTimeSeriesSplit(2, purge=1), groups="date", features=["a"], targets="c")

    text = str(made).splitlines()

    assert text[0] == ("2 folds of 12 rows (PurgedTimeSeriesSplit, seed 0); rows are validated 0 to 1 times, 4 never")
    assert text[2].split() == ["0", "2", "4", "0", "6", "TT--VVVV----"]
    assert text[3].split() == ["1", "6", "4", "0", "2", "TTTTTT--VVVV"]
    assert "each row is validated once" in str(folds(range(1000), 3))
    assert len(str(folds(range(1000), 3)).splitlines()[-1]) < 120
    assert "X" in str(folds(range(10), 3, test=[0]))
    assert "outside the test part" in str(folds(range(10), 3, test=[0]))


# Releases of matplotlib that are older than the libraries they read their own settings with warn of these.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("test", [None, "rotate"])
def test_plotted_folds_are_a_picture(tmp_path: Path, test: Any) -> None:
    """A PNG file with the colours of the parts, in the places of their rows."""
    import matplotlib.image

    made = folds(torch.arange(40), 4, test=test)
    path = tmp_path / "folds.png"

    figure = made.plot(path)

    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    image = matplotlib.image.imread(path)
    colours = {tuple(round(255 * value) for value in colour[:3]) for colour in image.reshape(-1, 4)[::7]}
    assert {(0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)} <= colours
    assert ((0xCC, 0x79, 0xA7) in colours) is (test == "rotate")
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape == (4, 40)
    assert np.flatnonzero(drawn[0] == 2).tolist() == made[0].val_indices.tolist()
