"""Logged values over ranks, each rank a thread: what is combined, with how many collectives, and what is refused."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_core.errors import MisconfigurationException
from lt_core.log import LogSink
from lt_core.log.exchange import NOTHING, Entry, agree, combine
from lt_core.metrics_board import MetricsBoard

HOOK = "training_step"
END = "on_train_epoch_end"


class Meeting:
    """Where the threads of all ranks hand over what they send."""

    def __init__(self, world_size: int) -> None:
        self.barrier = threading.Barrier(world_size, timeout=20)
        self.slots: list[Any] = [None] * world_size

    def gather(self, rank: int, value: Any) -> list[Any]:
        self.slots[rank] = pickle.dumps(value)
        self.barrier.wait()
        gathered = [pickle.loads(each) for each in self.slots]
        self.barrier.wait()
        return gathered


class ThreadRank:
    """The exchange of one rank; counts its collectives."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting = meeting
        self.rank = rank
        self.world_size = len(meeting.slots)
        self.calls: list[str] = []

    def gather_numbers(self, numbers: Sequence[float]) -> list[list[float]]:
        self.calls.append("numbers")
        rows = self.meeting.gather(self.rank, list(numbers))
        assert len({len(row) for row in rows}) == 1
        return rows

    def gather_objects(self, obj: Any) -> list[Any]:
        self.calls.append("objects")
        return self.meeting.gather(self.rank, obj)

    def members(self, group: Any) -> tuple[int, ...]:
        return tuple(group)


