"""Which rows go where: from sources, a splitter and options to the checked rows of each fold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_core.whole_number import as_whole
from lt_data.folding.coverage import check_coverage, held_out_rows, remaining, renumbered, rotated
from lt_data.folding.splits import Split, k_fold, named, run_splitter

if TYPE_CHECKING:
    from lt_data.folding.sources import Source

__all__ = ["make_splits", "picked", "title_of"]


def make_splits(sources: Sequence[Source], splitter: Any, seed: int, options: dict[str, Any]) -> list[Split]:
    """Return the rows of each fold.

    Args:
        sources: The datasets.
        splitter: A number of folds, or a splitter.
        seed: For what is drawn.
        options: ``y``, ``groups``, ``coverage`` and ``test``, as in :func:`lt_data.folds`.
    """
    size = sum(source.size for source in sources)
    test = options["test"]
    apart = held_out_rows(test, size, splitter, seed)
    kept = remaining(size, apart)
    splits = _splits(sources, kept, splitter, seed, options)
    check_coverage(splits, len(kept), splitter, options["coverage"])
    if isinstance(test, str):
        return rotated(splits, size, splitter)
    return splits if apart is None else renumbered(splits, kept, apart)


def title_of(splitter: Any) -> str:
    """Return how people call a splitter."""
    return "shuffled k-fold" if as_whole(splitter) is not None else named(splitter)


def _splits(
    sources: Sequence[Source], kept: torch.Tensor, splitter: Any, seed: int, options: dict[str, Any]
) -> list[Split]:
    """Return folds of the rows that are kept, numbered among them."""
    number = as_whole(splitter)
    if number is not None:
        for name in ("y", "groups"):
            if options[name] is not None:
                advice = "StratifiedKFold" if name == "y" else "GroupKFold"
                raise MisconfigurationValueError(
                    f"`folds` got {name} with splitter={number}. Expected a splitter that looks at them: a number of"
                    f" folds deals rows at random. Write `splitter={advice}({number})` of scikit-learn, or leave {name}"
                    " out."
                )
        edges = torch.tensor([source.size for source in sources]).cumsum(0)
        source_of = torch.bucketize(kept, edges, right=True)
        return k_fold(torch.bincount(source_of, minlength=len(sources)).tolist(), number, seed)
    size = sum(source.size for source in sources)
    y = _values(options["y"], "y", sources, size)
    if y is None:
        y = _own_labels(sources)
    groups = _values(options["groups"], "groups", sources, size)
    seen = sources[0].as_seen_by_splitters() if len(sources) == 1 else torch.arange(size).unsqueeze(1)
    if len(kept) < size:
        seen, y, groups = (None if each is None else picked(each, kept) for each in (seen, y, groups))
    return run_splitter(splitter, _for_splitter(seen), _for_splitter(y), _for_splitter(groups), len(kept))


def _values(values: Any, argument: str, sources: Sequence[Source], size: int) -> Any:
    """Return one value for each row, given as such or by the name of a column."""
    if values is None:
        return None
    if isinstance(values, (str, bytes)):
        if len(sources) == 1:
            return sources[0].column(values, argument)
        columns = [source.column(values, argument).tolist() for source in sources]
        return [value for column in columns for value in column]
    try:
        length = len(values)
    except TypeError as error:
        raise MisconfigurationTypeError(
            f"`folds` got {argument}={values!r}. Expected one value for each of the {size} rows, or the name of a"
            f" column. Pass a list or an array as `{argument}`."
        ) from error
    if length != size:
        raise MisconfigurationValueError(
            f"`folds` got {length} {argument} for {size} rows. Expected one for each row, in the order of the data."
            " Check that both come from the same selection."
        )
    return values


def _own_labels(sources: Sequence[Source]) -> Any:
    labels = [source.labels() for source in sources]
    if any(each is None for each in labels):
        return None
    return labels[0] if len(labels) == 1 else [value for each in labels for value in each.tolist()]


def picked(values: Any, rows: torch.Tensor) -> Any:
    """Return the values of some rows."""
    if isinstance(values, torch.Tensor):
        return values[rows.to(values.device)]
    located = getattr(values, "iloc", values)
    if hasattr(values, "iloc") or hasattr(values, "__array__"):
        return located[rows.tolist()]
    return [values[row] for row in rows.tolist()]


def _for_splitter(values: Any) -> Any:
    # scikit-learn works on arrays of NumPy; a splitter without it gets tensors.
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return values.numpy() if "numpy" in sys.modules else values
    return values
