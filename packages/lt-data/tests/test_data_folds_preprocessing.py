"""Preprocessing sees training rows only: what it is fitted on, how leaks are caught, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from lt_core.errors import MisconfigurationException
from lt_data import FrameDataset, HeldOutRowError, folds


class Samples(Dataset[torch.Tensor]):
    """The squares of the numbers from 0."""

    def __init__(self, size: int = 12) -> None:
        self.size = size

    def __getitem__(self, index: int) -> torch.Tensor:
        if not -self.size <= index < self.size:
            raise IndexError(index)
        return torch.tensor(float(index**2))

    def __len__(self) -> int:
        return self.size


class Centre:
    """Subtracts the mean of what it was fitted on, and notes what that was."""

    def fit(self, rows: Any) -> None:
        self.seen = [float(row) for row in rows]
        self.mean = sum(self.seen) / len(self.seen)

    def transform(self, row: Any) -> Any:
        return row - self.mean


class Spying:
    """Looks, while it is fitted, at something else than it is given."""

    def __init__(self, look: Callable[[], Any]) -> None:
        self.look = look

    def fit(self, rows: Any) -> None:
        self.found = self.look()

    def transform(self, rows: Any) -> Any:
        return rows


def table(rows: int = 12) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "number": generator.normal(size=rows).astype("float32"),
            "text": [["x", "y", "z"][row % 3] for row in range(rows)],
            "target": generator.normal(size=rows),
        }
    )


def test_a_scaler_is_fitted_on_the_training_rows_of_each_fold() -> None:
    """Training features have mean 0 in every fold, and each fold has an object of its own."""
    data = table()
    made = folds(data, 3, features=["number"], targets="target", preprocess=StandardScaler)

    scalers = [fold.preprocessing for fold in made]

    assert len({id(scaler) for scaler in scalers}) == 3
    for fold in made:
        expected = data.number[fold.train_indices.tolist()].mean()
        assert fold.preprocessing.mean_[0] == pytest.approx(expected, abs=1e-6)
        assert float(fold.train_dataset.features.mean()) == pytest.approx(0, abs=1e-6)
        assert fold.val_dataset.features.dtype == torch.float32
        assert fold.preprocessing is fold.preprocessing


def test_a_transformer_of_columns_gets_a_frame() -> None:
    """Text and missing values go in by name, numbers come out; targets stay what they are."""
    data = table()
    data.loc[3, "number"] = np.nan

    def make() -> Any:
        return ColumnTransformer(
            [("n", SimpleImputer(), ["number"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["text"])]
        )

    fold = folds(data, 3, features=["number", "text"], targets="target", preprocess=make)[0]

    assert fold.train_dataset.features.shape == (8, 4)
    assert not fold.train_dataset.features.isnan().any()
    expected = data.target[fold.val_indices.tolist()].astype("float32").tolist()
    assert fold.val_dataset.targets.tolist() == expected


def test_a_fit_with_two_arguments_gets_the_targets() -> None:
    """Those of the training rows, of frames and of tables."""

    class Supervised:
        def fit(self, features: Any, targets: Any) -> None:
            self.sizes = (len(features), len(targets))

        def transform(self, features: Any) -> Any:
            return features

    data = table()
    for given, options in (
        (data, {"features": ["number"], "targets": "target"}),
        (FrameDataset(data, ["number"], "target"), {}),
    ):
        assert folds(given, 3, preprocess=Supervised, **options)[0].preprocessing.sizes == (8, 8)


def test_samples_of_a_dataset_are_transformed_one_by_one() -> None:
    """`fit` gets a view of the training samples, and every part goes through `transform`."""
    fold = folds(Samples(), 3, preprocess=Centre)[1]

    centre = fold.preprocessing

    assert centre.seen == [float(row**2) for row in fold.train_indices.tolist()]
    read = [float(value) for batch in fold.val_dataloader() for value in batch]
    assert read == pytest.approx([row**2 - centre.mean for row in fold.val_indices.tolist()])


def test_each_source_has_a_preprocessing_of_its_own() -> None:
    """They come in the shape of the data."""
    fold = folds({"a": Samples(6), "b": Samples(9)}, 3, preprocess=Centre)[0]

    fitted = fold.preprocessing

    assert fitted["a"] is not fitted["b"]
    assert (len(fitted["a"].seen), len(fitted["b"].seen)) == (4, 6)


def every_row(dataset: Any) -> Callable[[], Any]:
    return lambda: [dataset[row] for row in range(len(dataset))]


def planted_leaks() -> list[Any]:
    """Data, what is divided of them, and a way to look at all of their rows."""
    samples, tensors, data = Samples(), TensorDataset(torch.arange(12.0)), table()
    frame_data = FrameDataset(data, ["number"], "target")
    subset = Subset(samples, list(range(2, 10)))
    both = ConcatDataset([Samples(6), TensorDataset(torch.arange(6.0))])
    plain = table().drop(columns="text")
    named = {"features": ["number"], "targets": "target"}
    return [
        pytest.param(samples, {}, every_row(samples), id="every row"),
        pytest.param(samples, {}, partial(list, samples), id="iteration"),
        pytest.param(samples, {}, lambda: samples[-1] + samples[0] + sum(samples[row] for row in range(12)), id="sum"),
        pytest.param(tensors, {}, lambda: tensors.tensors[0] + 0, id="tensors"),
        pytest.param(tensors, {}, lambda: tensors[:], id="slice"),
        pytest.param(subset, {}, every_row(subset), id="subset"),
        pytest.param(subset, {}, lambda: samples[0], id="outside of the subset"),
        pytest.param(both, {}, lambda: [every_row(part)() for part in both.datasets], id="part of a concatenation"),
        pytest.param(frame_data, {}, lambda: frame_data.features.mean(0), id="features of a table"),
        pytest.param(frame_data, {}, lambda: frame_data.targets, id="targets of a table"),
        pytest.param(frame_data, {}, lambda: frame_data.take(range(12)), id="take"),
        pytest.param(frame_data, {}, lambda: frame_data[list(range(12))], id="batch of a table"),
        pytest.param(frame_data, {}, lambda: frame_data.__getitems__(range(12)), id="gather of a table"),
        pytest.param(data, named, lambda: data["target"] + 0, id="column of a frame"),
        pytest.param(data, named, lambda: data.to_numpy()[0], id="frame as an array"),
        pytest.param(data, named, partial(np.asarray, data), id="frame turned into an array"),
        pytest.param(plain, named, lambda: StandardScaler().fit(plain), id="scaler fitted on a frame"),
        pytest.param(data, named, partial(len, data), id="length of a frame"),
    ]


@pytest.mark.parametrize(("data", "options", "look"), planted_leaks())
def test_reading_a_held_out_row_while_fitting_raises(data: Any, options: Any, look: Callable[[], Any]) -> None:
    """Whoever reads it and in whatever way; afterwards the data are open again, and still themselves."""
    kind = type(data)
    fold = folds(data, 4, preprocess=lambda: Spying(look), **options)[0]

    with pytest.raises(HeldOutRowError, match=r"held.out"):
        _ = fold.train_dataset

    assert type(data) is kind
    look()


def test_reading_training_rows_while_fitting_is_allowed() -> None:
    """Only what is held out is refused."""
    samples = Samples()
    made = folds(samples, 3)
    rows = made[0].train_indices.tolist()

    fold = folds(samples, 3, preprocess=lambda: Spying(lambda: [float(samples[row]) for row in rows]))[0]

    assert fold.preprocessing.found == [float(row**2) for row in rows]


def test_two_sources_of_one_dataset_may_each_read_their_training_rows() -> None:
    """What one of them may read is not refused to the other."""
    samples = Samples()
    halves = [Subset(samples, range(6)), Subset(samples, range(6, 12))]

    fitted = folds(halves, 3, preprocess=Centre)[0].preprocessing

    assert [len(each.seen) for each in fitted] == [4, 4]


def test_a_source_may_not_read_what_another_holds_out() -> None:
    """The guard is over all data of the folds, and over data for evaluation."""
    first, second, plain = Samples(6), Samples(6), Samples(6)

    with pytest.raises(HeldOutRowError):
        _ = folds([first, second], 3, preprocess=lambda: Spying(every_row(second)))[0].preprocessing
    with pytest.raises(HeldOutRowError):
        _ = folds(first, 3, eval_data=plain, preprocess=lambda: Spying(every_row(plain)))[0].preprocessing


@pytest.mark.parametrize("kind", ["table", "samples", "frame"])
def test_nested_folds_guard_the_outer_data(kind: str) -> None:
    """What an outer fold holds out is refused to the preprocessing of inner folds, and so is what they hold out."""
    frame_data = table()
    data: Any = {"table": FrameDataset(frame_data, ["number"]), "samples": Samples(), "frame": frame_data}[kind]
    options: Any = {"features": ["number"], "targets": "target"} if kind == "frame" else {}
    look = (lambda: data["number"]) if kind == "frame" else every_row(data)
    outer = folds(data, 3, **options)[0]
    held_out = outer.val_indices[0].item()

    with pytest.raises(HeldOutRowError):
        _ = outer.folds(2, preprocess=lambda: Spying(look))[0].preprocessing
    if kind != "frame":
        with pytest.raises(HeldOutRowError):
            _ = outer.folds(2, preprocess=lambda: Spying(lambda: data[held_out]))[0].preprocessing


def test_a_preprocessing_that_is_made_from_all_rows_is_caught() -> None:
    """Making it is guarded as fitting it is."""
    data = FrameDataset(torch.randn(12, 2))

    def make() -> Any:
        return StandardScaler().fit(data.features)

    with pytest.raises(HeldOutRowError):
        _ = folds(data, 3, preprocess=make)[0].preprocessing


def test_what_fit_gets_cannot_be_widened() -> None:
    """Asking the view for more rows raises, and changing what a table gave changes nothing of the data."""

    class Greedy(Centre):
        def fit(self, rows: Any) -> None:
            _ = rows[len(rows)]

    class Scribbling(Spying):
        def fit(self, rows: Any) -> None:
            rows.zero_()

    data = FrameDataset(torch.ones(6, 1))
    with pytest.raises(HeldOutRowError, match="8 training rows"):
        _ = folds(Samples(), 3, preprocess=Greedy)[0].preprocessing

    _ = folds(data, 3, preprocess=lambda: Scribbling(lambda: None))[0].preprocessing
    assert data.features.sum() == 6


def test_errors_of_fit_reach_the_caller() -> None:
    """An IndexError of the user's own stays what it is."""

    def look() -> Any:
        return list(range(1))[3]

    with pytest.raises(IndexError, match="list index out of range"):
        _ = folds(Samples(), 3, preprocess=lambda: Spying(look))[0].preprocessing


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (StandardScaler(), r"preprocess=lambda: StandardScaler"),
        (3, "Expected a class or a function"),
        (object, "no `fit`"),
    ],
)
def test_what_makes_no_preprocessing_is_named(wrong: Any, message: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(TypeError, match=message):
        _ = folds(Samples(), 3, preprocess=wrong)[0].preprocessing


def test_a_transform_that_drops_rows_is_refused() -> None:
    """Predictions are kept by row."""

    class Dropping(Spying):
        def transform(self, rows: Any) -> Any:
            return rows[1:]

    data = FrameDataset(torch.ones(6, 1))
    with pytest.raises(MisconfigurationException, match=r"returned 3 rows for 4.*columns only"):
        _ = folds(data, 3, preprocess=lambda: Dropping(lambda: None))[0].train_dataset