class Gathered(torch.nn.Module):
    """A metric with a list state that gathers it when it computes, as torchmetrics does: a collective."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange: ThreadRank | None = None
        self.values: list[torch.Tensor] = []
        self.gathered: list[torch.dtype] = []

    @property
    def metric_state(self) -> dict[str, Any]:
        return {"values": self.values}

    def update(self, value: float) -> None:
        self.values.append(torch.tensor([value], dtype=torch.float64))

    def compute(self) -> torch.Tensor:
        assert self.exchange is not None
        everything = self.exchange.gather_objects(torch.cat(self.values))
        self.gathered = [each.dtype for each in everything]
        return torch.cat(everything).sum()

    def reset(self) -> None:
        self.values = []


class Rank:
    """One rank: a sink with the train book open, and `log`."""

    def __init__(self, exchange: ThreadRank) -> None:
        self.exchange = exchange
        self.rank = exchange.rank
        self.sink = LogSink()
        self.sink.exchange = exchange
        self.sink.open("train")
        self.board = MetricsBoard(self.sink)
        self.module = torch.nn.Module()

    def log(self, name: str, value: Any, *, fx: str = HOOK, batch_size: int | None = None, **options: Any) -> None:
        given = dict.fromkeys(("prog_bar", "enable_graph", "sync_dist", "rank_zero_only"), False)
        given |= {"logger": None, "on_step": False, "on_epoch": True, "reduce_fx": "mean", "sync_dist_group": None}
        given |= options
        raw = tuple(
            given[name]
            for name in ("prog_bar", "logger", "on_step", "on_epoch", "reduce_fx", "enable_graph", "sync_dist")
        ) + (given["sync_dist_group"], True, None, given["rank_zero_only"])
        outer, self.sink.fx = self.sink.fx, fx
        self.sink.log(self.module, name, value, raw, batch_size, None)
        self.sink.fx = outer

    def end(self, *, overridden: bool = False, interrupted: bool = False) -> dict[str, float]:
        ended = self.sink.exchange_epoch(self.module, END, overridden=overridden, interrupted=interrupted)
        self.sink.epoch_ended = True
        return {**self.read(), "ended": float(ended)} if interrupted or ended else self.read()

    def read(self) -> dict[str, float]:
        return {name: value.item() for name, value in self.sink.read().callback.items()}


def on_ranks(world_size: int, work: Callable[[Rank], Any]) -> list[Any]:
    """What `work` returns on each rank."""
    meeting = Meeting(world_size)
    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(lambda rank: work(Rank(ThreadRank(meeting, rank))), range(world_size)))


def test_an_epoch_mean_is_that_of_all_samples_whatever_sync_dist_says() -> None:
    """Ranks of different sizes are combined by weight, and every rank reads the same."""

    def work(rank: Rank) -> dict[str, float]:
        for sync in (False, True):
            rank.log(f"mean_{sync}", float(rank.rank), batch_size=(3, 4)[rank.rank], sync_dist=sync)
        return rank.end()

    results = on_ranks(2, work)

    assert results[0] == results[1]
    assert results[0]["mean_False"] == pytest.approx(4 / 7)
    assert results[0]["mean_True"] == pytest.approx(4 / 7)


@pytest.mark.parametrize(("reduction", "expected"), [("sum", 0.0), ("min", -3.0), ("max", 4.0), ("mean", 0.0)])
def test_every_reduction_is_that_over_all_values_of_all_ranks(reduction: str, expected: float) -> None:
    """Sum, minimum, maximum and mean see what each rank has logged."""
    values = [[1.0, -3.0], [4.0], [-2.0]]

    def work(rank: Rank) -> dict[str, float]:
        for value in values[rank.rank]:
            rank.log("value", torch.tensor(value), reduce_fx=reduction, batch_size=1)
        return rank.end()

    assert [result["value"] for result in on_ranks(3, work)] == [expected] * 3


@given(
    st.lists(
        st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 9)), min_size=1, max_size=5), min_size=2, max_size=4
    )
)
@settings(max_examples=25, deadline=None)
def test_n_ranks_report_what_one_rank_reports(shares: list[list[tuple[float, int]]]) -> None:
    """However the samples are dealt out, mean and sum are those of one process, and all ranks have the same bits."""

    def work(rank: Rank) -> dict[str, float]:
        for value, size in shares[rank.rank]:
            rank.log("mean", torch.tensor(value, dtype=torch.float64), batch_size=size)
            rank.log("sum", torch.tensor(value, dtype=torch.float64), reduce_fx="sum")
        return rank.end()

    results = on_ranks(len(shares), work)

    flat = [pair for share in shares for pair in share]
    assert all(result == results[0] for result in results)
    assert results[0]["sum"] == pytest.approx(sum(value for value, _ in flat), rel=1e-9, abs=1e-6)
    mean = sum(value * size for value, size in flat) / sum(size for _, size in flat)
    assert results[0]["mean"] == pytest.approx(mean, rel=1e-9, abs=1e-6)


def test_a_key_of_one_rank_has_that_ranks_value_on_all() -> None:
    """Keys that only some ranks logged are never mixed with others, in whatever order they come."""

    def work(rank: Rank) -> dict[str, float]:
        rank.log("both", 1.0, batch_size=1)
        if rank.rank == 1:
            rank.log("only1", -7.0, batch_size=2)
        else:
            rank.log("only0", 100.0, batch_size=5)
        return rank.end()

    first, second = on_ranks(2, work)

    assert first == second == {"both": 1.0, "only0": 100.0, "only1": -7.0}


def test_the_steady_state_is_one_collective_an_epoch() -> None:
    """Names are agreed once; afterwards one row of numbers moves, until somebody has a new key."""

    def work(rank: Rank) -> list[list[str]]:
        epochs = []
        for epoch in range(5):
            rank.log("loss", float(epoch), batch_size=1)
            if epoch >= 3 and rank.rank == 1:
                rank.log("late", 5.0, batch_size=1)
            before = len(rank.exchange.calls)
            values = rank.end()
            assert values.get("late") == (5.0 if epoch >= 3 else None)
            epochs.append(rank.exchange.calls[before:])
            rank.sink.reset()
        return epochs

    first, second = on_ranks(2, work)

    assert first == second
    assert first[0] == ["objects", "numbers"]
    assert first[1] == first[2] == first[4] == ["numbers"]
    assert first[3] == ["numbers", "objects", "numbers"]


def test_a_key_that_nobody_logged_in_an_epoch_is_not_published() -> None:
    """What the ranks know of a key outlives its values; a value of an earlier epoch does not come back."""

    def work(rank: Rank) -> dict[str, float]:
        rank.log("once", 1.0, batch_size=1)
        rank.end()
        rank.sink.reset()
        rank.log("loss", 2.0, batch_size=1)
        return rank.end()

    assert on_ranks(2, work) == [{"loss": 2.0}] * 2


def test_different_arguments_on_ranks_are_one_error_on_all_of_them() -> None:
    """The message names the key, the arguments and the ranks."""

    def work(rank: Rank) -> str:
        rank.log("value", 1.0, reduce_fx=("mean", "mean", "sum")[rank.rank], batch_size=1)
        with pytest.raises(MisconfigurationException) as error:
            rank.end()
        return str(error.value)

    messages = on_ranks(3, work)

    assert len(set(messages)) == 1
    for part in ("`self.log('value', …)`", "reduction='mean' on rank 0", "reduction='sum' on rank 2"):
        assert part in messages[0]


def test_reading_on_one_rank_needs_nobody_else() -> None:
    """Progress bars and callbacks read what was exchanged last, or this rank's own values before that."""

    def work(rank: Rank) -> Any:
        rank.log("loss", float(rank.rank), batch_size=1, on_step=True, sync_dist=True)
        calls = len(rank.exchange.calls)
        before = rank.read() if rank.rank == 1 else None
        assert len(rank.exchange.calls) == calls
        rank.end()
        calls = len(rank.exchange.calls)
        after = rank.read() if rank.rank == 1 else None
        assert len(rank.exchange.calls) == calls
        return before, after

    before, after = on_ranks(2, work)[1]

    assert before == {"loss": 1.0, "loss_step": 1.0}
    assert after == {"loss": 0.5, "loss_epoch": 0.5}


