"""Processes agree after which batch training stops, without a collective per step.

A wish to stop (``trainer.should_stop``, or SIGTERM) may come up in any one process at any time. All of them must stop
after the same batch, or those that go on wait for ever for the gradients of the others; and a wish that all have at
once, as early stopping does, must stop training exactly where a single process stops.

The processes of one machine vote on the `RankBoard`. Batches are numbered over the whole run. Each process

1. writes which batch it is bound for: p + 1 as soon as it has decided to go on after p;
2. at the end of batch p, if it wishes to stop, and no vote for an earlier batch is on the board, writes the vote p
   (once in a run) and waits until every other process has voted as well or is bound for a batch after p. If all have
   voted p, all stop after p. Otherwise the vote is refuted, and it goes on;
3. at the end of batch c that closes an accumulation window, first waits until all others are bound for c; then, if a
   vote for an earlier batch is on the board, stops. A process that sees a vote for the batch that it has ended joins
   it.

Why they agree:

- *All or none stop after p.* A vote is written once, and before its process is bound for a later batch. "All votes
  are p" is therefore either true for ever or, once somebody is bound for a batch after p or has voted for another one,
  false for ever; and each process that voted p waits until it is one or the other. Nobody stops after p without it
  being true.
- *A refuted vote stops all after the same batch*: the first close c after it. A process that stops after p' < c
  would need every vote to be p', and one is p. At c everybody waits until the others are bound for c. Whoever voted
  before c wrote that before it was, so everybody sees it, and stops. Nobody is beyond c: it would have ended c before,
  seeing the same. So all votes on a board lie between two closes, and c is the same for all of them.
- *Nobody waits for ever.* Whoever waits at the end of p waits for others to decide about a batch up to p. Of the
  processes at the smallest batch, those that have not ended it go on, and those that have either go on, or have all
  voted for it, which ends the wait. Between the end of a batch and the decision nothing else waits for other processes;
  what does (validation, rows that need all ranks, the end of an epoch) comes after the decision has been written. A
  process that dies is the launcher's matter, and the wait is bounded by the strategy's timeout.

Nothing here depends on how gradients are combined. On devices that work asynchronously rule 3 keeps the processes
(not the devices) within one window of each other.

Processes on several machines share no memory. There the wishes are collected with a collective at the end of every n-th
window, n being ``log_every_n_steps``.
"""

from __future__ import annotations

import time
from enum import IntEnum
from typing import TYPE_CHECKING

from lt_loops.ranks.board import BoardField, RankBoard

if TYPE_CHECKING:
    from datetime import timedelta

    from lt_core.log import Exchange

__all__ = ["PolledStop", "Stop", "StopVote", "agree"]

_NAP = 0.0002  # seconds
_NAP_LATER = 0.005  # seconds, after a tenth of a second of waiting


class Stop(IntEnum):
    """What a process wishes, and what all have agreed on; the larger one wins.

    Attributes:
        NO: Go on.
        ASKED: Stop, as ``trainer.should_stop`` asks for.
        SIGNAL: Save and end, as SIGTERM asks for.
    """

    NO = 0
    ASKED = 1
    SIGNAL = 2


