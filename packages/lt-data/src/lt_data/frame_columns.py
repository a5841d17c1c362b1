"""The rules by which columns become tensors: which kinds are taken, as what, and what a missing value does.

A column that has no plain meaning as a number is an error that names it. Nothing is guessed, and no row is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Missing", "check_columns", "coded", "numeric", "target_tensor"]

Missing = Literal["error", "keep"] | float

# The largest whole number up to which a type holds each one exactly.
_EXACT = {torch.float16: 2**11, torch.bfloat16: 2**8, torch.float32: 2**24, torch.float64: 2**53}


def check_columns(frame: pd.DataFrame, names: Sequence[Any], argument: str) -> None:
    """Check that the frame has the columns, once each.

    Args:
        frame: The data.
        names: The columns.
        argument: Where the names come from, for the message.

    Raises:
        MisconfigurationValueError: A column is unknown, named twice, or its name stands for several.
    """
    have = list(frame.columns)
    unknown = [name for name in names if name not in have]
    if unknown:
        hint = did_you_mean(str(unknown[0]), map(str, have))
        shown = ", ".join(map(repr, have[:10])) + (", …" if len(have) > 10 else "")
        raise MisconfigurationValueError(
            f"`{argument}` names {unknown!r}, and the frame has no such column. Expected names out of {shown}.{hint}"
        )
    repeated = [name for name in names if have.count(name) > 1 or list(names).count(name) > 1]
    if repeated:
        raise MisconfigurationValueError(
            f"`{argument}` names {repeated[0]!r}, which is there {max(have.count(repeated[0]), 2)} times. Expected each"
            " column once. Rename or leave out the others."
        )


def is_category(column: pd.Series) -> bool:
    """Tell whether a column is of pandas' categorical type."""
    return hasattr(column.dtype, "categories") and hasattr(column.dtype, "ordered")


def numeric(frame: pd.DataFrame, dtype: torch.dtype, missing: Missing, argument: str) -> torch.Tensor:
    """Return columns of numbers and truth values as one contiguous tensor.

    Args:
        frame: The columns, none of them categorical.
        dtype: A floating point type. Whole numbers that it does not hold exactly are an error.
        missing: What a missing value does: ``"error"``, ``"keep"`` (it becomes NaN), or a number to put in its place.
        argument: Where the columns come from, for messages.

    Raises:
        MisconfigurationTypeError: A column is neither numeric nor bool.
        MisconfigurationValueError: A value is missing or too large.
    """
    for name in frame.columns:
        _check_kind(frame[name], name, argument)
    values = frame.isna()
    if missing == "error":
        counts = values.sum()
        found = counts[counts > 0]
        if len(found):
            listed = ", ".join(f"{name!r} ({count})" for name, count in list(found.items())[:5])
            raise MisconfigurationValueError(
                f"Values are missing in {len(found)} columns of `{argument}`: {listed}. Expected none. Write"
                " `missing='keep'` for NaN, a number to put in their place, or fit an imputer on the training rows with"
                " `folds(frame, preprocess=...)`."
            )
    _check_exact(frame, dtype, argument)
    # Float64 holds whatever is left, the nullable types included. A copy: what the frame becomes later must not change
    # the data.
    is_narrow = {str(each) for each in frame.dtypes} == {"float32"}
    array = frame.to_numpy(dtype="float32" if is_narrow else "float64", na_value=math.nan, copy=True)
    tensor = torch.as_tensor(array).to(dtype).contiguous()
    if isinstance(missing, (int, float)):
        tensor = tensor.nan_to_num(nan=float(missing), posinf=math.inf, neginf=-math.inf)
    return tensor


def _check_kind(column: pd.Series, name: Any, argument: str) -> None:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "fiub":
        return
    advice = {
        "M": f"Write what the model needs of a date, for example `frame[{name!r}].dt.dayofyear`.",
        "m": f"Write it as a number, for example `frame[{name!r}].dt.total_seconds()`.",
        "c": f"Write its parts as two columns, `frame[{name!r}].to_numpy().real` and `.imag`.",
    }.get(
        kind,
        f"Write `frame[{name!r}].astype('category')` for labels, `pandas.to_numeric(frame[{name!r}])` for numbers kept"
        " as text, or leave the column out.",
    )
    raise MisconfigurationTypeError(
        f"Column {name!r} of `{argument}` has the type {column.dtype}. Expected numbers, truth values or categories."
        f" {advice}"
    )