def test_a_group_combines_its_own_ranks_only() -> None:
    """`sync_dist_group` gives each rank the value of its group."""

    def work(rank: Rank) -> dict[str, float]:
        group = (0, 1) if rank.rank < 2 else (2, 3)
        rank.log("value", float(rank.rank), batch_size=1, sync_dist=True, sync_dist_group=group)
        return rank.end()

    assert [result["value"] for result in on_ranks(4, work)] == [0.5, 0.5, 2.5, 2.5]


def test_what_is_logged_in_the_last_hook_is_exchanged_if_any_rank_may_log_there() -> None:
    """A second exchange follows the hook, on all ranks, because one of them has such a hook."""

    def work(rank: Rank) -> tuple[dict[str, float], list[str]]:
        rank.log("loss", 1.0, batch_size=1)
        rank.end(overridden=rank.rank == 1)
        calls = len(rank.exchange.calls)
        if rank.rank == 1:
            rank.log("from_hook", 3.0, fx=END)
        rank.sink.exchange_late(rank.module)
        rank.sink.exchange_late(rank.module)  # the loop asks again
        return rank.read(), rank.exchange.calls[calls:]

    first, second = on_ranks(2, work)

    assert first == second == ({"loss": 1.0, "from_hook": 3.0}, ["objects", "numbers"])


def test_without_such_a_hook_nothing_more_is_exchanged() -> None:
    """Nobody pays for a hook that nobody has."""

    def work(rank: Rank) -> int:
        rank.log("loss", 1.0, batch_size=1)
        rank.end()
        calls = len(rank.exchange.calls)
        rank.sink.exchange_late(rank.module)
        return len(rank.exchange.calls) - calls

    assert on_ranks(2, work) == [0, 0]


def test_step_values_are_combined_when_a_row_is_made_and_only_where_asked_for() -> None:
    """`sync_dist=True` combines the last step's values of a row; other keys stay as they are."""

    def work(rank: Rank) -> dict[str, float]:
        rank.log("synced", float(rank.rank), on_step=True, on_epoch=False, sync_dist=True)
        rank.log("local", float(rank.rank), on_step=True, on_epoch=False)
        row = {name: value.item() for name, value in rank.board.publish_shared(rank.module).items()}
        assert rank.read()["synced"] == rank.rank  # between two rows everybody reads its own
        return row

    assert on_ranks(2, work) == [{"synced": 0.5, "local": 0.0}, {"synced": 0.5, "local": 1.0}]


