"""Tests of what processes make sure of before they join: all there, each rank once, all of one mind."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from lt_core.errors import MisconfigurationValueError
from lt_core.testing import BoringModel, run_ranks
from lt_loops import Trainer
from lt_loops.ranks.card import RankCard, code_of_class, code_of_script, disagreement
from lt_loops.ranks.handshake import describe_topology, shake_hands
from lt_loops.ranks.meet import HandshakeError, open_store, seconds_to_start
from lt_loops.strategies import DDPStrategy


def card(rank: int, world_size: int, **changes: Any) -> RankCard:
    """Return the card of a process on a machine of its own name."""
    plain = RankCard(rank, rank, 0, world_size, 1, "cpu", "gloo", host=f"host{rank}", pid=100 + rank, torch="2.9")
    return replace(plain, **changes)


def meet(cards: list[RankCard], seconds: float = 5.0) -> tuple[list[Any], float]:
    """Let all cards meet at once, each through a connection of its own; what each got, and how long it took."""
    host = dist.TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
    limit = timedelta(seconds=seconds)
    stores = [dist.TCPStore("127.0.0.1", host.port, None, is_master=False, timeout=limit) for _ in cards]
    results: list[Any] = [None] * len(cards)

    def one(number: int) -> None:
        try:
            results[number] = shake_hands(stores[number], cards[number], seconds)
        except HandshakeError as error:
            results[number] = error

    started = time.monotonic()
    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(cards))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 10)
    return results, time.monotonic() - started


def test_ranks_that_agree_find_together_and_rank_zero_knows_all():
    """Each rank is there once and all are of one mind: rank 0 gets every card, in the order of ranks."""
    cards = [card(rank, 4) for rank in (2, 0, 3, 1)]

    results, seconds = meet(cards)

    assert results[1] == [card(rank, 4) for rank in range(4)]
    assert results[0] == [card(2, 4)]
    assert seconds < 3


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ([card(0, 2), card(1, 4)], "rank 1 .* has a world of size 4, rank 0 .* has a world of size 2"),
        ([card(0, 4), card(1, 2)], "rank 1 .* has a world of size 2, rank 0 .* has a world of size 4"),
        ([card(0, 2), card(1, 2, num_nodes=2)], "has machines: 2, .* has machines: 1.*same `num_nodes`"),
        ([card(0, 2), card(1, 2, torch="2.6")], r"has torch 2\.6, .* has torch 2\.9.*install the same versions"),
        ([card(0, 2), card(1, 2, lt="0.2")], r"has lt 0\.2, .*install the same versions"),
        ([card(0, 2), card(1, 2, python="3.10")], r"has Python 3\.10, .*install the same versions"),
        ([card(0, 2), card(1, 2, backend="nccl")], "has the backend nccl, .*same `process_group_backend`"),
        ([card(0, 2), card(1, 2, device="cuda:1")], "has a device of the kind cuda, .*same `accelerator`"),
        ([card(0, 2), card(1, 2, strategy="fsdp")], "has the strategy fsdp, .*same `strategy`"),
        (
            [card(0, 2, script=("train.py", "aa")), card(1, 2, script=("train.py", "bb"))],
            "has the script train.py with digest bb, .* digest aa.*put the same code on all machines",
        ),
        (
            [card(0, 2, module=("Net", "aa")), card(1, 2, module=("Net", "bb"))],
            "has the source of `Net` with digest bb, .*put the same code on all machines",
        ),
        ([card(0, 2, module=("Net", "a")), card(1, 2, module=("Ten", "a"))], "has the module `Ten`, .*`Net`"),
    ],
)
def test_a_contradiction_ends_all_ranks_at_once_with_one_message(cards: list[RankCard], said: str):
    """Nobody waits for the limit, and all that are there end with the message that names the two."""
    results, seconds = meet(cards, seconds=8.0)

    assert all(isinstance(result, HandshakeError) for result in results), results
    assert seconds < 4  # rank 0 stays two seconds at most for those who read why it ends
    assert len({str(result) for result in results}) == 1
    assert " Expected " in str(results[0])
    assert re.search(said, str(results[0])), str(results[0])


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ([card(0, 3), card(1, 3), card(1, 3, pid=7)], "Two processes have the rank 1: process .* on host1"),
        ([card(0, 3), card(1, 3), card(4, 5)], "rank 4 .* has a world of size 5, rank 0 .* has a world of size 3"),
    ],
)
def test_who_is_too_many_ends_those_who_wait_for_another(cards: list[RankCard], said: str):
    """A rank is still missing, so nobody has begun: all end at once, by what is there."""
    results, seconds = meet(cards, seconds=8.0)

    assert seconds < 4
    assert all(re.search(said, str(result)) for result in results), results


def test_missing_ranks_are_named_after_the_stated_time():
    """Two of four come; those who are there end with the message after the limit."""
    results, seconds = meet([card(0, 4), card(2, 4)], seconds=1.0)

    assert "After 1 s ranks 1, 3 of 4 had not come; ranks 0, 2 had." in str(results[0])
    assert str(results[1]) == str(results[0])
    assert isinstance(results[0].__cause__, dist.DistError)
    assert "LT_START_TIMEOUT" in str(results[0])
    assert 1.0 <= seconds < 4.0


def test_a_missing_rank_zero_is_named_by_the_others():
    """The store is held by somebody else, as under torchrun, and rank 0 does not come."""
    results, _ = meet([card(1, 2)], seconds=0.5)

    assert "rank 0 had not come; rank 1 had waited for it" in str(results[0])


def test_a_second_process_of_a_rank_that_comes_later_ends_alone():
    """The others have begun: they go on."""
    host = dist.TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)

    assert shake_hands(host, card(0, 1), 2.0) == [card(0, 1)]
    with pytest.raises(HandshakeError, match="Two processes have the rank 0"):
        shake_hands(host, card(0, 1, pid=5), 2.0)
    with pytest.raises(HandshakeError, match=r"rank 3 .* has a world of size 4"):
        shake_hands(host, card(3, 4), 2.0)


def test_scripts_of_other_names_are_not_compared():
    """A debugger's or profiler's own main file is no other code."""
    assert disagreement(card(0, 2, script=("train.py", "aa")), card(1, 2, script=("cli.py", "bb"))) is None
    assert disagreement(card(0, 2, module=("Net", "")), card(1, 2, module=("Net", "aa"))) is None


def test_code_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same name with other content has another digest; a class made in a notebook has none."""
    digests = []
    for folder, text in (("one", "x = 1"), ("two", "x = 2"), ("three", "x = 1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.py").write_text(text)
        monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / folder / "train.py"), raising=False)
        digests.append(code_of_script())
    made = type("Made", (), {"__module__": "no_such_module"})

    assert digests[0] == digests[2] != digests[1]
    assert digests[0][0] == "train.py"
    assert code_of_class(made) == ("Made", "")
    assert len(code_of_class(BoringModel)[1]) == 12


