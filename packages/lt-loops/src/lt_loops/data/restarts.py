"""Remembers the random states with which loaders were started again within an epoch.

A shorter loader that is read beside a longer one starts anew in the middle of an epoch, and its sampler then draws from
the global generators, from which training has drawn meanwhile. To come to the same samples again, a resumed epoch needs
the states of the last restart; the samples of those before are thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_core.combined_loader import CombinedLoader
from lt_core.seed import restore_random_states
from lt_loops.data.raw_states import RawStates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RecordedLoader", "recorded"]


class RecordedLoader:
    """A loader that notes the random states at its last start within an epoch.

    Args:
        loader: What is read.

    Attributes:
        starts: How often it was started since the epoch began.
    """

    starts: int

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._noted: RawStates | None = None
        self._replayed: Mapping[str, Any] | None = None
        self.starts = 0

    def __iter__(self) -> Iterator[Any]:
        self.starts += 1
        if self._replayed is not None and self.starts == self._replayed["starts"]:
            restore_random_states(self._replayed["random"])
        if self.starts > 1:  # the states of the first start are those of the epoch
            self._noted = RawStates()
        return iter(self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def begin(self, replayed: Mapping[str, Any] | None = None) -> None:
        """Begin an epoch; one that is resumed restores what `state` returned when its last start comes."""
        self.starts = 0
        self._noted = None
        self._replayed = replayed

    def state(self) -> dict[str, Any] | None:
        """Return the last start, None when it is the epoch's own."""
        return None if self._noted is None else {"starts": self.starts, "random": self._noted.plain()}


def recorded(loader: CombinedLoader) -> tuple[CombinedLoader, list[RecordedLoader]]:
    """Return a loader that reads the same and whose members note their starts.

    Example:
        >>> combined, members = recorded(CombinedLoader([[1, 2, 3], [7]], "max_size_cycle"))
        >>> [batch for batch, _, _ in combined], [member.starts for member in members]
        ([[1, 7], [2, 7], [3, 7]], [1, 3])
    """
    members = [RecordedLoader(member) for member in loader.flattened]
    combined = CombinedLoader(loader.iterables, "max_size_cycle")
    combined.flattened = members
    combined.limits = loader.limits
    return combined, members
