"""The job that a process takes part in: which rank it is, and the folder where ranks leave word for each other.

Whoever starts the ranks makes the folder and removes it. It holds the ranks' shared numbers (`RankBoard`), what they
say when they fail, where they stand when somebody asks, and what the first of them brings back.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.util import get_temp_dir
from pathlib import Path

from lt_loops.ranks.board import BoardField, RankBoard

__all__ = ["Job", "current_job", "enter_job", "job_of_environment"]

_FOLDER, _STARTER, _BOARD = "LT_LAUNCH_FOLDER", "LT_LAUNCH_PID", "LT_RANK_BOARD"


@dataclass(frozen=True)
class Job:
    """What a rank knows of the ranks that were started together with it, on its machine.

    Attributes:
        folder: Where they leave word for each other.
        rank: The number of this process on this machine; -1 for a process that starts ranks and is none.
        num_ranks: How many there are on this machine.
        starter: The id of the process that started them.
    """

    folder: Path
    rank: int
    num_ranks: int
    starter: int

    @classmethod
    def create(cls, rank: int, num_ranks: int) -> Job:
        """Make the folder; this process is the one that starts the ranks.

        Args:
            rank: The number of this process; -1 if it is no rank.
            num_ranks: How many ranks there are on this machine.
        """
        folder = Path(tempfile.mkdtemp(prefix="lt-launch-"))
        os.replace(RankBoard.create(num_ranks), folder / "board")
        return cls(folder, rank, num_ranks, os.getpid())

    def environment(self) -> dict[str, str]:
        """Return the variables by which a rank finds the job."""
        return {_FOLDER: str(self.folder), _STARTER: str(self.starter), _BOARD: str(self.folder / "board")}

    def step_of(self, rank: int) -> int | None:
        """Return the step that a rank works on, None before the first."""
        try:
            board = RankBoard(str(self.folder / "board"), rank)
        except OSError:
            return None
        step = board.read(BoardField.STEP, rank)
        board.close()
        return None if step < 0 else step

    def tell_port(self, port: int) -> None:
        """Tell the ranks that wait for it where they meet."""
        draft = self.folder / "port.draft"
        draft.write_text(str(port), encoding="utf-8")
        os.replace(draft, self.folder / "port")

    def wait_for_port(self) -> str:
        """Wait until all ranks are started; return the port where they meet."""
        path = self.folder / "port"
        while not path.exists():
            time.sleep(0.01)
        return path.read_text(encoding="utf-8")

    def note_temporary_folder(self) -> None:
        """Write down where `multiprocessing` keeps the sockets of this process, which leaves them when it is killed."""
        (self.folder / f"temporary-{self.rank}").write_text(get_temp_dir(), encoding="utf-8")

    def remove(self) -> None:
        """Remove the folder with all that is in it, and what killed ranks have left elsewhere."""
        own = get_temp_dir()
        for note in self.folder.glob("temporary-*"):
            path = note.read_text(encoding="utf-8")
            if path and path != own:
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class _Current:
    job: Job | None = None


def current_job() -> Job | None:
    """Return the job that this process takes part in, None where it was not started by a launcher of ours."""
    return _Current.job


def enter_job(job: Job | None) -> None:
    """Make ``job`` the one of this process."""
    _Current.job = job


def job_of_environment(*, starter_is_parent: bool = True) -> Job | None:
    """Return the job that the environment tells of, None where there is none.

    Args:
        starter_is_parent: Whether the starter must be this process's parent: what a rank starts itself has the same
            environment and takes no part.
    """
    folder, starter = os.environ.get(_FOLDER), os.environ.get(_STARTER)
    if folder is None or starter is None or (starter_is_parent and os.getppid() != int(starter)):
        return None
    return Job(Path(folder), int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]), int(starter))