def test_a_card_survives_the_way_through_the_store():
    """What is read is what was written."""
    mine = card(3, 4, script=("train.py", "ab")).of_this_process()

    assert RankCard.load(mine.dump()) == mine
    assert mine.pid == os.getpid()


def test_the_line_counts_ranks_machines_and_devices():
    """Kinds of devices are counted; the words follow the numbers."""
    eight = [replace(card(rank, 8), device=f"cuda:{rank % 4}", backend="nccl", num_nodes=2) for rank in range(8)]

    assert describe_topology(eight, "SLURM") == "8 ranks on 2 machines: cuda x 8, nccl, started by SLURM"
    assert describe_topology([card(0, 1)], "MPI") == "1 rank on 1 machine: cpu x 1, gloo, started by MPI"


def test_nobody_at_the_address_is_told_within_the_time():
    """The address, the port and the time are in the message."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()

    with pytest.raises(HandshakeError, match=f"Rank 1 found nobody at 127.0.0.1:{port} .* within 0.5 s"):
        open_store("127.0.0.1", port, 0.5, rank=1, hosts=False)

    assert time.monotonic() - started < 2


def test_a_silent_stranger_at_the_port_is_no_hang():
    """Somebody listens and never answers: torch would wait for ever."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        started = time.monotonic()

        with pytest.raises(HandshakeError, match="what listens there is not rank 0 of this run"):
            open_store("127.0.0.1", port, 0.5, rank=1, hosts=False)

        assert time.monotonic() - started < 5


