"""The batches of one training epoch, resumable at any of them.

A resumed epoch begins as the interrupted one did, with the same random states, and is advanced to where it was: so the
order of the samples, the seeds of the workers and what augmentations draw are those of a run that was not interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, IterableDataset

from lt_core.combined_loader import CombinedLoader
from lt_core.errors import CheckpointError
from lt_core.rank_zero import PossibleUserWarning, rank_zero_warn
from lt_core.seed import collect_random_states, restore_random_states
from lt_loops.data.limits import loader_size
from lt_loops.data.own_generators import OwnGenerators
from lt_loops.data.raw_states import RawStates
from lt_loops.data.restarts import RecordedLoader, recorded

if TYPE_CHECKING:
    from lt_loops.data.agreement import EpochAgreement

__all__ = ["EpochBatches"]

_END = object()


class EpochBatches(Iterator[Any]):
    """Iterates over one epoch.

    Where the loader has a length, the last batch is told by counting. Otherwise each batch is handed out when the next
    one has been read.

    Args:
        loader: The training loader, or a `CombinedLoader` of several.
        num_batches: How many to read at most; infinite for all.
        resumable: Whether the epoch may be saved and resumed; otherwise nothing is recorded at its start.
        agreement: With whom the number of batches is agreed on; None where all ranks have equally many.

    Attributes:
        position: How many batches were handed out.
        is_last: Whether the batch that was handed out last is the last one of the epoch.

    Example:
        >>> batches = EpochBatches([10, 20, 30], 2, resumable=False)
        >>> batches.start()
        >>> for batch in batches:
        ...     print(batch, batches.is_last)
        10 False
        20 True
    """

    position: int
    is_last: bool

    def __init__(
        self, loader: Any, num_batches: int | float, *, resumable: bool, agreement: EpochAgreement | None = None
    ) -> None:
        leaves = loader.flattened if isinstance(loader, CombinedLoader) else [loader]
        self._sole = leaves[0] if len(leaves) == 1 else None
        self._is_nested = isinstance(loader, CombinedLoader)
        if self._is_nested and self._sole is not None and loader.iterables is self._sole:
            # The usual case: one loader. Reading it directly saves what combining costs for each batch.
            loader, self._is_nested = self._sole, False
        self._recorded: list[RecordedLoader] = []
        if resumable and self._is_nested and loader.mode == "max_size_cycle":
            loader, self._recorded = recorded(loader)
        self._loader = loader
        size = loader_size(loader)
        if agreement is not None:
            size = agreement.size(size)
        self._agreement = agreement
        self._is_counted = size != math.inf
        self._count = min(size, num_batches)
        self._limit = num_batches
        self._resumable = resumable
        self._own = OwnGenerators(leaves)
        self._keeps_state = not self._is_nested and _keeps_state(loader)
        # Workers read with generators of their own: what this process had drawn before makes no difference to them.
        in_workers = isinstance(loader, DataLoader) and loader.num_workers > 0
        self._notes_ahead = resumable and (self._keeps_state or not in_workers)
        self._iterator: Iterator[Any] = iter(())
        self._ahead: Any = _END
        self._at_start: dict[str, Any] | None = None
        self._before_ahead: dict[str, Any] | None = None
        self.position = 0
        self.is_last = False

    # -- reading

    def start(self) -> None:
        """Begin the epoch."""
        if self._resumable:
            self._at_start = self._states()
        self.position = 0
        self.is_last = False
        for member in self._recorded:
            member.begin()
        self._iterator = iter(self._loader)
        if not self._is_counted:
            self._look_ahead()

    def __next__(self) -> Any:
        position = self.position
        if self._is_counted:
            if position >= self._count:
                self._iterator = iter(())  # the workers go with it
                raise StopIteration
            try:
                batch = next(self._iterator)
            except StopIteration:
                if self._agreement is None:
                    raise
                raise self._agreement.ended_early(position, self._count) from None
            self.position = position = position + 1
            self.is_last = position == self._count
        else:
            batch = self._ahead
            if batch is _END:
                raise StopIteration
            self.position = position + 1
            self._look_ahead()
            self.is_last = self._ahead is _END
        return batch[0] if self._is_nested else batch

    def next_batch(self) -> Any:
        """Return the next batch.

        Raises:
            StopIteration: The epoch is over.
        """
        return self.__next__()

    def stop(self) -> None:
        """End the epoch here; the loader's workers go with its iterator."""
        self._count = self._limit = self.position
        self._ahead = _END
        self._iterator = iter(())

    def _look_ahead(self) -> None:
        if self._notes_ahead:
            self._before_ahead = self._state_before_ahead()
        if self.position >= self._limit:
            self._ahead = _END
            return
        self._ahead = next(self._iterator, _END)
        if self._agreement is not None and not self._agreement.all_have(self._ahead is not _END, self.position):
            self._ahead = _END

    # -- saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """Return where in the epoch this is: numbers, lists and tensors only.

        Raises:
            CheckpointError: Nothing was recorded at the epoch's start, because it was not made resumable.
        """
        if self._at_start is None:
            raise CheckpointError(
                f"The position in an epoch was asked for (batch {self.position}), and the epoch was not begun as a"
                " resumable one. Expected `EpochBatches(…, resumable=True)` and `start()` before saving."
            )
        state = {"position": self.position, "start": _plain(self._at_start), "own": self._own.states()}
        if self._recorded:
            state["restarts"] = [member.state() for member in self._recorded]
        if self._before_ahead is not None:
            state["ahead"] = _plain(self._before_ahead)
        elif self._keeps_state:
            state["loader"] = self._loader.state_dict()
        return state

    def resume(self, state: dict[str, Any]) -> None:
        """Go to where an epoch was saved, instead of `start`.

        The samplers must have been told their epoch before. Afterwards restore the global random states of the moment
        of saving: what this does to them is of no further use.

        Args:
            state: What `state_dict` returned, for a loader that is built alike.

        Raises:
            CheckpointError: The loader ends before the saved position.
        """
        if "start" in state:
            self._at_start = state["start"]
            self._restore(state["start"])
        else:  # a file of another origin tells how many batches were used, and nothing of their order
            self._at_start = self._states()
        for member, restart in zip(self._recorded, state.get("restarts", [None] * len(self._recorded)), strict=True):
            member.begin(restart)
        ahead = state.get("ahead")
        kept = state.get("loader") if ahead is None else ahead.get("loader")
        if kept is not None and self._keeps_state:
            self._loader.load_state_dict(kept)
            self._iterator = iter(self._loader)
        else:
            self._iterator = iter(self._loader)
            self._skip(state["position"])
        self.position = state["position"]
        if self._is_counted:
            self.is_last = self.position == self._count
        else:
            if ahead is not None:
                restore_random_states(ahead["random"])
                self._own.restore(ahead["own"])
            self._look_ahead()
            self.is_last = self._ahead is _END
        if "own" in state:
            self._own.restore(state["own"])

    def _states(self) -> dict[str, Any]:
        return {"random": RawStates(), "own": self._own.states()}

    def _restore(self, states: dict[str, Any]) -> None:
        restore_random_states(states["random"])
        self._own.restore(states["own"])

    def _state_before_ahead(self) -> dict[str, Any]:
        # The batch that is read ahead cannot be saved. It is read again, from what was there before it.
        states = self._states()
        if self._keeps_state:
            states["loader"] = self._loader.state_dict()
        return states

    def _skip(self, number: int) -> None:
        if self._can_skip_indices():
            # `_next_index` is the only way to advance torch's iterator without reading the samples. The order comes
            # from the sampler alone, so nothing else changes; reading would cost as much as the epoch did so far.
            advance = self._iterator._next_index  # type: ignore[attr-defined]  # noqa: SLF001 - see above
        else:
            advance = self._iterator.__next__
        if number and isinstance(self._sole, DataLoader):
            _say_about_persistent_workers(self._sole)
        draws_late = False
        skipped = 0
        try:
            for skipped in range(number):
                before = collect_random_states(include_cuda=False) if skipped == 1 else None
                advance()
                if before is not None and self._can_skip_indices():
                    draws_late = not _are_equal(before, collect_random_states(include_cuda=False))
        except StopIteration as error:
            raise CheckpointError(
                f"The checkpoint was written after batch {number} of an epoch, and the training loader ended after"
                f" {skipped} batches. Expected a loader with as many batches as then. Resume with the data, batch size"
                " and sampler of the interrupted run."
            ) from error
        if draws_late:
            rank_zero_warn(
                f"The sampler `{type(self._loader.sampler).__name__}` draws from the global random generators for"
                " each batch, as training itself does: the samples of the resumed epoch come in another order. Draw the"
                " whole order at the beginning of `__iter__`, or from a generator that the sampler keeps as an"
                " attribute.",
                category=PossibleUserWarning,
            )

    def _can_skip_indices(self) -> bool:
        loader = self._loader
        return (
            isinstance(loader, DataLoader)
            and self._is_counted
            and loader.num_workers == 0
            and not isinstance(loader.dataset, IterableDataset)
            and callable(getattr(self._iterator, "_next_index", None))
        )


def _keeps_state(loader: Any) -> bool:
    return all(callable(getattr(loader, name, None)) for name in ("state_dict", "load_state_dict"))


def _plain(states: dict[str, Any]) -> dict[str, Any]:
    random_states = states["random"]
    return {**states, "random": random_states.plain()} if isinstance(random_states, RawStates) else states


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_are_equal(one[key], other[key]) for key in one)
    equal = one == other
    return bool(equal if isinstance(equal, bool) else equal.all())


def _say_about_persistent_workers(loader: DataLoader[Any]) -> None:
    if loader.persistent_workers:
        rank_zero_warn(
            "Training is resumed within an epoch, with `persistent_workers=True`. The samples come in the same order,"
            " but what the workers' own random generators had drawn in earlier epochs is not known: random"
            " augmentations may differ. For the same bits write `persistent_workers=False`.",
            category=PossibleUserWarning,
        )