def test_rows_without_such_keys_cost_one_question_an_epoch() -> None:
    """The first row asks whether any rank has step values to combine; the others know."""

    def work(rank: Rank) -> list[list[str]]:
        rows = []
        for _ in range(2):
            for _ in range(3):
                rank.log("local", 1.0, on_step=True, on_epoch=False)
                calls = len(rank.exchange.calls)
                rank.board.publish_shared(rank.module)
                rows.append(rank.exchange.calls[calls:])
            rank.end()
            rank.sink.reset()
        return rows

    first, _ = on_ranks(2, work)

    assert first == [["objects", "numbers"], [], [], ["numbers"], [], []]


def test_metrics_are_computed_once_in_one_order_also_where_they_had_no_data() -> None:
    """A rank that never logged a metric takes part, its empty list in the type of the others, and gets the value."""

    def work(rank: Rank) -> Any:
        first, second = Gathered(), Gathered()
        rank.module.first, rank.module.second = first, second
        first.exchange = second.exchange = rank.exchange
        for metric in (first, second) if rank.rank == 0 else (second,):
            metric.update(1.0 + rank.rank)
            rank.log("second" if metric is second else "first", metric)
        values = rank.end()
        calls = len(rank.exchange.calls)
        assert rank.read() == values
        assert len(rank.exchange.calls) == calls
        types, left = first.gathered, len(first.values)
        rank.sink.reset()
        assert first.values == second.values == []
        return values, types, left

    results = on_ranks(2, work)

    assert [values for values, _, _ in results] == [{"first": 1.0, "second": 3.0}] * 2
    assert results[1][1:] == ([torch.float64] * 2, 0)


def test_a_word_of_one_rank_travels_with_the_exchange() -> None:
    """That one rank was told to end is known to all afterwards."""

    def work(rank: Rank) -> float | None:
        rank.log("loss", 1.0, batch_size=1)
        return rank.end(interrupted=rank.rank == 1).get("ended")

    assert on_ranks(3, work) == [1.0, 1.0, 1.0]


def test_the_graph_of_a_ranks_own_part_is_kept() -> None:
    """With `enable_graph` the value is that of all ranks and differentiates to this rank's share."""

    def work(rank: Rank) -> tuple[float, float]:
        weight = torch.tensor(1.0 + rank.rank, requires_grad=True)
        rank.log("value", weight * 2, batch_size=(1, 3)[rank.rank], enable_graph=True)
        rank.sink.exchange_epoch(rank.module, END)
        rank.sink.epoch_ended = True
        value = rank.sink.read().callback["value"]
        value.backward()
        assert weight.grad is not None
        return value.item(), weight.grad.item()

    assert on_ranks(2, work) == [(3.5, 0.5), (3.5, 1.5)]


def test_the_widest_type_is_published_on_all_ranks() -> None:
    """A rank that logs doubles makes the value a double everywhere."""

    def work(rank: Rank) -> torch.dtype:
        rank.log("value", torch.tensor(1.0, dtype=(torch.float32, torch.float64)[rank.rank]), batch_size=1)
        rank.end()
        return rank.sink.read().callback["value"].dtype

    assert on_ranks(2, work) == [torch.float64] * 2


def test_a_single_process_exchanges_nothing() -> None:
    """Without an exchange the calls of the loop do nothing, and metrics are computed when somebody reads."""
    rank = Rank(ThreadRank(Meeting(1), 0))
    rank.sink.exchange = None
    rank.log("loss", 2.0, batch_size=1)

    assert rank.end(overridden=True) == {"loss": 2.0}
    rank.sink.exchange_late(rank.module)
    rank.sink.exchange_hook(rank.module, END)
    assert rank.board.publish_shared(rank.module).keys() == {"loss"}
    assert rank.exchange.calls == []


def test_minimum_and_maximum_of_nan_are_nan_and_empty_means_have_no_value() -> None:
    """Nothing is hidden by the order of ranks."""
    options: dict[str, bool | str] = {"reduction": "min"}
    entry = Entry(("a", HOOK, None), options, None, None, "float32")
    shared = agree([[entry], [entry]])[entry.key]

    nan = combine(shared, [(1.0, 1.0), (float("nan"), 1.0)], 0)

    assert nan is not None
    assert nan[0] != nan[0]
    assert combine(shared, [NOTHING, NOTHING], 0) is None