def test_a_busy_port_is_told_as_such():
    """Rank 0 cannot listen where another program does."""
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(HandshakeError, match=r"that port is in use.*set MASTER_PORT to a free port"):
            open_store("127.0.0.1", port, 1.0, rank=0, hosts=True)


def test_the_time_to_start_can_be_set(monkeypatch: pytest.MonkeyPatch):
    """Five minutes, the strategy's own timeout if that is shorter, or what the variable says."""
    assert seconds_to_start(timedelta(minutes=30)) == 300
    assert seconds_to_start(timedelta(seconds=2)) == 2
    monkeypatch.setenv("LT_START_TIMEOUT", "900")
    assert seconds_to_start(timedelta(seconds=2)) == 900
    monkeypatch.setenv("LT_START_TIMEOUT", "soon")
    with pytest.raises(MisconfigurationValueError, match="LT_START_TIMEOUT is 'soon'"):
        seconds_to_start(timedelta(seconds=2))


# -- in a trainer


def trainer_of(world_size: int, folder: str, **arguments: Any) -> Trainer:
    return Trainer(
        **{
            "accelerator": "cpu",
            "devices": world_size,
            "strategy": DDPStrategy(timeout=timedelta(seconds=3)),
            "max_steps": 1,
            "limit_val_batches": 0,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": folder,
            **arguments,
        }
    )


def lines_of_a_fit(folder: str) -> list[str]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("lt").addHandler(handler)
    trainer = trainer_of(2, folder)
    trainer.fit(BoringModel())
    trainer_of(2, folder).fit(BoringModel())
    return [line for line in lines if "ranks on" in line]


def test_rank_zero_prints_the_topology_once(tmp_path: Path):
    """Two trainers one after the other share the process group: one line, on rank 0."""
    first, second = run_ranks(lines_of_a_fit, 2, str(tmp_path))

    assert first == ["2 ranks on 1 machine: cpu x 2, gloo, started by LOCAL_RANK"]
    assert second == []


def fit_of_an_own_view(folder: str) -> str:
    """Rank 1 believes in one rank more than rank 0 does."""
    world_size = 2 + int(os.environ["LOCAL_RANK"])
    os.environ["WORLD_SIZE"] = str(world_size)
    try:
        trainer_of(world_size, folder).fit(BoringModel())
    except HandshakeError as error:
        return str(error)
    return "trained"


def test_trainers_that_count_the_world_differently_end_with_one_message(tmp_path: Path):
    """Real processes: neither trains, neither hangs."""
    first, second = run_ranks(fit_of_an_own_view, 2, str(tmp_path))

    assert first == second
    assert "has a world of size 3" in first


def fit_of_the_first_only(folder: str) -> str:
    if os.environ["LOCAL_RANK"] == "1":
        return "stayed away"
    try:
        trainer_of(2, folder).fit(BoringModel())
    except HandshakeError as error:
        return str(error)
    return "trained"


def test_a_rank_that_never_calls_fit_is_named(tmp_path: Path):
    """The strategy's timeout is the limit."""
    first, _ = run_ranks(fit_of_the_first_only, 2, str(tmp_path))

    assert "After 3 s rank 1 of 2 had not come" in first


def fit_as_rank_zero(folder: str) -> str:
    os.environ["LOCAL_RANK"] = "0"
    try:
        trainer_of(2, folder).fit(BoringModel())
    except HandshakeError as error:
        return str(error)
    return "trained"


def test_two_processes_of_one_rank_are_named(tmp_path: Path):
    """Both end, with the numbers of both processes."""
    first, second = run_ranks(fit_as_rank_zero, 2, str(tmp_path))

    assert "Two processes have the rank 0: process " in first
    assert "Two processes have the rank 0: process " in second
