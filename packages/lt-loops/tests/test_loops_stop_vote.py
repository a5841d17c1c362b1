"""All ranks stop after the same batch, whoever wishes it and when; on threads that share a board, and in real runs."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_core.callback import Callback
from lt_core.errors import SIGTERMException
from lt_core.testing import BoringModel, RandomDataset, run_ranks
from lt_loops import Trainer
from lt_loops.ranks.board import BoardField, RankBoard
from lt_loops.ranks.stop_vote import PolledStop, Stop, StopVote

Wish = Callable[[int, int], Stop]


class Training:
    """What a loop does with the vote, with as many threads as ranks; windows are closed together where asked for."""

    def __init__(self, ranks: int, batches: int, window: int, *, in_step: bool) -> None:
        self.path = RankBoard.create(ranks)
        self.ranks, self.batches, self.window = ranks, batches, window
        self.gradients = threading.Barrier(ranks, timeout=20) if in_step else None
        self.between: Callable[[int], object] = lambda batch: None

    def run(self, wish: Wish, pause: Callable[[], float]) -> list[tuple[int, Stop]]:
        """Where each rank has stopped, and why."""
        with ThreadPoolExecutor(self.ranks) as pool:
            stopped = list(pool.map(lambda rank: self._work(rank, wish, pause), range(self.ranks)))
        os.remove(self.path)
        return stopped

    def _work(self, rank: int, wish: Wish, pause: Callable[[], float]) -> tuple[int, Stop]:
        board = RankBoard(self.path, rank)
        vote = StopVote(board, timedelta(seconds=20))
        for batch in range(self.batches):
            is_last = batch == self.batches - 1
            closes = is_last or batch % self.window == self.window - 1
            if not batch:
                vote.begin(batch)
            time.sleep(pause())
            if closes and self.gradients is not None:
                self.gradients.wait()
            time.sleep(pause())
            decision = vote.after(batch, wish(rank, batch), closes=closes)
            if decision:
                return batch, decision
            self.between(batch)
        return self.batches, Stop.NO


def at_once() -> float:
    return 0.0


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("batch", [0, 4, 5])
def test_a_wish_of_all_stops_where_one_process_stops(batch: int, window: int) -> None:
    """When all ranks wish it after the same batch, that batch is the last one, within a window or at its end."""
    training = Training(4, 12, window, in_step=True)

    stopped = training.run(lambda rank, now: Stop.ASKED if now >= batch else Stop.NO, lambda: random.random() * 0.002)

    assert stopped == [(batch, Stop.ASKED)] * 4


@pytest.mark.parametrize("window", [1, 4])
def test_a_wish_of_one_rank_stops_all_within_the_next_window(window: int) -> None:
    """The others learn of it without a collective, and nobody is left behind."""
    training = Training(4, 20, window, in_step=True)

    stopped = training.run(lambda rank, now: Stop.SIGNAL if rank == 2 and now >= 5 else Stop.NO, at_once)

    assert len(set(stopped)) == 1
    batch, reason = stopped[0]
    assert 5 <= batch <= 5 + window
    assert reason is Stop.SIGNAL


@pytest.mark.parametrize("seed", range(12))
def test_whoever_wishes_it_whenever_all_ranks_stop_after_the_same_batch(seed: int) -> None:
    """Random voters, moments, reasons, windows and pauses, with gradients that keep ranks together and without."""
    dice = random.Random(seed)
    ranks, window = dice.randint(2, 4), dice.randint(1, 4)
    wishes = {rank: (dice.randint(0, 30), dice.choice(list(Stop))) for rank in range(ranks)}
    slowest = dice.choice([0.0, 0.0005, 0.003])
    training = Training(ranks, 36, window, in_step=dice.random() < 0.5)

    def wish(rank: int, now: int) -> Stop:
        since, what = wishes[rank]
        return what if now >= since else Stop.NO

    stopped = training.run(wish, lambda: random.random() * slowest)

    assert len(set(stopped)) == 1, (wishes, window, stopped)
    first = min((since for since, what in wishes.values() if what), default=36)
    batch, _ = stopped[0]
    assert batch == 36 if first == 36 else first <= batch < first + 2 * window


def test_a_vote_at_the_last_batch_waits_for_no_batch_that_never_begins() -> None:
    """It is joined by all or refuted; what it wishes is heard again where all ranks meet at the end of the epoch."""
    training = Training(3, 6, 1, in_step=True)

    stopped = training.run(lambda rank, now: Stop.ASKED if rank == 1 and now == 5 else Stop.NO, at_once)

    assert stopped in ([(6, Stop.NO)] * 3, [(5, Stop.ASKED)] * 3)


def test_ranks_that_meet_between_two_batches_do_not_wait_for_each_other_there() -> None:
    """A decision is on the board before a validation, where all ranks come together, begins."""
    training = Training(3, 12, 1, in_step=True)
    meeting = threading.Barrier(3, timeout=20)
    training.between = lambda batch: meeting.wait() if batch % 2 else None

    stopped = training.run(lambda rank, now: Stop.ASKED if rank == 1 and now >= 5 else Stop.NO, at_once)

    assert len(set(stopped)) == 1
    assert stopped[0][0] in (5, 6)


def test_a_rank_that_does_not_come_is_named_after_the_timeout() -> None:
    """Waiting has an end, and the message says for whom and where."""
    path = RankBoard.create(2)
    vote = StopVote(RankBoard(path, 0), timedelta(seconds=0.05))
    vote.begin(3)

    with pytest.raises(
        TimeoutError, match=r"Rank 0 has waited .* end of batch 3 for ranks \[1\], which are at batch -1"
    ):
        vote.after(3, Stop.NO, closes=True)
    os.remove(path)


def test_a_new_run_begins_without_the_votes_of_the_last_one() -> None:
    """A trainer that fits twice stops twice."""
    path = RankBoard.create(1)
    board = RankBoard(path, 0)
    vote = StopVote(board, timedelta(seconds=1))
    vote.begin(0)
    assert vote.after(0, Stop.ASKED, closes=True) is Stop.ASKED

    vote.reset()

    vote.begin(0)
    assert vote.after(0, Stop.NO, closes=True) is Stop.NO
    assert vote.after(1, Stop.SIGNAL, closes=True) is Stop.SIGNAL
    assert board.read(BoardField.VOTE, 0) > 0
    os.remove(path)


def test_without_shared_memory_ranks_ask_each_other_every_n_windows() -> None:
    """On several machines a wish counts at the next question."""

    class Everybody:
        rank, world_size = 0, 2
        asked = 0

        def gather_numbers(self, numbers: Any) -> list[list[float]]:
            self.asked += 1
            return [list(numbers), [float(Stop.ASKED)] if self.asked == 2 else [0.0]]

        def gather_objects(self, obj: Any) -> list[Any]:
            raise AssertionError

        def members(self, group: Any) -> tuple[int, ...]:
            raise AssertionError

    everybody = Everybody()
    stop = PolledStop(everybody, 3)

    decisions = [stop.after(batch, Stop.NO, closes=batch % 2 == 1) for batch in range(12)]

    assert decisions == [Stop.NO] * 11 + [Stop.ASKED]
    assert everybody.asked == 2


# -- real runs


class Watch(Callback):
    """Wishes to stop on some ranks at some batches, after a random pause, and notes when training ended."""

    def __init__(self, wishes: dict[int, int]) -> None:
        self.since = wishes.get(int(os.environ["LOCAL_RANK"]))
        self.at: tuple[int, int, int] = (-1, -1, -1)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        time.sleep(random.random() * 0.004)
        if self.since is not None and trainer.fit_loop.progress.total_batches >= self.since:
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.at = (trainer.fit_loop.progress.total_batches, trainer.global_step, trainer.current_epoch)


def _fit(wishes: dict[int, int], options: dict[str, Any]) -> tuple[tuple[int, int, int], float]:
    torch.manual_seed(0)
    watch = Watch(wishes)
    model = BoringModel()
    trainer = Trainer(
        accelerator="cpu",
        devices=int(os.environ["WORLD_SIZE"]),
        strategy="ddp",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
        **options,
    )
    trainer.fit(model, DataLoader(RandomDataset(32, 96), batch_size=2))
    return watch.at, float(model.layer.weight.detach().sum())


@pytest.mark.parametrize(
    ("wishes", "options", "between"),
    [
        ({1: 3}, {"max_epochs": 2}, (4, 5)),
        ({0: 3, 1: 3, 2: 3, 3: 3}, {"max_epochs": 2}, (4, 4)),
        ({0: 7, 3: 5}, {"max_epochs": 2, "accumulate_grad_batches": 3}, (6, 9)),
        ({2: 0}, {"max_epochs": 3, "min_epochs": 2}, (24, 24)),
        ({2: 0}, {"max_epochs": 2, "min_steps": 9}, (9, 10)),
        ({1: 3}, {"max_steps": 4}, (4, 4)),
        ({3: 11}, {"max_epochs": 2}, (12, 12)),
    ],
)
def test_a_real_run_on_four_ranks_ends_alike_on_all(
    wishes: dict[int, int], options: dict[str, Any], between: tuple[int, int]
) -> None:
    """`should_stop` on some ranks ends training on all after the same batch, with the minimum honoured."""
    results = run_ranks(_fit, 4, wishes, options)

    assert len(set(results)) == 1, results
    batches = results[0][0][0]
    assert between[0] <= batches <= between[1]


def _fit_until_signal(folder: str, victim: int, when: str) -> tuple[int, int | str | None, list[str], str]:
    torch.manual_seed(0)

    class Model(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self._signal("train", batch_idx)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            if not self.trainer.sanity_checking:
                self._signal("validate", batch_idx)
            time.sleep(0.01)
            return super().validation_step(batch, batch_idx)

        def _signal(self, where: str, batch_idx: int) -> None:
            if self.trainer.global_rank == victim and (where, batch_idx) == (when, 2):
                os.kill(os.getpid(), 15)

    trainer = Trainer(
        accelerator="cpu",
        devices=int(os.environ["WORLD_SIZE"]),
        strategy="ddp",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        max_epochs=50,
    )
    code = None
    try:
        trainer.fit(Model(), DataLoader(RandomDataset(32, 48), 2), DataLoader(RandomDataset(32, 48), 2))
    except SIGTERMException as error:
        code = error.code
    files = sorted(path.name for path in Path(folder).glob("*.ckpt"))
    return trainer.global_step, code, files, str(trainer.state.status)


@pytest.mark.parametrize("when", ["train", "validate"])
def test_sigterm_on_any_rank_saves_on_all_at_the_same_step(tmp_path: Path, when: str) -> None:
    """One rank is told, and all ranks end with 143 after the same step, and there is one checkpoint."""
    results = run_ranks(_fit_until_signal, 3, str(tmp_path), 1, when)

    assert len(set(map(str, results))) == 1, results
    step, code, files, status = results[0]
    assert code == 143
    assert files == ["hpc_ckpt_1.ckpt"]
    assert "interrupted" in status
    assert step in ((3, 4) if when == "train" else (8,))
