"""What folds are made of: one dataset or several, however they were given, and the loaders of their parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, Subset

from lt_core.combined_loader import CombinedLoader
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_data.folding.preprocess import (
    TrainingRows,
    TransformedDataset,
    transformed_features,
    transformed_table,
)
from lt_data.frame_columns import check_columns
from lt_data.frame_dataset import FrameDataset, is_frame, is_values, listed
from lt_data.frame_loader import FrameLoader
from lt_data.resumable_loader import ResumableDataLoader
from lt_data.sampler import ResumableSampler, sized

__all__ = ["FrameSource", "Settings", "Source", "flattened", "make_source"]


@dataclass(frozen=True)
class Settings:
    """How loaders are built.

    Args:
        shuffle: Whether training samples are shuffled.
        batch_size: Samples in a batch.
        num_workers: Worker processes.
        make: Builds a loader of a dataset and the name of its part; None: ours.
        options: Further arguments of a ``DataLoader``.
        drop_last: Whether the last, smaller training batch is left out.
    """

    shuffle: bool = True
    batch_size: int = 32
    num_workers: int = 0
    make: Callable[[Any, str], Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    drop_last: bool = False

    def loader(self, dataset: Any, part: str, seed: int) -> Any:
        """Build the loader of a part: in order and complete, but for the training part.

        Args:
            dataset: The part.
            part: ``train``, ``val`` or ``test``.
            seed: For the order of training samples.
        """
        if self.make is not None:
            return self.make(dataset, part)
        shuffle, drop_last = part == "train" and self.shuffle, part == "train" and self.drop_last
        if isinstance(dataset, FrameDataset) and not self.options and not self.num_workers:
            return FrameLoader(dataset, self.batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            sampler=ResumableSampler(dataset, shuffle=shuffle, seed=seed),
            drop_last=drop_last,
            **self.options,
        )


class Source:
    """A dataset that is to be parted.

    Args:
        dataset: Map-style data.
        settings: How loaders are built.
        eval_dataset: The same rows to validate, test and predict with, for example without augmentation; None for
            ``dataset``.
    """

    def __init__(self, dataset: Any, settings: Settings, eval_dataset: Any = None) -> None:
        self.dataset = dataset
        self.settings = settings
        self.eval_dataset = dataset if eval_dataset is None else eval_dataset
        self.size = _size(dataset)
        self._outer: Source | None = None
        self._outer_rows = torch.arange(0)
        if _size(self.eval_dataset) != self.size:
            raise MisconfigurationValueError(
                f"`folds` got eval_data with {_size(self.eval_dataset)} rows for data with {self.size}. Expected the"
                " same rows in the same order. Make both of the same files, with and without augmentation."
            )

    def part(self, rows: torch.Tensor, preprocessing: Any, *, training: bool) -> Any:
        """Return some of the rows as a dataset.

        Args:
            rows: Their numbers.
            preprocessing: Fitted, or None.
            training: Whether they are the training part.

        Raises:
            MisconfigurationException: The dataset has changed its length.
        """
        dataset = self.dataset if training else self.eval_dataset
        self._check_size(dataset)
        if isinstance(dataset, FrameDataset):
            table = dataset.take(rows)
            return table if preprocessing is None else transformed_table(preprocessing, table)
        part: Any = Subset(dataset, rows.tolist())
        return part if preprocessing is None else TransformedDataset(part, preprocessing.transform)

    def guards(self, rows: torch.Tensor) -> list[tuple[Any, torch.Tensor]]:
        """Return everything that the rows are read from, with the rows of it that may be read while fitting.

        Args:
            rows: The training rows.
        """
        own = [(self.dataset, rows)]
        if self.eval_dataset is not self.dataset:
            own.append((self.eval_dataset, rows))
        # Nested folds: somebody may hold the outer data, too.
        return own if self._outer is None else own + self._outer.guards(self._outer_rows[rows])

    def training_rows(self, rows: torch.Tensor) -> list[Any]:
        """Return what ``fit`` gets: features and targets of a table (copies), or a view of the samples."""
        self._check_size(self.dataset)
        if isinstance(self.dataset, FrameDataset):
            part = self.dataset.take(rows)
            return [part.features] if part.targets is None else [part.features, part.targets]
        return [TrainingRows(self.dataset, rows)]

    def as_seen_by_splitters(self) -> Any:
        """Return the rows in the form that splitters get as ``X``."""
        return self.dataset.features if isinstance(self.dataset, FrameDataset) else torch.arange(self.size).unsqueeze(1)

    def labels(self) -> Any:
        """Return the labels that splitters get unless the user gives others; None if there are none."""
        return self.dataset.targets if isinstance(self.dataset, FrameDataset) else None

    def column(self, name: Any, argument: str) -> Any:
        """Return the values of a column.

        Raises:
            MisconfigurationTypeError: The data have no named columns.
        """
        raise MisconfigurationTypeError(
            f"`folds` got {argument}={name!r} with data of type {type(self.dataset).__name__}. Expected one value for"
            f" each row: only frames have columns with names. Pass the values as `{argument}=values`."
        )

    def sub(self, rows: torch.Tensor) -> Source:
        """Return a source of some of the rows, for nested folds; nothing is fitted."""
        made = self._part_of_it(rows)
        made._outer, made._outer_rows = self, rows  # noqa: SLF001 - of this class
        return made

    def _part_of_it(self, rows: torch.Tensor) -> Source:
        if isinstance(self.dataset, FrameDataset) and self.eval_dataset is self.dataset:
            return Source(self.dataset.take(rows), self.settings)
        numbers = rows.tolist()
        evaluation = None if self.eval_dataset is self.dataset else Subset(self.eval_dataset, numbers)
        return Source(Subset(self.dataset, numbers), self.settings, evaluation)

    def _check_size(self, dataset: Any) -> None:
        if _size(dataset) != self.size:
            raise MisconfigurationException(
                f"The {type(dataset).__name__} that was folded had {self.size} rows and has {_size(dataset)} now."
                " Expected one length, since rows are known by their numbers. Make the folds when the data are"
                " complete."
            )


class FrameSource(Source):
    """A frame of pandas that becomes a :class:`FrameDataset` once, or for each fold after its preprocessing.

    Args:
        frame: The frame.
        features: As in ``FrameDataset``.
        targets: Likewise; names of columns.
        settings: How loaders are built.
    """

    def __init__(self, frame: Any, features: Any, targets: Any, settings: Settings) -> None:
        if is_values(targets):
            raise MisconfigurationTypeError(
                f"`folds(frame, targets=...)` got a {type(targets).__name__}. Expected names of columns, so that"
                " targets are parted with their rows. Write `folds(frame.assign(target=values), targets='target')`."
            )
        self._frame = frame
        self._features = features
        self._targets = targets
        self._table: FrameDataset | None = None
        names = [] if targets is None else listed(targets)
        check_columns(frame, names, "targets")
        chosen = [name for name in frame.columns if name not in names] if features is None else listed(features)
        check_columns(frame, chosen, "features")
        self._names = chosen
        super().__init__(frame, settings)

    def table(self) -> FrameDataset:
        """Return the frame as a dataset; it is converted once."""
        if self._table is None:
            self._table = FrameDataset(self._frame, self._names, self._targets)
        return self._table

    def part(self, rows: torch.Tensor, preprocessing: Any, *, training: bool) -> Any:
        """Return some of the rows as a dataset."""
        self._check_size(self._frame)
        if preprocessing is None:
            return self.table().take(rows)
        part = self._frame.iloc[rows.tolist()]
        made = transformed_features(preprocessing, part[self._names].copy(), len(rows))
        targets = None if self._targets is None else FrameDataset(part, [], self._targets).targets
        if is_frame(made):
            return FrameDataset(made, targets=targets)
        return FrameDataset(torch.as_tensor(made), targets=targets, dtype=torch.float32)

    def training_rows(self, rows: torch.Tensor) -> list[Any]:
        """Return the frame's training rows: a copy, as a frame, and the targets likewise."""
        self._check_size(self._frame)
        part = self._frame.iloc[rows.tolist()]
        features = part[self._names].copy()
        return [features] if self._targets is None else [features, part[self._targets].copy()]

    def as_seen_by_splitters(self) -> Any:
        """Return the frame."""
        return self._frame

    def labels(self) -> Any:
        """Return the target column, or columns; None if there are none."""
        return None if self._targets is None else self._frame[self._targets].to_numpy()

    def column(self, name: Any, argument: str) -> Any:
        """Return the values of a column."""
        check_columns(self._frame, [name], argument)
        return self._frame[name].to_numpy()

    def _part_of_it(self, rows: torch.Tensor) -> Source:
        return FrameSource(self._frame.iloc[rows.tolist()].copy(), self._features, self._targets, self.settings)


