"""Folds: which rows go where, and one fold's datasets and loaders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import torch

from lt_core.combined_loader import CombinedLoader
from lt_core.errors import (
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    did_you_mean,
)
from lt_data.folding.coverage import times_validated
from lt_data.folding.fold_datamodule import FoldDataModule
from lt_data.folding.guard import guarded
from lt_data.folding.picture import as_figure, as_text
from lt_data.folding.plan import make_splits, picked, title_of
from lt_data.folding.preprocess import fitted, make_preprocessing
from lt_data.order import checked_seed, mixed_seed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lt_data.folding.sources import Source
    from lt_data.folding.splits import Split

__all__ = ["Fold", "Folds"]


class Folds(Sequence["Fold"]):
    """The folds of data; made by :func:`lt_data.folds`.

    ``len(folds)``, ``folds[i]`` and iteration give :class:`Fold` objects, each of them fresh: what one has fitted or
    cached, another has not. ``print(folds)`` and :meth:`plot` show which rows go where.

    Args:
        splits: The rows of each fold.
        sources: The datasets, whose rows are numbered one dataset after the other.
        shape: Puts one thing for each source into the shape of the data.
        seed: What the folds' own seeds come from.
        title: How the folds were made, for people.
        preprocess: Makes a fresh object with ``fit`` and ``transform``; None for none.
        rows: For nested folds, what the row numbers stand for in the outer data.
        owner: The data module whose data these are, or None.

    Attributes:
        num_rows: Rows of the data; they are numbered from 0, in the order of the data.
        seed: See above.
        rows: The number of each row in the outer data: itself, unless these are nested folds.
        times_validated: How often each row is in the validation part of a fold.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        sources: Sequence[Source],
        shape: Callable[[Sequence[Any]], Any],
        *,
        seed: int,
        title: str,
        preprocess: Callable[[], Any] | None = None,
        rows: torch.Tensor | None = None,
        owner: Any = None,
    ) -> None:
        self.splits = tuple(splits)
        self.sources = tuple(sources)
        self.shape = shape
        self.seed = seed
        self.title = title
        self.preprocess = preprocess
        self.owner = owner
        self.num_rows = sum(source.size for source in sources)
        self.rows = torch.arange(self.num_rows) if rows is None else rows
        self.times_validated = times_validated(self.splits, self.num_rows)

    def __len__(self) -> int:
        return len(self.splits)

    @overload
    def __getitem__(self, index: int) -> Fold: ...

    @overload
    def __getitem__(self, index: slice) -> list[Fold]: ...

    def __getitem__(self, index: int | slice) -> Fold | list[Fold]:
        """Return a fold, made anew.

        Raises:
            IndexError: There is no such fold.
        """
        if isinstance(index, slice):
            return [Fold(self, number) for number in range(len(self))[index]]
        if not -len(self) <= index < len(self):
            raise IndexError(f"fold {index} was asked for, and there are {len(self)} folds, numbered from 0")
        return Fold(self, range(len(self))[index])

    def __str__(self) -> str:
        """Return a table with a line for each fold, and which rows are where."""
        return as_text(self)

    def __repr__(self) -> str:
        return f"Folds({len(self)} folds of {self.num_rows} rows, {self.title}, seed={self.seed})"

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw which rows go where: a line for each fold, the rows from left to right.

        Args:
            path: Where to write the picture; None (default) writes none.

        Returns:
            The figure of matplotlib.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        return as_figure(self, path)

    def fingerprint(self) -> str:
        """Return a digest of all index sets and the seed: the same folds, and only they, have the same.

        Whoever continues an interrupted cross-validation can tell by it that the folds are those of then.
        """
        digest = hashlib.sha256(f"{self.num_rows} {self.seed}".encode())
        for split in self.splits:
            for name, rows in (("train", split.train), ("val", split.val), ("test", split.test)):
                numbers = [] if rows is None else rows.tolist()
                digest.update(f"|{name} {','.join(map(str, numbers))}".encode())
        return digest.hexdigest()

    def out_of_fold(self, predictions: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Put the folds' predictions of their validation rows into the order of the data.

        Args:
            predictions: A tensor for each fold, whose row k belongs to the row ``fold.val_indices[k]``; None for a fold
                that has none yet.

        Returns:
            One prediction for each row of the data. A row that several folds predict has the mean, one that none does
            has NaN.

        Raises:
            MisconfigurationValueError: The number of predictions or their shapes do not fit the folds.

        Example:
            >>> from lt_data import folds
            >>> made = folds(torch.arange(6), 3)
            >>> parts = [10.0 * fold.val_indices for fold in made]
            >>> made.out_of_fold(parts)
            tensor([ 0., 10., 20., 30., 40., 50.])
        """
        if len(predictions) != len(self):
            raise MisconfigurationValueError(
                f"`out_of_fold` got {len(predictions)} predictions for {len(self)} folds. Expected a tensor, or None,"
                " for each. Pass them in the order of the folds."
            )
        known = [each for each in predictions if each is not None]
        shape = known[0].shape[1:] if known else torch.Size()
        result = torch.zeros((self.num_rows, *shape), dtype=torch.float64)
        counts = torch.zeros(self.num_rows, dtype=torch.int64)
        for number, (split, each) in enumerate(zip(self.splits, predictions, strict=True)):
            if each is None:
                continue
            if len(each) != len(split.val) or each.shape[1:] != shape:
                raise MisconfigurationValueError(
                    f"`out_of_fold` got predictions of shape {tuple(each.shape)} for fold {number}, which validates"
                    f" {len(split.val)} rows; the first ones have rows of shape {tuple(shape)}. Expected one for each"
                    " row of `fold.val_indices`, all alike. Predict with `fold.predict_dataloader()`."
                )
            result[split.val] += each.detach().to("cpu", torch.float64)
            counts[split.val] += 1
        divisor = counts.to(torch.float64).masked_fill(counts == 0, float("nan"))
        result /= divisor.reshape(-1, *[1] * len(shape))
        kept = known[0].dtype if known and known[0].is_floating_point() else torch.float32
        return result.to(kept)


class Fold:
    """One fold: its rows, datasets and loaders.

    Args:
        folds: Which it is one of.
        index: Its number, from 0.

    Attributes:
        folds_of: The folds it is one of.
        index: Its number.
        seed: A seed that depends on the folds' seed and on the number alone.
        train_indices: The numbers of the rows to train on, in the order of the data.
        val_indices: Those to validate with, in the order of ``val_dataloader`` and ``predict_dataloader``.
        test_indices: Those to test with, or None.
    """

    def __init__(self, folds: Folds, index: int) -> None:
        split = folds.splits[index]
        self.folds_of = folds
        self.index = index
        self.seed = mixed_seed(folds.seed, index) % 2**32  # as `seed_everything` takes it
        self.num_rows = folds.num_rows
        self.train_indices = split.train
        self.val_indices = split.val
        self.test_indices = split.test
        self._by_source = {name: _parted(rows, folds.sources) for name, rows in self._rows().items()}
        self._fitted: list[Any] | None = None
        self._parts: dict[str, list[Any]] = {}

    def _rows(self) -> dict[str, torch.Tensor]:
        rows = {"train": self.train_indices, "val": self.val_indices}
        return rows if self.test_indices is None else {**rows, "test": self.test_indices}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(rows)} {name}" for name, rows in self._rows().items())
        return f"Fold({self.index} of {len(self.folds_of)}: {sizes})"

    # -- preprocessing and datasets

    @property
    def preprocessing(self) -> Any:
        """The object that was fitted on the training rows, in the shape of the data; None without preprocessing."""
        if self.folds_of.preprocess is None:
            return None
        return self.folds_of.shape(self._preprocessing())

    @property
    def train_dataset(self) -> Any:
        """The rows to train on, preprocessed: a dataset, or several in the shape of the data."""
        return self.folds_of.shape(self._datasets("train"))

    @property
    def val_dataset(self) -> Any:
        """The rows to validate with, likewise."""
        return self.folds_of.shape(self._datasets("val"))

    @property
    def test_dataset(self) -> Any:
        """The rows to test with, likewise; None where the fold has no test part."""
        return None if self.test_indices is None else self.folds_of.shape(self._datasets("test"))

    def _preprocessing(self) -> list[Any]:
        factory = self.folds_of.preprocess
        if self._fitted is None:
            pairs = list(zip(self.folds_of.sources, self._by_source["train"], strict=True))
            self._fitted = [None] * len(pairs) if factory is None else _fit(factory, pairs)
        return self._fitted

    def _datasets(self, part: str) -> list[Any]:
        if part not in self._parts:
            members = zip(self.folds_of.sources, self._by_source[part], self._preprocessing(), strict=True)
            self._parts[part] = [
                source.part(rows, fitted, training=part == "train") for source, rows, fitted in members
            ]
        return self._parts[part]

    # -- loaders

    def train_dataloader(self) -> Any:
        """Return the loader of the training rows, or several in the shape of the data; it is shuffled by default."""
        loaders = self.folds_of.shape(self._loaders("train"))
        mode = getattr(self.folds_of.shape, "mode", None)
        if mode is None:
            return loaders
        return CombinedLoader(loaders, mode)

    def val_dataloader(self) -> Any:
        """Return the loader of the validation rows: all of them, in the order of ``val_indices``."""
        return self.folds_of.shape(self._loaders("val"))

    def test_dataloader(self) -> Any:
        """Return the loader of the test rows, in the order of ``test_indices``; None where there are none."""
        return None if self.test_indices is None else self.folds_of.shape(self._loaders("test"))

    def predict_dataloader(self) -> Any:
        """Return a loader of the validation rows, to predict them out of fold."""
        return self.val_dataloader()

    def _loaders(self, part: str) -> list[Any]:
        loaders = []
        for number, (source, dataset) in enumerate(zip(self.folds_of.sources, self._datasets(part), strict=True)):
            if len(dataset) == 0:
                raise MisconfigurationException(
                    f"Source {number} of the data has no row in the {part} part of fold {self.index}. Expected some of"
                    " each source. Use fewer folds, or a splitter that deals the rows of each source."
                )
            loaders.append(source.settings.loader(dataset, part, mixed_seed(self.seed, number)))
        return loaders

    def datamodule(self) -> FoldDataModule:
        """Return a data module of this fold, to be passed to a trainer; what the fold has fitted it need not fit."""
        return FoldDataModule(self)

    # -- nesting

    def folds(self, splitter: Any = 5, **options: Any) -> Folds:
        """Return folds of the training rows of this fold, for example to choose hyperparameters by.

        The rows that this fold holds out are in none of them. Preprocessing is fitted anew, on inner training rows.

        Args:
            splitter: As in :func:`lt_data.folds`.
            options: ``y``, ``groups`` (one value for each row of the outer data, or of the training rows), ``seed``,
                ``coverage``, ``test``, ``preprocess``, as there. By default the seed is this fold's, and the
                preprocessing that of the outer folds.

        Returns:
            Folds that count their rows from 0; their ``rows`` are numbers of the outer data.

        Example:
            >>> from lt_data import folds
            >>> outer = folds(torch.arange(12), 3)[0]
            >>> inner = outer.folds(4)
            >>> inner.num_rows, sorted(inner.rows.tolist()) == outer.train_indices.tolist()
            (8, True)
        """
        outer = self.folds_of
        known = ("y", "groups", "seed", "coverage", "test", "preprocess")
        unknown = [name for name in options if name not in known]
        if unknown:
            raise MisconfigurationTypeError(
                f"`Fold.folds` got {unknown[0]!r}. Expected options out of {', '.join(known)}: the rest is that of the"
                f" outer folds.{did_you_mean(unknown[0], known)} Leave it out."
            )
        chosen: dict[str, Any] = {"y": None, "groups": None, "coverage": None, "test": None, **options}
        for name in ("y", "groups"):
            values = chosen[name]
            if values is not None and not isinstance(values, (str, bytes)) and len(values) == outer.num_rows:
                chosen[name] = picked(values, self.train_indices)
        parts = zip(outer.sources, self._by_source["train"], strict=True)
        sources = [source.sub(rows) for source, rows in parts]
        seed = checked_seed(chosen.pop("seed", self.seed), "Fold.folds")
        preprocess = chosen.pop("preprocess", outer.preprocess)
        splits = make_splits(sources, splitter, seed, chosen)
        rows = outer.rows[self.train_indices]
        title = title_of(splitter)
        return Folds(
            splits, sources, outer.shape, seed=seed, title=title, preprocess=preprocess, rows=rows, owner=outer.owner
        )


def _fit(factory: Callable[[], Any], pairs: Sequence[tuple[Source, torch.Tensor]]) -> list[Any]:
    """Make and fit an object for each source on its training rows, while all data refuse the others."""
    given = [source.training_rows(rows) for source, rows in pairs]
    with guarded([each for source, rows in pairs for each in source.guards(rows)]):
        return [fitted(make_preprocessing(factory), arguments) for arguments in given]


def _parted(rows: torch.Tensor, sources: Sequence[Source]) -> list[torch.Tensor]:
    """Return the rows of each source, counted within it; their order stays."""
    parts = []
    start = 0
    for source in sources:
        parts.append(rows[(rows >= start) & (rows < start + source.size)] - start)
        start += source.size
    return parts
