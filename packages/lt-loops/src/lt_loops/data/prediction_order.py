"""Brings the predictions of all ranks into the order of the data, as one process would have made them."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import rank_zero_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lt_loops.strategies import Strategy

__all__ = ["gather_predictions", "in_data_order"]

_AT_ONCE = 64  # batches that each rank sends in one exchange: bounds the memory beside the predictions themselves


def gather_predictions(own: list[list[Any]], dealt: Sequence[bool], strategy: Strategy) -> list[list[Any]]:
    """Return the predictions of all ranks for each loader; to be called on all of them.

    Args:
        own: What this rank predicted for the batches of each loader, on the CPU.
        dealt: For each loader, whether its batches were dealt in turn to the ranks; empty where there is one rank.
        strategy: Connects the ranks.

    Returns:
        For a loader that was dealt, the predictions of all ranks in the order of the data; for others, its own.

    Raises:
        MisconfigurationException: A prediction cannot be sent.
    """
    if not dealt:
        return list(own)
    if not all(dealt):
        rank_zero_info(
            "The prediction data was not divided here: each rank returns the predictions of the batches that it has"
            " read."
        )
    return [
        _gather(predictions, strategy) if is_dealt else predictions
        for predictions, is_dealt in zip(own, dealt, strict=True)
    ]


def _gather(own: list[Any], strategy: Strategy) -> list[Any]:
    longest = max(strategy.gather_objects(len(own)))
    by_rank: list[list[Any]] = [[] for _ in range(strategy.world_size)]
    for start in range(0, longest, _AT_ONCE):
        for everything, part in zip(by_rank, _exchange(own[start : start + _AT_ONCE], strategy), strict=True):
            everything.extend(part)
    return in_data_order(by_rank)


def _exchange(part: list[Any], strategy: Strategy) -> list[list[Any]]:
    try:
        return strategy.gather_objects(part)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise MisconfigurationException(
            f"`predict_step` returned something that cannot be sent to the other ranks ({error}). Expected tensors,"
            " numbers, strings, and lists or dicts of them. Return these, or pass"
            " `trainer.predict(..., return_predictions=False)` and write the predictions in `on_predict_batch_end`."
        ) from error


def in_data_order(by_rank: Sequence[Sequence[Any]]) -> list[Any]:
    """Return what was dealt in turn to the ranks in the order in which it was dealt.

    Args:
        by_rank: What each rank has.

    Example:
        >>> in_data_order([["a", "c"], ["b"]])
        ['a', 'b', 'c']
    """
    longest = max((len(part) for part in by_rank), default=0)
    return [part[index] for index in range(longest) for part in by_rank if index < len(part)]