class StopVote:
    """The vote of the processes of one machine.

    Args:
        board: Their memory.
        timeout: How long to wait for the others.

    Example:
        >>> import os
        >>> from datetime import timedelta
        >>> path = RankBoard.create(1)
        >>> vote = StopVote(RankBoard(path, 0), timedelta(seconds=1))
        >>> vote.begin(0)
        >>> vote.after(0, Stop.NO, closes=True), vote.after(1, Stop.ASKED, closes=True)
        (<Stop.NO: 0>, <Stop.ASKED: 1>)
        >>> os.remove(path)
    """

    def __init__(self, board: RankBoard, timeout: timedelta) -> None:
        self._board = board
        self._timeout = timeout.total_seconds()
        self._voted = False

    def reset(self) -> None:
        """Take this process's vote off the board: between two runs, while no other process may be reading it."""
        board = self._board
        self._voted = False
        board.write(BoardField.VOTE, 0)
        board.write(BoardField.BATCH, -1)
        board.write(BoardField.STEP, -1)
        board.write(BoardField.SIGNAL, 0)

    def begin(self, batch: int) -> None:
        """Say that this process begins a batch, where none comes before it.

        Args:
            batch: Its number over the whole run.
        """
        self._board.write(BoardField.BATCH, batch)

    def begin_window(self, window: int, epoch: int) -> None:
        """Say that this process begins an accumulation window, for those who report where it is."""
        self._board.write(BoardField.STEP, window)
        self._board.write(BoardField.EPOCH, epoch)

    def signal(self) -> None:
        """Say that this process was told to end; safe in a signal handler."""
        self._board.write(BoardField.SIGNAL, 1)

    @property
    def signalled(self) -> bool:
        """Whether any process of this machine was told to end."""
        return any(self._board.read_all(BoardField.SIGNAL))

    def after(self, batch: int, wish: Stop, *, closes: bool) -> Stop:
        """Find out whether all processes stop after a batch; each calls it at the end of every batch.

        Args:
            batch: The batch's number over the whole run.
            wish: What this process wishes.
            closes: Whether the batch closes an accumulation window.

        Returns:
            What all have agreed on.

        Raises:
            TimeoutError: Another process did not come within the timeout.
        """
        if closes:
            self._wait_until_bound_for(batch)
        votes = self._board.read_all(BoardField.VOTE)
        decision = self._decide(batch, wish, votes, closes=closes) if wish or any(votes) else Stop.NO
        if not decision:
            self._board.write(BoardField.BATCH, batch + 1)
        return decision

    def _decide(self, batch: int, wish: Stop, votes: list[int], *, closes: bool) -> Stop:
        placed = [_batch_of(vote) for vote in votes if vote]
        if any(each < batch for each in placed):
            return max(_stop_of(vote) for vote in votes if vote) if closes else Stop.NO
        if self._voted or not (wish or batch in placed):
            return Stop.NO
        self._voted = True
        self._board.write(BoardField.VOTE, _vote(batch, wish or Stop.ASKED))
        return self._wait_for_votes(batch)

    def _wait_until_bound_for(self, batch: int) -> None:
        read = self._board.read_all
        if min(read(BoardField.BATCH)) >= batch:
            return
        started = time.monotonic()
        while min(read(BoardField.BATCH)) < batch:
            self._sleep(started, batch)

    def _wait_for_votes(self, batch: int) -> Stop:
        board = self._board
        started = time.monotonic()
        while True:
            bound, votes = board.read_all(BoardField.BATCH), board.read_all(BoardField.VOTE)
            if any(each > batch for each in bound) or any(vote and _batch_of(vote) != batch for vote in votes):
                return Stop.NO
            if all(votes):
                return max(_stop_of(vote) for vote in votes)
            self._sleep(started, batch)

    def _sleep(self, started: float, batch: int) -> None:
        waited = time.monotonic() - started
        if waited > self._timeout:
            bound = self._board.read_all(BoardField.BATCH)
            behind = [rank for rank, each in enumerate(bound) if each == min(bound)]
            raise TimeoutError(
                f"Rank {self._board.rank} has waited {waited:.0f} s at the end of batch {batch} for ranks {behind}, "
                f"which are at batch {min(bound)}. Expected all ranks to work on the same batches: look at what these "
                "ranks do, or raise the strategy's `timeout`."
            )
        time.sleep(_NAP if waited < 0.1 else _NAP_LATER)


def _vote(batch: int, wish: Stop) -> int:
    return (batch + 1) * 4 + wish


def _batch_of(vote: int) -> int:
    return vote // 4 - 1


def _stop_of(vote: int) -> Stop:
    return Stop(vote % 4)


class PolledStop:
    """The wishes of processes that share no memory, collected at the end of every n-th window.

    Args:
        exchange: Talks to the other processes.
        every: n.
    """

    def __init__(self, exchange: Exchange, every: int) -> None:
        self._exchange = exchange
        self._every = every
        self._windows = 0

    def reset(self) -> None:
        """Count from zero, as every process does at the beginning of a run."""
        self._windows = 0

    def begin(self, batch: int) -> None:
        """Nothing to say: nobody could read it."""

    def begin_window(self, window: int, epoch: int) -> None:
        """Nothing to say: nobody could read it."""

    def signal(self) -> None:
        """Nothing to say: the next question asks for it."""

    @property
    def signalled(self) -> bool:
        """Never known before the next question."""
        return False

    def after(self, batch: int, wish: Stop, *, closes: bool) -> Stop:
        """Ask all processes at every n-th window; see `StopVote.after`."""
        if not closes:
            return Stop.NO
        self._windows += 1
        return Stop.NO if self._windows % self._every else agree(self._exchange, wish)


def agree(exchange: Exchange, wish: Stop) -> Stop:
    """Return the strongest wish of all processes; a collective."""
    return Stop(int(max(row[0] for row in exchange.gather_numbers([float(wish)]))))
