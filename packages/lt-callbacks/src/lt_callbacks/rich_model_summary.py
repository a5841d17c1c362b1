"""Prints the table of the model's layers with rich."""

from __future__ import annotations

from typing import Any

from lt_callbacks.model_summary import ModelSummary
from lt_callbacks.summary.table import footer
from lt_core.errors import MissingPackageError

__all__ = ["RichModelSummary"]

_RIGHT = ("Params", "FLOPs", "In sizes", "Out sizes")


class RichModelSummary(ModelSummary):
    """Print the layers of the module with rich.

    Args:
        max_depth: How many levels of nested layers to show; -1 for all, 0 for no summary.
        **summarize_kwargs: ``header_style`` is the style of the headings, by default ``"bold magenta"``.

    Raises:
        ModuleNotFoundError: rich is not installed.

    Example:
        >>> RichModelSummary(max_depth=-1, header_style="bold").max_depth
        -1
    """

    def __init__(self, max_depth: int = 1, **summarize_kwargs: Any) -> None:
        try:
            import rich  # noqa: F401 - asked for, so that its absence is said here
        except ImportError as error:
            raise MissingPackageError(
                "RichModelSummary needs rich, which is not installed. Install it with `pip install rich`, or use"
                " `ModelSummary`."
            ) from error
        super().__init__(max_depth, **summarize_kwargs)

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        """Print a summary as a rich table; the arguments are those of `ModelSummary.summarize`."""
        from rich import get_console
        from rich.table import Table
        from rich.text import Text

        table = Table(header_style=summarize_kwargs.get("header_style", "bold magenta"))
        for heading, _ in summary_data:
            table.add_column(
                heading,
                justify="right" if heading in _RIGHT else "left",
                no_wrap=heading == "Name",
                style="dim" if heading == " " else None,
            )
        for row in zip(*(cells for _, cells in summary_data), strict=True):
            table.add_row(*map(Text, row))
        counted = any(heading == "FLOPs" for heading, _ in summary_data)
        totals = Table.grid(padding=(0, 1))
        for label, value in footer(
            total_parameters,
            trainable_parameters,
            model_size,
            total_training_modes,
            total_flops if counted else None,
        ):
            totals.add_row(Text(f"{label}:", style="bold"), Text(value.strip()))
        console = get_console()
        console.print(table)
        console.print(totals)
