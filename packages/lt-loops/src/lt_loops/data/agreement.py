"""How ranks whose training data was not divided here agree on the batches of an epoch.

The rule: each rank trains on as many batches as the rank with the fewest, so that nobody waits for gradients that never
come. Where all loaders have a length this takes one small exchange for each epoch. Where one has none, the ranks ask
each other before each batch whether all have one more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import WarningCache

if TYPE_CHECKING:
    from lt_loops.strategies import Strategy

__all__ = ["EpochAgreement"]

_Number: TypeAlias = "int | float"

_told = WarningCache()


class EpochAgreement:
    """Finds, with the other ranks, how many training batches there are; all methods are to be called on all ranks.

    Args:
        strategy: Connects the ranks.
        may_be_empty: Whether nobody trains, instead of an error, when a rank has no batch.
    """

    def __init__(self, strategy: Strategy, *, may_be_empty: bool = False) -> None:
        self._strategy = strategy
        self._may_be_empty = may_be_empty

    def size(self, own: _Number) -> _Number:
        """Return the smallest number of batches that a rank has; infinite when one cannot tell.

        Args:
            own: The number of this rank, infinite when it cannot tell.

        Raises:
            MisconfigurationException: A rank has none, while others have some.
        """
        sizes = self._strategy.gather_objects(own)
        if 0 in sizes and max(sizes) > 0 and not self._may_be_empty:
            raise _has_none([size > 0 for size in sizes])
        if math.inf in sizes:
            return math.inf
        if len(set(sizes)) > 1:
            _told.warn(
                f"The ranks have {_listed(sizes)} training batches: each trains on {min(sizes)} in an epoch, so that"
                " none waits for the others. Divide the data evenly to use all of it."
            )
        return min(sizes)

    def all_have(self, has: bool, position: int) -> bool:  # noqa: FBT001 -- it is what the ranks vote on
        """Tell whether all ranks have a next batch.

        Args:
            has: Whether this rank has one.
            position: How many batches were read in this epoch.

        Raises:
            MisconfigurationException: A rank has no first batch, while others have one.
        """
        if self._strategy.reduce_boolean_decision(has):
            return True
        have = self._strategy.gather_objects(has)
        if any(have) and not position and not self._may_be_empty:
            raise _has_none(have)
        if any(have):
            _told.warn(
                f"The training data of rank {_listed([rank for rank, more in enumerate(have) if not more])} ended after"
                f" {position} batches, and other ranks have more: the epoch ends there on all ranks, so that none waits"
                " for the others. Divide the data evenly to use all of it."
            )
        return False

    def ended_early(self, position: int, count: _Number) -> MisconfigurationException:
        """Return the error of a loader that has fewer batches than the ranks agreed on.

        Args:
            position: How many it had.
            count: How many were agreed on.
        """
        return MisconfigurationException(
            f"The training loader of rank {self._strategy.global_rank} ended after {position} batches, and the ranks"
            f" have agreed on {count} by the loaders' lengths: the others would wait for it. Expected `len(loader)`"
            " batches. Let `__len__` tell the truth or leave it out; the ranks then ask each other before each batch."
        )


def _has_none(have: list[bool]) -> MisconfigurationException:
    without = _listed([rank for rank, some in enumerate(have) if not some])
    return MisconfigurationException(
        f"Rank {without} has no training batches, and the others have some. Expected at least one on each of the"
        f" {len(have)} ranks, because all take each step together. Give each rank a part of the data, use fewer"
        " devices, or let the trainer divide the data: leave `use_distributed_sampler` on and pass a DataLoader of a"
        " map-style data set."
    )


def _listed(values: list[Any]) -> str:
    return ", ".join(str(value) for value in values)
