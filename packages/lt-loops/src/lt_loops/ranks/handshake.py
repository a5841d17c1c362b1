"""Before the process group is made, the processes make sure that they are all there and belong together.

Each lays a card on the table (the store) and rank 0 reads them as they come. Whoever sees that something is wrong says
so there, and all of them end with the same message. Nobody waits longer than stated, and nobody waits for a process
that only one side believes in: who counts the world differently compares with rank 0, which is there in every count.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch.distributed as dist

from lt_core.rank_zero import rank_zero_info
from lt_loops.ranks.card import RankCard, disagreement
from lt_loops.ranks.meet import HandshakeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["describe_topology", "shake_hands"]

_FIRST_NAP, _LONGEST_NAP = 0.005, 0.2  # seconds between two looks
_PATIENCE = 10.0  # seconds after which rank 0 says for whom it waits
_MARGIN = 5.0  # seconds that the others give rank 0 beyond the limit, so that they end with its message
_LINGER = 2.0  # seconds that rank 0, which may hold the store, gives the others to read why it ends
_FINE = "fine"
_LATE = "After"  # how a message about missing ranks begins


def shake_hands(store: dist.Store, card: RankCard, seconds: float) -> list[RankCard]:
    """Make sure that all processes are there and fit together.

    Args:
        store: Where all of them meet.
        card: This process's.
        seconds: How long to wait for the others.

    Returns:
        All cards on rank 0, in the order of ranks; this process's only elsewhere.

    Raises:
        HandshakeError: Some are missing, two have the same rank, or they disagree.
    """
    try:
        return _Table(store, card, seconds).meet()
    except dist.DistError as error:
        raise HandshakeError(
            f"Rank {card.rank} lost the others before they had found together: {str(error).splitlines()[0]} Expected "
            "rank 0 to stay: its own message says why it ended."
        ) from error


def describe_topology(cards: list[RankCard], started_by: str) -> str:
    """Return one line about all processes.

    Example:
        >>> two = [RankCard(rank, rank, 0, 2, 1, "cpu", "gloo") for rank in (0, 1)]
        >>> describe_topology(two, "torchrun")
        '2 ranks on 1 machine: cpu x 2, gloo, started by torchrun'
    """
    ranks, machines = len(cards), cards[0].num_nodes
    kinds = Counter(card.device_kind for card in cards)
    devices = ", ".join(f"{kind} x {count}" for kind, count in kinds.items())
    return (
        f"{ranks} {'rank' if ranks == 1 else 'ranks'} on {machines} {'machine' if machines == 1 else 'machines'}: "
        f"{devices}, {cards[0].backend}, started by {started_by}"
    )


@dataclass
class _Table:
    store: dist.Store
    card: RankCard
    seconds: float
    own_problem: str | None = None

    def meet(self) -> list[RankCard]:
        store, card = self.store, self.card
        place = store.add(f"count/{card.rank}", 1)
        store.set(f"card/{card.rank}/{place}", card.dump())
        store.add("arrived", 1)
        if place > 1:
            self._complain(self._same_rank_twice())
        cards = self._receive() if card.rank == 0 else self._follow()
        verdict = store.get("verdict").decode()
        if verdict == _FINE and self.own_problem is not None:
            verdict = self.own_problem  # too late for the others: they have begun without this process
        if verdict != _FINE:
            self._leave()
            raise HandshakeError(verdict) from (self._too_late() if verdict.startswith(_LATE) else None)
        return cards

    # -- rank 0

    def _receive(self) -> list[RankCard]:
        """Read the cards as they come, and say in the end that all is well."""
        cards: dict[int, RankCard] = {0: self.card}
        said = False
        started = time.monotonic()
        for _ in self._looks(self.seconds):
            self._read_new(cards)
            if self._decided():
                return []
            if len(cards) == self.card.world_size:
                break
            if not said and time.monotonic() - started > _PATIENCE:
                said = True
                rank_zero_info(f"Waiting for {self._missing(cards)}; gives up after {self.seconds:g} s.")
        else:
            missing = self._missing(cards)
            self._complain(
                f"{_LATE} {self.seconds:g} s {missing} of {self.card.world_size} had not come; {_listed(list(cards))} "
                f"had. Expected all ranks to be started: check that each machine runs the script, and that nothing "
                "before the trainer's call ends or stops a process; give them more time by the environment variable "
                "LT_START_TIMEOUT (seconds)."
            )
            return []
        if self.store.add("problems", 1) == 1:
            self.store.set("verdict", _FINE)
        return [cards[rank] for rank in range(self.card.world_size)]

    def _read_new(self, cards: dict[int, RankCard]) -> None:
        for rank in range(self.card.world_size):
            key = f"card/{rank}/1"
            if rank in cards or not self.store.check([key]):
                continue
            cards[rank] = RankCard.load(self.store.get(key))
            problem = disagreement(self.card, cards[rank])
            if problem is not None:
                self._complain(problem)
                return

    def _missing(self, cards: dict[int, RankCard]) -> str:
        return _listed([rank for rank in range(self.card.world_size) if rank not in cards])

    # -- the others

    def _follow(self) -> list[RankCard]:
        """Compare with rank 0, and wait for its word."""
        compared = False
        for _ in self._looks(self.seconds + _MARGIN):
            if not compared and self.store.check(["card/0/1"]):
                compared = True
                problem = disagreement(RankCard.load(self.store.get("card/0/1")), self.card)
                if problem is not None:
                    self._complain(problem)
            if self._decided():
                return [self.card]
        missing = "said nothing" if compared else "had not come"
        self._complain(
            f"{_LATE} {self.seconds + _MARGIN:g} s rank 0 {missing}; rank {self.card.rank} had waited for it. Expected "
            "it to be started, too: check that the machine of rank 0 runs the script."
        )
        return [self.card]

    # -- all

    def _looks(self, seconds: float) -> Iterator[None]:
        """Ends when the time is over; the naps between two looks grow."""
        deadline = time.monotonic() + seconds
        nap = _FIRST_NAP
        while time.monotonic() < deadline:
            yield
            time.sleep(nap)
            nap = min(nap * 2, _LONGEST_NAP)

    def _decided(self) -> bool:
        return self.store.check(["verdict"])

    def _complain(self, problem: str) -> None:
        """Tell all; the first complaint counts."""
        self.own_problem = problem
        if self.store.add("problems", 1) == 1:
            self.store.set("verdict", problem)

    def _too_late(self) -> dist.DistError | None:
        """Return torch's own word for a wait that was too long: who reads it knows that the cause is elsewhere."""
        try:
            self.store.wait(["nobody"], timedelta(milliseconds=1))
        except dist.DistError as error:
            return error
        return None

    def _same_rank_twice(self) -> str:
        first = RankCard.load(self.store.get(f"card/{self.card.rank}/1"))
        mine = self.card
        return (
            f"Two processes have the rank {mine.rank}: process {first.pid} on {first.host} and process {mine.pid} on "
            f"{mine.host}. Expected each rank from 0 to {mine.world_size - 1} once: give each process its own "
            "LOCAL_RANK, and each machine its own NODE_RANK."
        )

    def _leave(self) -> None:
        """Have read why; rank 0 waits until the others have, since the store may end with it."""
        self.store.add("left", 1)
        if self.card.rank != 0:
            return
        for _ in self._looks(_LINGER):
            if self.store.add("left", 0) >= self.store.add("arrived", 0):
                return


def _listed(ranks: list[int]) -> str:
    numbers = ", ".join(str(rank) for rank in ranks)
    return f"rank {numbers}" if len(ranks) == 1 else f"ranks {numbers}"
