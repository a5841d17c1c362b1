"""Writes the summary of a model as plain text."""

from __future__ import annotations

from lt_callbacks.summary.counts import human_readable

__all__ = ["footer", "format_table"]

_NUMBER_WIDTH = 10
_BETWEEN = " | "


def format_table(
    total_parameters: int,
    trainable_parameters: int,
    model_size: float,
    total_training_modes: dict[str, int],
    total_flops: int,
    *columns: tuple[str, list[str]],
) -> str:
    """Write columns side by side, with the totals below.

    Args:
        total_parameters: The number of parameters.
        trainable_parameters: How many of them are trained.
        model_size: Their memory in megabytes.
        total_training_modes: How many modules are in ``"train"`` and ``"eval"`` mode.
        total_flops: The floating point operations of a forward pass.
        *columns: Headings, each with one cell per row.
    """
    widths = [max(len(heading), *map(len, cells)) if cells else len(heading) for heading, cells in columns]
    rule = "-" * (sum(widths) + len(_BETWEEN) * (1 + len(columns)))
    header = _BETWEEN.join(heading.ljust(width) for (heading, _), width in zip(columns, widths, strict=True))
    rows = zip(*(cells for _, cells in columns), strict=True)
    body = [_BETWEEN.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    with_flops = any(heading == "FLOPs" for heading, _ in columns)
    totals = footer(
        total_parameters, trainable_parameters, model_size, total_training_modes, total_flops if with_flops else None
    )
    lines = [f"{value:<{_NUMBER_WIDTH}}{label}" for label, value in totals]
    return "\n".join([header, rule, *body, rule, *lines])


def footer(
    total_parameters: int,
    trainable_parameters: int,
    model_size: float,
    total_training_modes: dict[str, int],
    total_flops: int | None,
) -> list[tuple[str, str]]:
    """Return the totals as labels and values; ``total_flops`` is None where they were not counted."""
    totals = [
        ("Trainable params", human_readable(trainable_parameters)),
        ("Non-trainable params", human_readable(total_parameters - trainable_parameters)),
        ("Total params", human_readable(total_parameters)),
        ("Total estimated model params size (MB)", f"{model_size:,.3f}"),
        ("Modules in train mode", str(total_training_modes["train"])),
        ("Modules in eval mode", str(total_training_modes["eval"])),
    ]
    if total_flops is not None:
        totals.append(("Total Flops", human_readable(total_flops)))
    return totals