def make_source(item: Any, features: Any, targets: Any, settings: Settings, evaluation: Any) -> Source:
    """Return the source that stands for one dataset, frame or loader.

    Args:
        item: What was given.
        features: Names of columns; for frames only.
        targets: Likewise.
        settings: How loaders are built where no loader is given.
        evaluation: The same rows to evaluate with, or None.

    Raises:
        MisconfigurationTypeError: It has no rows with numbers, or is a loader that cannot be built on a part.
    """
    if is_frame(item):
        if evaluation is not None:
            raise MisconfigurationTypeError(
                "`folds` got eval_data beside a frame. Expected it with datasets, whose samples may be augmented. Leave"
                " it out."
            )
        return FrameSource(item, features, targets, settings)
    if features is not None or targets is not None:
        raise MisconfigurationTypeError(
            f"`folds` got features or targets with data of type {type(item).__name__}. Expected them with a frame of"
            " pandas only. Write `folds(FrameDataset(data, features=..., targets=...))`, or leave them out."
        )
    if isinstance(item, (DataLoader, FrameLoader)):
        return Source(_dataset_of(item), _settings_of(item, settings), _dataset_of(evaluation))
    if isinstance(item, IterableDataset) or not (hasattr(item, "__getitem__") and hasattr(item, "__len__")):
        raise MisconfigurationTypeError(
            f"`folds` got a {type(item).__name__}. Expected data whose rows have numbers (`__len__` and `__getitem__`),"
            " a frame, a loader of such data, or a data module. A stream cannot be parted: write its samples to a"
            " map-style dataset first."
        )
    return Source(item, settings, _dataset_of(evaluation))


