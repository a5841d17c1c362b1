"""Folds as a text and as a picture, for a person to see at a glance which rows go where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lt_data.optional import require

if TYPE_CHECKING:
    from pathlib import Path

    from lt_data.folding.fold import Folds

__all__ = ["as_figure", "as_text", "parts_of"]

_UNUSED, _TRAIN, _VAL, _TEST = range(4)
_WIDTH = 60
# Colours of Okabe and Ito, which people with any colour vision tell apart (jfly.uni-koeln.de/color, 2008).
_COLOURS = {_UNUSED: "#EEEEEE", _TRAIN: "#56B4E9", _VAL: "#E69F00", _TEST: "#CC79A7"}
_NAMES = {_UNUSED: "unused", _TRAIN: "train", _VAL: "validation", _TEST: "test"}


def parts_of(folds: Folds) -> torch.Tensor:
    """Return for each fold and row the part it is in: 0 none, 1 training, 2 validation, 3 test."""
    parts = torch.full((len(folds), folds.num_rows), _UNUSED, dtype=torch.uint8)
    for number, split in enumerate(folds.splits):
        parts[number, split.train] = _TRAIN
        parts[number, split.val] = _VAL
        if split.test is not None:
            parts[number, split.test] = _TEST
    return parts


def as_text(folds: Folds) -> str:
    """Return a headline, and a line for each fold with its sizes and where its rows are.

    Args:
        folds: The folds.
    """
    parts = parts_of(folds)
    rows = folds.num_rows
    times = folds.times_validated
    kept = times[parts[0] != _TEST] if folds.splits[0].test is not None else times
    if bool((times == 1).all()):
        coverage = "each row is validated once"
    elif bool((kept == 1).all()):
        coverage = "each row outside the test part is validated once"
    else:
        low, high = int(times.min()), int(times.max())
        coverage = f"rows are validated {low} to {high} times, {int((times == 0).sum())} never"
    width = min(_WIDTH, rows)
    per_sign = -(-rows // width)
    columns = f"{'fold':>4} {'train':>8} {'val':>8} {'test':>8} {'unused':>8}"
    legend = f"rows 0 to {rows - 1} (T train, V validation, X test, - unused, + several; {per_sign} to a sign)"
    lines = [
        f"{len(folds)} folds of {rows} rows ({folds.title}, seed {folds.seed}); {coverage}",
        f"{columns}  {legend}",
    ]
    for number, line in enumerate(parts):
        counts = torch.bincount(line.long(), minlength=4).tolist()
        sizes = f"{counts[_TRAIN]:>8} {counts[_VAL]:>8} {counts[_TEST]:>8} {counts[_UNUSED]:>8}"
        lines.append(f"{number:>4} {sizes}  {_signs(line, per_sign)}")
    return "\n".join(lines)


def _signs(line: torch.Tensor, per_sign: int) -> str:
    signs = "-TVX"
    chunks = (chunk.unique().tolist() for chunk in line.split(per_sign))
    return "".join(signs[chunk[0]] if len(chunk) == 1 else "+" for chunk in chunks)


def as_figure(folds: Folds, path: str | Path | None) -> Any:
    """Draw a line for each fold, with the rows from left to right.

    Args:
        folds: The folds.
        path: Where to write it, or None.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    figures = require("matplotlib.figure", "`folds.plot()`")
    colors = require("matplotlib.colors", "`folds.plot()`")
    patches = require("matplotlib.patches", "`folds.plot()`")
    parts = parts_of(folds)
    # A figure of its own: pyplot would keep it, and may want a display.
    figure = figures.Figure(figsize=(8, 1.2 + 0.35 * len(folds)), layout="constrained")
    axes = figure.subplots()
    colormap = colors.ListedColormap([_COLOURS[part] for part in sorted(_COLOURS)])
    extent = (0, folds.num_rows, len(folds) - 0.5, -0.5)
    axes.imshow(parts.tolist(), cmap=colormap, vmin=0, vmax=3, aspect="auto", interpolation="nearest", extent=extent)
    axes.set_yticks(range(len(folds)), [f"fold {number}" for number in range(len(folds))])
    axes.set_xlabel("row")
    axes.set_title(f"{folds.title}: {len(folds)} folds of {folds.num_rows} rows")
    for edge in range(1, len(folds)):
        axes.axhline(edge - 0.5, color="white", linewidth=2)
    seen = [part for part in _NAMES if bool((parts == part).any())]
    handles = [patches.Patch(facecolor=_COLOURS[part], label=_NAMES[part]) for part in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
