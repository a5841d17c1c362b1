"""The names of reductions over processes."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from lt_core.errors import MisconfigurationValueError, did_you_mean

__all__ = ["reduce_op_of"]

_OPERATIONS = {
    "sum": "SUM",
    "min": "MIN",
    "max": "MAX",
    "product": "PRODUCT",
    "band": "BAND",
    "bor": "BOR",
    "bxor": "BXOR",
}
_AVERAGES = ("mean", "avg")


def reduce_op_of(name: Any) -> tuple[Any, bool]:
    """Return torch's operation of a name, and whether its result is divided by the number of processes.

    Args:
        name: ``"mean"``, ``"avg"`` or None; ``"sum"``, ``"min"``, ``"max"``, …; or a `torch.distributed.ReduceOp`.

    Raises:
        MisconfigurationValueError: There is no such operation.

    Example:
        >>> reduce_op_of("mean")[1], reduce_op_of("max")[1]
        (True, False)
    """
    if name is None:
        return dist.ReduceOp.SUM, True
    if not isinstance(name, str):
        if name == dist.ReduceOp.AVG:  # gloo has none
            return dist.ReduceOp.SUM, True
        return name, False
    lowered = name.lower()
    if lowered in _AVERAGES:
        return dist.ReduceOp.SUM, True
    if lowered not in _OPERATIONS:
        known = [*_AVERAGES, *_OPERATIONS]
        raise MisconfigurationValueError(
            f"`reduce_op={name!r}` is no reduction. Expected one of {known}.{did_you_mean(lowered, known)}"
        )
    return getattr(dist.ReduceOp, _OPERATIONS[lowered]), False