def _check_exact(frame: pd.DataFrame, dtype: torch.dtype, argument: str) -> None:
    largest = _EXACT.get(dtype)
    if largest is None:
        raise MisconfigurationTypeError(
            f"`FrameDataset` got dtype={dtype!r}. Expected a floating point type of torch. Write `dtype=torch.float32`."
        )
    for name in frame.columns:
        if getattr(frame[name].dtype, "kind", "") not in "iu" or not len(frame):
            continue
        top = max(abs(int(frame[name].max(skipna=True))), abs(int(frame[name].min(skipna=True))))
        if top > largest:
            raise MisconfigurationValueError(
                f"Column {name!r} of `{argument}` holds whole numbers up to {top}, which {dtype} does not hold exactly."
                f" Expected numbers up to {largest}. Write `dtype=torch.float64`, make an identifier a category"
                f" (`frame[{name!r}].astype('category')`), or leave the column out."
            )


def coded(frame: pd.DataFrame, missing: Missing, argument: str) -> tuple[torch.Tensor, dict[Any, list[Any]]]:
    """Return categorical columns as codes, and what each code stands for.

    Args:
        frame: The columns, all of them categorical.
        missing: ``"error"``, or anything else: a missing value gets the code that follows the last category.
        argument: Where the columns come from, for messages.

    Returns:
        The codes, int64, and the categories of each column in the order of their codes.

    Raises:
        MisconfigurationValueError: A value is missing.
    """
    categories: dict[Any, list[Any]] = {}
    codes = []
    for name in frame.columns:
        column = frame[name]
        known = column.dtype.categories.tolist()
        code = torch.as_tensor(column.cat.codes.to_numpy(dtype="int64", copy=True))
        absent = code < 0
        if bool(absent.any()):
            if missing == "error":
                raise MisconfigurationValueError(
                    f"Column {name!r} of `{argument}` misses {int(absent.sum())} values. Expected none. Write"
                    " `missing='keep'`, which gives them a code of their own, or leave these rows out."
                )
            code[absent] = len(known)
            known.append(None)
        categories[name] = known
        codes.append(code)
    return torch.stack(codes, dim=1) if codes else torch.empty(len(frame), 0, dtype=torch.int64), categories


def target_tensor(frame: pd.DataFrame, dtype: torch.dtype, missing: Literal["error", "keep"]) -> torch.Tensor:
    """Return target columns as one tensor.

    Whole numbers, truth values and categories become int64 (the labels of classes), if all columns are of these kinds;
    otherwise all are numbers of ``dtype``.

    Args:
        frame: The target columns.
        dtype: The floating point type.
        missing: ``"error"``, or ``"keep"`` for NaN in numbers.

    Raises:
        MisconfigurationTypeError: A column has no plain meaning as a number, or categories stand beside fractions.
        MisconfigurationValueError: A value is missing.
    """
    are_labels = [is_category(frame[name]) or getattr(frame[name].dtype, "kind", "") in "iub" for name in frame.columns]
    if missing == "error":
        _check_targets_there(frame)
    if all(are_labels) and not bool(frame.isna().to_numpy().any()):
        columns = [frame[name].cat.codes if is_category(frame[name]) else frame[name] for name in frame.columns]
        return torch.stack([torch.as_tensor(each.to_numpy(dtype="int64", copy=True)) for each in columns], dim=1)
    for name in frame.columns:
        if is_category(frame[name]):
            raise MisconfigurationTypeError(
                f"Target {name!r} is categorical, and it stands beside targets with fractions or misses values."
                " Expected targets of one kind, because they share a tensor. Make two datasets, or write the codes as a"
                f" column: `frame[{name!r}].cat.codes`."
            )
    return numeric(frame, dtype, "keep", "targets")


def _check_targets_there(frame: pd.DataFrame) -> None:
    counts = frame.isna().sum()
    found = counts[counts > 0]
    if len(found):
        name, count = next(iter(found.items()))
        raise MisconfigurationValueError(
            f"Target {name!r} misses {count} of {len(frame)} values, the first in row"
            f" {int(frame[name].isna().to_numpy().argmax())}. Expected a target in each row: a loss of NaN destroys the"
            " weights. Leave these rows out (`frame.dropna(subset=[...])`), or write `missing_targets='keep'` and mask"
            " them in the loss."
        )
