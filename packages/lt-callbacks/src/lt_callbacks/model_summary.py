"""Prints the table of the model's layers when fit begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from lt_callbacks.overriding import is_replaced
from lt_callbacks.summary.model_summary import ModelSummary as Summary
from lt_callbacks.summary.model_summary import check_max_depth, summarize
from lt_callbacks.summary.table import format_table
from lt_core.callback import Callback
from lt_core.rank_zero import rank_zero_info

if TYPE_CHECKING:
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["ModelSummary"]


class ModelSummary(Callback):
    """Print the layers of the module with their types and parameters.

    With an ``example_input_array`` on the module, sizes and floating point operations are printed too.

    Args:
        max_depth: How many levels of nested layers to show; -1 for all, 0 for no summary.
        **summarize_kwargs: Further arguments for `summarize` of a subclass.

    Raises:
        ValueError: ``max_depth`` is below -1.

    Example:
        >>> ModelSummary(max_depth=2).max_depth
        2
    """

    role: ClassVar[str | None] = "model_summary"

    def __init__(self, max_depth: int = 1, **summarize_kwargs: Any) -> None:
        super().__init__()
        check_max_depth(max_depth)
        self._max_depth = max_depth
        self._summarize_kwargs = summarize_kwargs

    @property
    def max_depth(self) -> int:
        """How many levels of nested layers are shown."""
        return self._max_depth

    def uses_hook(self, name: str) -> bool:
        """Leave everything out when there is nothing to show."""
        return name != "on_fit_start" or self._max_depth != 0 or is_replaced(self, ModelSummary, name)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the summary."""
        if not self._max_depth:
            return
        # On all processes: the forward pass of a sharded module needs all of them.
        summary = self._summary(trainer, pl_module)
        if trainer.is_global_zero:
            self.summarize(
                summary.columns(),
                summary.total_parameters,
                summary.trainable_parameters,
                summary.model_size,
                summary.total_training_modes,
                total_flops=summary.total_flops,
                **self._summarize_kwargs,
            )

    def _summary(self, trainer: Trainer, pl_module: LightningModule) -> Summary:
        return summarize(pl_module, max_depth=self._max_depth)

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
        """Print a summary; override it to print in another way.

        Args:
            summary_data: The table by columns.
            total_parameters: The number of parameters.
            trainable_parameters: How many of them are trained.
            model_size: Their memory in megabytes.
            total_training_modes: How many modules are in ``"train"`` and ``"eval"`` mode.
            total_flops: The floating point operations of a forward pass; 0 where they were not counted.
            **summarize_kwargs: What the constructor was given.
        """
        table = format_table(
            total_parameters, trainable_parameters, model_size, total_training_modes, total_flops, *summary_data
        )
        rank_zero_info("\n" + table)
