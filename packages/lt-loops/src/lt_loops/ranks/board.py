"""A small piece of memory that all processes of one machine see: where each of them is, and who wants to stop.

It lets processes learn from each other without a collective. Each process writes its own record only, and whole
numbers only, so nothing needs a lock.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from enum import IntEnum
from pathlib import Path

__all__ = ["BoardField", "RankBoard"]

_WIDTH = 8  # numbers in a record


class BoardField(IntEnum):
    """What a record holds.

    Attributes:
        STEP: The window of batches that the process works on, or has completed last; -1 before the first.
        VOTE: After which batch it wants to stop and why, in one number; 0 while it does not (`stop_vote`).
        BATCH: The training batch that it works on or is bound for, counted over all epochs; -1 before the first.
        EPOCH: The epoch that it is in.
        SIGNAL: 1 once it was told to end by a signal, else 0.
    """

    STEP = 0
    VOTE = 1
    BATCH = 2
    EPOCH = 3
    SIGNAL = 4


class RankBoard:
    """The record of each process of this machine.

    Args:
        path: The file behind the memory; made by `RankBoard.create`.
        rank: The number of this process on this machine.

    Attributes:
        path: The file behind the memory.
        rank: The number of this process on this machine.
        num_ranks: How many processes have a record.

    Example:
        >>> path = RankBoard.create(2)
        >>> mine, others = RankBoard(path, 0), RankBoard(path, 1)
        >>> mine.write(BoardField.STEP, 7)
        >>> others.read(BoardField.STEP, 0)
        7
        >>> mine.close(), others.close()
        (None, None)
        >>> os.remove(path)
    """

    path: str
    rank: int
    num_ranks: int

    def __init__(self, path: str, rank: int) -> None:
        self.path = path
        self.rank = rank
        with Path(path).open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._numbers = memoryview(self._memory).cast("q")
        self.num_ranks = len(self._numbers) // _WIDTH
        self._offset = rank * _WIDTH

    @classmethod
    def create(cls, num_ranks: int) -> str:
        """Make the file for ``num_ranks`` processes.

        Returns:
            Its path; whoever made it removes it when all have ended.
        """
        handle, path = tempfile.mkstemp(prefix="lt-ranks-")
        empty = memoryview(bytearray(num_ranks * _WIDTH * 8)).cast("q")
        for rank in range(num_ranks):
            empty[rank * _WIDTH + BoardField.STEP] = -1
            empty[rank * _WIDTH + BoardField.BATCH] = -1
        with os.fdopen(handle, "wb") as file:
            file.write(empty.tobytes())
        return path

    def write(self, field: BoardField, value: int) -> None:
        """Change a number of this process's record."""
        self._numbers[self._offset + field] = value

    def read(self, field: BoardField, rank: int) -> int:
        """Return a number of the record of the process ``rank`` of this machine."""
        return self._numbers[rank * _WIDTH + field]

    def read_all(self, field: BoardField) -> list[int]:
        """Return a number of all records, in the order of ranks."""
        return list(self._numbers[field::_WIDTH])

    def close(self) -> None:
        """Let go of the memory."""
        self._numbers.release()
        self._memory.close()
