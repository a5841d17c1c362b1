"""Refuses collectives while an evaluation reads data of which the ranks have unequal numbers of batches.

Evaluation reads each sample once, so the last batch may exist on some ranks only. A collective in a step would then
wait for ranks that are through; that is known before the first step and said at the call.
"""

from __future__ import annotations

from lt_core.errors import MisconfigurationException

__all__ = ["UnevenBatchesError", "refuse_if_uneven"]


class UnevenBatchesError(MisconfigurationException):
    """A collective was called in an evaluation step that not all ranks run."""


def refuse_if_uneven(call: str, counts: tuple[int | float, ...] | None) -> None:
    """Raise unless all ranks run as many steps.

    Args:
        call: The method that was called.
        counts: How many batches each rank has, None where all have as many.

    Raises:
        UnevenBatchesError: They have not.

    Example:
        >>> refuse_if_uneven("all_gather", None)
    """
    if counts is None:
        return
    numbers = ", ".join(str(count) for count in counts)
    fewest = min(counts)
    limit = f", or let each rank run as many steps: `limit_val_batches={fewest}` (likewise test and predict)"
    raise UnevenBatchesError(
        f"`{call}` was called while a batch is evaluated, and the ranks have {numbers} batches of this loader: some"
        " would wait for ever. Each sample is read once, so ranks need not have as many batches. Expected the call"
        " where all ranks come by. Collect values in the step and call it in `on_validation_epoch_end` (likewise"
        f" `on_test_epoch_end`, `on_predict_epoch_end`), log with `self.log`{limit if fewest else ''}."
    )
