"""Tabular data as contiguous tensors that are read in whole batches.

A dataset that builds a tensor from one row of a frame spends its time in Python, row by row. Here the columns become
tensors once, and a batch is one gather.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.utils.data import Dataset
from torch.utils.data._utils.collate import collate, default_collate_fn_map

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_data.frame_columns import Missing, check_columns, coded, is_category, numeric, target_tensor

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FrameDataset", "GatheredRows"]


class FrameRow(tuple[Any, ...]):
    """One sample ``(features, targets)``: a tuple that torch's default collate knows to come from a gathered batch."""

    __slots__ = ()


class GatheredRows(Sequence[Any]):
    """A batch that was gathered at once, and a sequence of its samples for whoever wants these.

    Args:
        batch: The gathered batch.
        size: Its rows.
    """

    def __init__(self, batch: Any, size: int) -> None:
        self.batch = batch
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(self._size))]
        if not -self._size <= position < self._size:
            raise IndexError(position)
        return _row(self.batch, position)

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(self._size))


class FrameDataset(Dataset[Any]):
    """Holds a table as tensors and answers with rows or whole batches.

    A sample is ``(features, targets)``, or ``features`` alone where there are no targets. ``features`` is a float
    tensor; where there are categorical columns it is the pair ``(numbers, codes)``.

    The rules:

    * Numbers and truth values become ``dtype``. Whole numbers that it does not hold exactly are an error.
    * Columns of pandas' ``category`` type become int64 codes, in a tensor of their own: ``codes``.
    * Text, objects, dates and complex numbers are an error that names the column and what to write.
    * Missing features: see ``missing``. Missing targets: see ``missing_targets``. No row is ever left out.
    * Targets that are all whole numbers, truth values or categories become int64, others ``dtype``.
    * One target that is named on its own (not in a list) gives targets of one dimension.

    Args:
        data: A pandas frame; or a tensor or an array of NumPy with one row per sample, whose columns are numbered.
        features: Names (numbers) of the feature columns; None (default): all that are no targets.
        targets: Name of the target column, or a list of names; or the targets themselves, as a tensor, array or series
            with one entry for each row; None (default): no targets.
        missing: What a missing feature does: ``"error"`` (default); ``"keep"``: NaN among numbers, a code of its own,
            after the last category, among categories; or a number to put in its place (categories as with ``"keep"``).
        missing_targets: ``"error"`` (default), or ``"keep"`` for NaN among numbers.
        dtype: Floating point type of features and targets; float32 by default. A tensor keeps its own floating type
            unless this is given.

    Attributes:
        features: The numbers, a tensor with one row for each sample.
        codes: The codes of the categorical columns, or None.
        targets: The targets, or None.
        feature_names: The columns of ``features``.
        target_names: The columns of ``targets``.
        categories: For each categorical column, what its codes stand for; None stands for a missing value.

    Raises:
        MisconfigurationTypeError: The data are no table, or a column has no plain meaning as a number.
        MisconfigurationValueError: A column is unknown, values are missing, lengths or devices differ.

    Example:
        >>> table = torch.arange(12.0).reshape(4, 3)
        >>> data = FrameDataset(table, targets=2)
        >>> data[1]
        (tensor([3., 4.]), tensor(5.))
        >>> data[[0, 3]]
        (tensor([[ 0.,  1.], [ 9., 10.]]), tensor([ 2., 11.]))
    """

    def __init__(
        self,
        data: pd.DataFrame | torch.Tensor | Any,
        features: Sequence[Hashable] | Hashable | None = None,
        targets: Sequence[Hashable] | Hashable | torch.Tensor | Any = None,
        *,
        missing: Missing = "error",
        missing_targets: Literal["error", "keep"] = "error",
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_missing(missing, missing_targets)
        self.features: torch.Tensor
        self.codes: torch.Tensor | None = None
        self.targets: torch.Tensor | None = None
        self.feature_names: list[Any] = []
        self.target_names: list[Any] = []
        self.categories: dict[Any, list[Any]] = {}
        if is_frame(data):
            self._take_frame(data, features, targets, missing, missing_targets, dtype or torch.float32)
        else:
            self._take_array(data, features, targets, missing, missing_targets, dtype)
        self._check_alike()

    # -- building

    def _take_frame(
        self, frame: pd.DataFrame, features: Any, targets: Any, missing: Missing, missing_targets: Any, dtype: Any
    ) -> None:
        if is_values(targets):
            self.targets = _target_values(targets, dtype, missing_targets)
        elif targets is not None:
            self.target_names = listed(targets)
            check_columns(frame, self.target_names, "targets")
            values = target_tensor(frame[self.target_names], dtype, missing_targets)
            self.targets = values if isinstance(targets, list) else values[:, 0].contiguous()
        names = (
            [name for name in frame.columns if name not in self.target_names] if features is None else listed(features)
        )
        check_columns(frame, names, "features")
        leaked = [name for name in names if name in self.target_names]
        if leaked:
            raise MisconfigurationValueError(
                f"{leaked!r} are features and targets of a `FrameDataset`. Expected columns to be one or the other: the"
                " model would be given the answer. Leave them out of `features`."
            )
        categorical = [name for name in names if is_category(frame[name])]
        self.feature_names = [name for name in names if name not in categorical]
        self.features = numeric(frame[self.feature_names], dtype, missing, "features")
        if categorical:
            self.codes, self.categories = coded(frame[categorical], missing, "features")

    def _take_array(
        self, data: Any, features: Any, targets: Any, missing: Missing, missing_targets: Any, dtype: Any
    ) -> None:
        table = _tensor(data, "data")
        if table.ndim != 2:
            raise MisconfigurationTypeError(
                f"`FrameDataset` got data of shape {tuple(table.shape)}. Expected two dimensions: a row for each"
                " sample. Write `data.reshape(len(data), -1)`, or use `torch.utils.data.TensorDataset` for other"
                " shapes."
            )
        columns = range(table.shape[1])
        if is_values(targets):
            self.targets = _target_values(targets, dtype, missing_targets)
        elif targets is not None:
            self.target_names = _numbers(targets, columns, "targets")
            chosen = table[:, self.target_names]
            self.targets = _target_values(chosen if isinstance(targets, list) else chosen[:, 0], dtype, missing_targets)
        rest = [number for number in columns if number not in self.target_names]
        self.feature_names = rest if features is None else _numbers(features, columns, "features")
        if set(self.feature_names) & set(self.target_names):
            raise MisconfigurationValueError(
                f"Columns {sorted(set(self.feature_names) & set(self.target_names))} are features and targets of a"
                " `FrameDataset`. Expected one or the other: the model would be given the answer. Leave them out of"
                " `features`."
            )
        kept = table if len(self.feature_names) == table.shape[1] and features is None else table[:, self.feature_names]
        self.features = _as_float(kept, dtype, missing).contiguous()

    def _check_alike(self) -> None:
        for name, values in (("targets", self.targets), ("codes", self.codes)):
            if values is None:
                continue
            if len(values) != len(self.features):
                raise MisconfigurationValueError(
                    f"`FrameDataset` got {len(values)} {name} for {len(self.features)} rows. Expected one for each row."
                    " Check that both come from the same selection."
                )
            if values.device != self.features.device:
                raise MisconfigurationValueError(
                    f"`FrameDataset` got features on {self.features.device} and {name} on {values.device}. Expected one"
                    f" device for both. Write `{name}.to({str(self.features.device)!r})`."
                )

    @classmethod
    def of_tensors(
        cls, features: torch.Tensor, codes: torch.Tensor | None, targets: torch.Tensor | None
    ) -> FrameDataset:
        """Make a dataset of tensors as they are, without copying or checking values.

        Args:
            features: A row for each sample.
            codes: int64 codes of categories, or None.
            targets: A target for each sample, or None.
        """
        made = cls.__new__(cls)
        made.features, made.codes, made.targets = features, codes, targets
        made.feature_names, made.target_names, made.categories = [], [], {}
        made._check_alike()  # noqa: SLF001 - an instance of this class
        return made

    def like(self, features: torch.Tensor, codes: torch.Tensor | None, targets: torch.Tensor | None) -> FrameDataset:
        """Return a dataset of other tensors with the names of this one."""
        made = FrameDataset.of_tensors(features, codes, targets)
        made.feature_names, made.target_names = self.feature_names, self.target_names
        made.categories = self.categories
        return made

    # -- reading

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: Any) -> Any:
        """Return a sample for a number, a batch for a slice, a list or a tensor of numbers."""
        if isinstance(rows, (slice, list, torch.Tensor)):
            index = rows if isinstance(rows, slice) else self._index(rows)
            return _batch(*(None if each is None else each[index] for each in self.tensors()))
        try:
            numbers, codes, targets = (None if each is None else each[rows] for each in self.tensors())
        except IndexError as error:
            # The message of torch does not say so, and a plain `for` over the dataset ends by it.
            raise IndexError(f"row {rows} was asked for, and the dataset has {len(self)} rows") from error
        inputs = numbers if codes is None else FrameRow((numbers, codes))
        return inputs if targets is None else FrameRow((inputs, targets))

    def __getitems__(self, rows: Sequence[int]) -> GatheredRows:
        """Return a batch, which torch's ``DataLoader`` asks for in this way."""
        return GatheredRows(self[list(rows)], len(rows))

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return numbers, codes and targets; None for those that are not there."""
        return self.features, self.codes, self.targets

    def _index(self, rows: Any) -> torch.Tensor:
        return torch.as_tensor(rows, device=self.features.device)

    def take(self, rows: torch.Tensor | Sequence[int]) -> FrameDataset:
        """Return a dataset of some of the rows, with memory of its own.

        Args:
            rows: Row numbers, in the order that is wanted.

        Example:
            >>> FrameDataset(torch.arange(6.0).reshape(3, 2)).take([2, 0]).features
            tensor([[4., 5.], [0., 1.]])
        """
        index = self._index(rows)
        numbers, codes, targets = (None if each is None else each.index_select(0, index) for each in self.tensors())
        assert numbers is not None
        return self.like(numbers, codes, targets)

    def to(self, device: torch.device | str) -> FrameDataset:
        """Return this dataset on a device: itself if it is there already.

        Args:
            device: Where its tensors are to lie.
        """
        if self.features.device == torch.empty(0, device=device).device:
            return self
        numbers, codes, targets = (None if each is None else each.to(device) for each in self.tensors())
        assert numbers is not None
        return self.like(numbers, codes, targets)

    def __repr__(self) -> str:
        parts = [f"{len(self)} rows", f"{self.features.shape[1]} numbers"]
        if self.codes is not None:
            parts.append(f"{self.codes.shape[1]} categories")
        if self.targets is not None:
            parts.append(f"{1 if self.targets.ndim == 1 else self.targets.shape[1]} targets")
        return f"FrameDataset({', '.join(parts)}, {self.features.device})"


def is_frame(data: Any) -> bool:
    """Tell whether something is a frame of pandas, without importing it."""
    return hasattr(data, "iloc") and hasattr(data, "columns") and hasattr(data, "dtypes")


def is_values(targets: Any) -> bool:
    """Tell whether targets are given as such rather than by name."""
    return isinstance(targets, torch.Tensor) or hasattr(targets, "__array__")


def listed(names: Any) -> list[Any]:
    """Return one name, or several, as a list."""
    if isinstance(names, (str, bytes, tuple)) or (not isinstance(names, Sequence) and not hasattr(names, "tolist")):
        return [names]
    return names.tolist() if hasattr(names, "tolist") else list(names)


def _batch(numbers: Any, codes: Any, targets: Any) -> Any:
    inputs = numbers if codes is None else (numbers, codes)
    return inputs if targets is None else (inputs, targets)


def _row(batch: Any, position: int) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch[position]
    return FrameRow(_row(part, position) for part in batch)


def _numbers(names: Any, columns: range, argument: str) -> list[int]:
    numbers = listed(names)
    for number in numbers:
        if (
            isinstance(number, bool)
            or not isinstance(number, int)
            or number not in columns
            or numbers.count(number) > 1
        ):
            raise MisconfigurationValueError(
                f"`{argument}` names column {number!r} of an array with {len(columns)} columns. Expected numbers from 0"
                f" to {len(columns) - 1}, each once. For columns with names pass a frame of pandas."
            )
    return numbers


def _tensor(values: Any, argument: str) -> torch.Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MisconfigurationTypeError(
            f"`FrameDataset` got {argument} of type {type(values).__name__}"
            f" ({getattr(values, 'dtype', 'no dtype')}), which is no table of numbers: {error}. Expected a frame of"
            " pandas, a tensor, or an array of numbers. Write `array.astype('float32')`, or make a frame of it."
        ) from error


def _as_float(values: torch.Tensor, dtype: torch.dtype | None, missing: Missing) -> torch.Tensor:
    if values.is_complex():
        raise MisconfigurationTypeError(
            f"`FrameDataset` got values of {values.dtype}. Expected real numbers. Write `torch.view_as_real(values)`."
        )
    wanted = dtype or (values.dtype if values.is_floating_point() else torch.float32)
    result = values.to(wanted)
    if not values.is_floating_point() and not torch.equal(result.to(values.dtype), values):
        raise MisconfigurationValueError(
            f"`FrameDataset` got whole numbers that {wanted} does not hold exactly. Expected smaller ones, or a type"
            " that does. Write `dtype=torch.float64`."
        )
    absent = result.isnan()
    if bool(absent.any()):
        if missing == "error":
            raise MisconfigurationValueError(
                f"{int(absent.sum())} features are NaN, the first in row {int(absent.nonzero()[0, 0])}. Expected none."
                " Write `missing='keep'`, or a number to put in their place."
            )
        if missing != "keep":
            result = result.masked_fill(absent, float(missing))
    return result


def _target_values(values: Any, dtype: torch.dtype | None, missing: str) -> torch.Tensor:
    tensor = _tensor(values, "targets")
    if tensor.dtype == torch.bool or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor.to(torch.int64)
    absent = tensor.isnan()
    if missing == "error" and bool(absent.any()):
        raise MisconfigurationValueError(
            f"{int(absent.sum())} targets are NaN, the first in row {int(absent.nonzero()[0, 0])}. Expected a target in"
            " each row: a loss of NaN destroys the weights. Leave these rows out, or write `missing_targets='keep'` and"
            " mask them in the loss."
        )
    if hasattr(values, "dtype") and not isinstance(values, torch.Tensor):
        return tensor.to(dtype or torch.float32).clone()
    return tensor.to(dtype or tensor.dtype).contiguous()


def _check_missing(missing: Any, missing_targets: Any) -> None:
    if isinstance(missing, bool) or not (missing in ("error", "keep") or isinstance(missing, (int, float))):
        raise MisconfigurationValueError(
            f"`FrameDataset` got missing={missing!r}. Expected 'error', 'keep' or a number. Write `missing='keep'`."
        )
    if missing_targets not in ("error", "keep"):
        raise MisconfigurationValueError(
            f"`FrameDataset` got missing_targets={missing_targets!r}. Expected 'error' or 'keep': a target cannot be"
            " made up. Write `missing_targets='keep'` and mask NaN in the loss."
        )


def _collate_rows(batch: Any, *, collate_fn_map: Any = None) -> Any:
    if isinstance(batch, GatheredRows):
        return batch.batch
    columns = zip(*batch, strict=True)
    return tuple(collate(list(column), collate_fn_map=collate_fn_map) for column in columns)


# So that torch's default collate takes a gathered batch as it is, in workers, too; the table is its way to be extended.
default_collate_fn_map[FrameRow] = _collate_rows