def _dataset_of(item: Any) -> Any:
    if isinstance(item, ResumableDataLoader):
        return item.data
    return item.dataset if isinstance(item, (DataLoader, FrameLoader)) else item


def _settings_of(loader: Any, settings: Settings) -> Settings:
    """Return how to build loaders like one of the user's."""
    if settings.make is not None:
        return settings
    if isinstance(loader, FrameLoader):
        order = loader.sampler
        if not isinstance(getattr(order, "shuffle", None), bool):
            raise _cannot_rebuild(loader, f"its sampler `{type(order).__name__}`")
        return Settings(shuffle=order.shuffle, batch_size=loader.batch_size, drop_last=loader.drop_last)
    if type(loader) not in (DataLoader, ResumableDataLoader):
        raise _cannot_rebuild(loader, f"its class `{type(loader).__name__}`")
    shuffle = _shuffles(loader)
    names = ("collate_fn", "pin_memory", "timeout", "worker_init_fn", "persistent_workers")
    options = {name: getattr(loader, name) for name in names}
    if loader.num_workers:
        options |= {
            "prefetch_factor": loader.prefetch_factor,
            "multiprocessing_context": loader.multiprocessing_context,
        }
    if loader.batch_size is None:
        raise _cannot_rebuild(loader, "its batch sampler, or that it does not make batches")
    return Settings(shuffle, loader.batch_size, loader.num_workers, None, options, loader.drop_last)


def _shuffles(loader: DataLoader[Any]) -> bool:
    sampler = loader.sampler
    if isinstance(sampler, RandomSampler) and not sampler.replacement:
        return True
    if isinstance(sampler, SequentialSampler):
        return False
    if isinstance(loader, ResumableDataLoader) or isinstance(sampler, ResumableSampler):
        return bool(sampler.shuffle)  # type: ignore[attr-defined]
    raise _cannot_rebuild(loader, f"its sampler `{type(sampler).__name__}`")


def _cannot_rebuild(loader: Any, what: str) -> MisconfigurationTypeError:
    return MisconfigurationTypeError(
        f"`folds` got a `{type(loader).__name__}`, and {what} cannot be kept on a part of its data. Expected a"
        " `DataLoader` that shuffles or reads in order. Say how to build the loaders: `folds(..., make_loader=lambda"
        " dataset, part: DataLoader(dataset, ...))`."
    )


def _size(dataset: Any) -> int:
    return sized(dataset, "folds")


def flattened(data: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """Return the members of a collection, and what puts as many things into its shape."""
    if (
        is_frame(data)
        or isinstance(data, (torch.Tensor, DataLoader, FrameLoader))
        or not isinstance(data, (list, tuple, dict, CombinedLoader))
    ):
        return [data], _only
    combined = data if isinstance(data, CombinedLoader) else CombinedLoader(data)
    mode = data.mode if isinstance(data, CombinedLoader) else None
    return list(combined.flattened), _Shape(combined.iterables, mode)


def _only(items: Sequence[Any]) -> Any:
    return items[0]


class _Shape:
    """Puts things into the shape of a collection; unlike a closure it can be pickled.

    Args:
        tree: The collection.
        mode: How training loaders are combined, if the user said so.
    """

    def __init__(self, tree: Any, mode: str | None) -> None:
        self.mode = mode
        combined = CombinedLoader(tree)
        combined.flattened = [()] * len(combined.flattened)  # the shape alone: no data travel with it
        self._tree = combined.iterables

    def __call__(self, items: Sequence[Any]) -> Any:
        remaining = iter(items)

        def fill(tree: Any) -> Any:
            if isinstance(tree, dict):
                return {key: fill(value) for key, value in tree.items()}
            if isinstance(tree, tuple) and tree == ():
                return next(remaining)
            if isinstance(tree, tuple) and hasattr(tree, "_fields"):
                return type(tree)(*(fill(value) for value in tree))
            return type(tree)(fill(value) for value in tree)

        return fill(self._tree)
