"""Data on ranks: who reads what, in which order, how many batches, and how unequal data ends."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    WeightedRandomSampler,
)

from lt_core import LightningModule
from lt_core.combined_loader import CombinedLoader
from lt_core.data_hooks import DataHooks
from lt_core.distributed_sampler import DistributedSamplerWrapper
from lt_core.errors import MisconfigurationException
from lt_core.seed import seed_everything
from lt_core.testing.ranks import RankError, run_ranks
from lt_loops import Trainer
from lt_loops.data.agreement import EpochAgreement
from lt_loops.data.batches import EpochBatches
from lt_loops.data.shard import Ranks, Share, shard_loaders
from lt_loops.strategies.uneven import UnevenBatchesError

# -- dealing, in one process


def numbers(size: int) -> Tensor:
    return torch.arange(float(size)).unsqueeze(1)


def same(size: int, rank: int) -> Ranks:
    """All ranks say what this one says."""
    return Ranks(size, rank, lambda said: [said] * size)


def deal(loader: Any, prefix: Any, size: int, rank: int, *, inject: bool = True) -> tuple[Any, Share]:
    combined = loader if isinstance(loader, CombinedLoader) else CombinedLoader(loader, "sequential")
    shares = shard_loaders(combined, prefix, same(size, rank), inject=inject)
    return combined.flattened[0], shares[0]


def read(loader: Any) -> list[list[float]]:
    return [batch.flatten().tolist() for batch in loader]


def test_sums_and_counts_of_the_ranks_are_those_of_one_for_every_size() -> None:
    """Sizes 1 to 40, ranks 1 to 4, batches 1 to 5: the ranks' batches in turn are those of one process."""
    for size, ranks, batch_size in itertools.product(range(1, 41), range(1, 5), range(1, 6)):
        alone = DataLoader(range(size), batch_size=batch_size)  # type: ignore[arg-type]
        wanted = [batch.tolist() for batch in alone]

        dealt = [deal(alone, "val", ranks, rank) for rank in range(ranks)]
        parts = [[batch.tolist() for batch in loader] for loader, _ in dealt]

        rounds = itertools.zip_longest(*parts)
        assert [batch for row in rounds for batch in row if batch is not None] == wanted
        assert sum(sum(map(sum, part)) for part in parts) == sum(range(size))
        assert {share.on_ranks for _, share in dealt} == {tuple(len(part) for part in parts)}
        assert dealt[0][1].total == len(wanted)


@pytest.mark.parametrize("limit", [1.0, 0.5, 0.26, 2])
def test_a_fraction_counts_the_batches_of_all_ranks_and_a_number_those_of_each(limit: float) -> None:
    """A fraction reads the batches that one process would read; a number is each rank's own limit."""
    for total, ranks in itertools.product(range(4, 20), range(1, 5)):
        parts = [list(range(rank, total, ranks)) for rank in range(ranks)]
        share = Share(is_dealt=True, is_even=False, total=total, on_ranks=tuple(map(len, parts)))

        counts = share.counts(limit, "val")

        read_in_all = sorted(batch for part, count in zip(parts, counts, strict=True) for batch in part[: int(count)])
        if isinstance(limit, float):
            assert read_in_all == list(range(int(total * limit)))
        else:
            assert counts == tuple(min(len(part), limit) for part in parts)


def test_a_fraction_below_one_batch_is_an_error_on_all_ranks_alike() -> None:
    """Ranks that would have none do not raise alone."""
    share = Share(is_dealt=True, is_even=False, total=3, on_ranks=(2, 1))

    with pytest.raises(MisconfigurationException, match="loader with 3 batches is less than one batch"):
        share.counts(0.2, "val")


def test_a_training_loader_that_shuffles_gets_torchs_sampler_and_one_that_does_not_keeps_its_order() -> None:
    """The choice of the user is kept: `shuffle=False` stays unshuffled."""
    shuffled, _ = deal(DataLoader(numbers(6), shuffle=True), "train", 2, 0)
    in_order, _ = deal(DataLoader(numbers(6), batch_size=2), "train", 2, 1)

    assert type(shuffled.sampler) is DistributedSampler
    assert shuffled.sampler.shuffle
    assert type(in_order.sampler) is DistributedSampler
    assert not in_order.sampler.shuffle
    assert read(in_order) == [[1.0, 3.0], [5.0]]


def test_the_seed_of_the_order_is_that_of_rank_zero(monkeypatch: Any) -> None:
    """Ranks that were seeded for themselves still divide one order."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    others = Ranks(2, 1, lambda said: [(5, said[1]), said])
    combined = CombinedLoader(DataLoader(numbers(6), shuffle=True))

    shard_loaders(combined, "train", others, inject=True)

    assert combined.flattened[0].sampler.seed == 5


class Marked(DataLoader[Any]):
    """A subclass whose constructor takes something else."""

    def __init__(self, mark: str, size: int) -> None:
        super().__init__(numbers(size), batch_size=2)
        self.mark = mark
        self.late = [mark]


def test_a_subclass_of_the_loader_stays_what_it_is() -> None:
    """Its class and attributes are kept; the loader that was given is not changed."""
    given = Marked("kept", 5)

    for prefix in ("train", "val"):
        dealt, _ = deal(given, prefix, 2, 0)

        assert type(dealt) is Marked
        assert (dealt.mark, dealt.late) == ("kept", ["kept"])
        assert len(read(dealt)) == 2
    assert read(given) == [[0.0, 1.0], [2.0, 3.0], [4.0]]


class Buckets(Sampler[list[int]]):
    """Makes batches of its own, of unequal sizes; has no constructor that anybody could call again."""

    def __init__(self, *batches: list[int]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def test_the_batches_of_a_batch_sampler_of_the_users_are_dealt_whole() -> None:
    """Nothing is rebuilt: training repeats the first batch for the rank that lacks one, evaluation does not."""
    given = DataLoader(numbers(6), batch_sampler=Buckets([0, 1, 2], [3], [4, 5]))

    trained = [read(deal(given, "train", 2, rank)[0]) for rank in range(2)]
    evaluated = [read(deal(given, "test", 2, rank)[0]) for rank in range(2)]

    assert trained == [[[0.0, 1.0, 2.0], [4.0, 5.0]], [[3.0], [0.0, 1.0, 2.0]]]
    assert evaluated == [[[0.0, 1.0, 2.0], [4.0, 5.0]], [[3.0]]]


def test_the_order_of_a_sampler_of_the_users_is_the_order_of_all_ranks_together() -> None:
    """The sampler is wrapped, not replaced; weights and subsets count."""
    given = DataLoader(numbers(6), batch_size=2, sampler=[5, 3, 1, 0])  # type: ignore[arg-type]
    weighted = DataLoader(numbers(4), sampler=WeightedRandomSampler([0.0, 0.0, 1.0, 0.0], 8))

    parts = [read(deal(given, "train", 2, rank)[0]) for rank in range(2)]
    drawn, _ = deal(weighted, "train", 2, 1)

    assert parts == [[[5.0, 1.0]], [[3.0, 0.0]]]
    assert type(drawn.sampler) is DistributedSamplerWrapper
    assert read(drawn) == [[2.0]] * 4


def test_a_random_sampler_that_is_not_the_plain_one_is_wrapped() -> None:
    """One with a generator, a number of samples or replacement draws as its user has said."""
    generator = torch.Generator().manual_seed(3)
    for options in ({"generator": generator}, {"num_samples": 3}, {"replacement": True}):
        loader = DataLoader(numbers(6), sampler=RandomSampler(range(6), **options))

        dealt, _ = deal(loader, "train", 2, 0)

        assert type(dealt.sampler) is DistributedSamplerWrapper
        assert dealt.sampler.sampler is loader.sampler


def test_a_loader_without_batches_deals_samples() -> None:
    """`batch_size=None` reads sample by sample."""
    parts = [read(deal(DataLoader(numbers(3), batch_size=None), "predict", 2, rank)[0]) for rank in range(2)]
    trained = [read(deal(DataLoader(numbers(3), batch_size=None), "train", 2, rank)[0]) for rank in range(2)]

    assert parts == [[[0.0], [2.0]], [[1.0]]]
    assert trained == [[[0.0], [2.0]], [[1.0], [0.0]]]


class Lines(IterableDataset):
    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Tensor]:
        return iter(numbers(self.size))


def test_what_is_divided_already_or_cannot_be_is_left_alone(caplog: Any) -> None:
    """Own distributed samplers, streams, other iterables, and everything with the switch off; streams are told of."""
    own = DataLoader(numbers(5), sampler=DistributedSampler(numbers(5), 2, 0))  # type: ignore[arg-type]
    plain = DataLoader(numbers(5))
    stream = DataLoader(Lines(3))

    with caplog.at_level("INFO"):
        for loader, inject in ((own, True), (stream, True), (stream, True), ([1, 2], True), (plain, False)):
            dealt, share = deal(loader, "train", 2, 0, inject=inject)

            assert dealt is loader
            assert not share.is_dealt

    told = [record.message for record in caplog.records if "`Lines`" in record.message]
    assert len(told) == 1
    assert "torch.distributed.get_rank()" in told[0]


def test_a_padding_sampler_in_evaluation_is_told_of() -> None:
    """The numbers are off by the samples that it repeats, and that is said where there are any."""
    own = DataLoader(numbers(5), sampler=DistributedSampler(numbers(5), 2, 0))  # type: ignore[arg-type]

    with pytest.warns(UserWarning, match="repeats samples where 5 do not go into 2 ranks"):
        deal(own, "test", 2, 0)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([DataLoader(numbers(4)), DataLoader(numbers(4))], "1, 2 train loaders"),
        ([DataLoader(numbers(7))], "has 4, 7 samples or batches on the ranks.*use_distributed_sampler=False"),
        ([DataLoader(Lines(4))], "is a DataLoader, DataLoader on the ranks, and is to be divided here on some"),
    ],
)
def test_ranks_with_unlike_loaders_are_told_so(theirs: list[Any], message: str) -> None:
    """Dividing data that was divided already would lose most of it."""
    said: list[Any] = []
    listening = Ranks(2, 1, lambda mine: said.append(mine) or [mine, mine])
    shard_loaders(CombinedLoader(theirs), "train", listening, inject=True)
    here = Ranks(2, 0, lambda mine: [mine, said[0]])

    with pytest.raises(MisconfigurationException, match=message):
        shard_loaders(CombinedLoader([DataLoader(numbers(4))]), "train", here, inject=True)


@pytest.mark.parametrize("mode", ["min_size", "max_size", "max_size_cycle"])
def test_loaders_that_are_evaluated_side_by_side_keep_their_pairs(mode: Any) -> None:
    """The ranks' pairs in turn are those of one process, also where the shorter loader has fewer than ranks."""
    for long, short, ranks in itertools.product(range(1, 8), range(1, 4), range(1, 5)):

        def loaders(long: int = long, short: int = short) -> CombinedLoader:
            return CombinedLoader([DataLoader(numbers(long)), DataLoader(numbers(short))], mode)

        wanted = [str(batch) for batch, _, _ in loaders()]

        parts = []
        for rank in range(ranks):
            combined = loaders()
            shard_loaders(combined, "val", same(ranks, rank), inject=True)
            parts.append([str(batch) for batch, _, _ in combined])

        rounds = itertools.zip_longest(*parts)
        assert [pair for row in rounds for pair in row if pair is not None] == wanted


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 4])
def test_workers_read_the_same(workers: int) -> None:
    """The part of a rank does not depend on who reads it."""
    for prefix in ("train", "val"):
        alone, _ = deal(DataLoader(numbers(7), batch_size=2, shuffle=True), prefix, 2, 1)
        helped, _ = deal(DataLoader(numbers(7), batch_size=2, shuffle=True, num_workers=workers), prefix, 2, 1)

        assert read(alone) == read(helped)


# -- an epoch within training, in one process


def test_the_order_of_a_training_epoch_is_a_function_of_seed_and_epoch() -> None:
    """Whatever was drawn before, the same epoch has the same order; the next has another."""
    for make in (
        lambda: DataLoader(numbers(20), batch_size=4, shuffle=True),
        lambda: DataLoader(numbers(20), sampler=RandomSampler(range(20), num_samples=12)),
    ):
        orders = []
        for epoch in (0, 1, 0):
            torch.rand(7)
            loader, _ = deal(make(), "train", 2, 0)
            loader.sampler.set_epoch(epoch)
            orders.append(read(loader))

        assert orders[0] == orders[2]
        assert orders[0] != orders[1]


def with_own_generator() -> DataLoader[Any]:
    return DataLoader(numbers(11), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(4))


def with_own_batches() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(2)
    return DataLoader(
        numbers(11), batch_sampler=BatchSampler(RandomSampler(range(11), generator=generator), 2, drop_last=False)
    )


def with_weights() -> DataLoader[Any]:
    return DataLoader(numbers(11), batch_size=2, sampler=WeightedRandomSampler(torch.ones(11), 11))


@pytest.mark.parametrize("make", [with_own_generator, with_own_batches, with_weights])
@pytest.mark.parametrize("stop_at", [1, 2])
def test_an_epoch_of_a_rank_is_resumed_where_it_was(make: Any, stop_at: int) -> None:
    """The second epoch, left in the middle and resumed with fresh loaders, gives the batches that were left."""

    def epochs() -> Iterator[EpochBatches]:
        loader, _ = deal(make(), "train", 2, 1)
        for epoch in itertools.count():
            for sampler in (loader.sampler, loader.batch_sampler):
                if isinstance(sampler, DistributedSampler):
                    sampler.set_epoch(epoch)
            yield EpochBatches(loader, math.inf, resumable=True)

    running = epochs()
    first = next(running)
    first.start()
    list(first)
    second = next(running)
    second.start()
    for _ in range(stop_at):
        next(second)
    state = second.state_dict()
    left = read(second)

    resuming = epochs()
    next(resuming)
    torch.manual_seed(99)
    resumed = next(resuming)
    resumed.resume(state)

    assert left
    assert read(resumed) == left


# -- real ranks


class Model(LightningModule):
    """Notes the batches of each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[list[float]] = []

    def note(self, batch: Any) -> Tensor:
        leaf = batch[0] if isinstance(batch, list) else batch
        self.seen.append(leaf.flatten().tolist())
        return leaf

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.layer(self.note(batch).view(-1, 1)).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.note(batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.note(batch)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return self.note(batch) * 2

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer_on(ranks: int, **arguments: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


def evaluate_sizes(ranks: int, cases: list[tuple[int, int]]) -> list[Any]:
    """Test and predict data sets of several sizes; return what was seen and predicted."""
    results = []
    for size, batch_size in cases:
        trainer, model = trainer_on(ranks), Model()
        loader = DataLoader(numbers(size), batch_size=batch_size)
        trainer.test(model, loader, verbose=False)
        seen, model.seen = model.seen, []
        predicted = trainer.predict(model, loader)
        results.append((seen, trainer.num_test_batches, [each.flatten().tolist() for each in predicted or []]))
    return results


CASES = [(1, 1), (1, 5), (2, 1), (7, 2), (9, 5), (40, 3)]


@pytest.mark.parametrize("ranks", [2, 4])
def test_evaluation_on_ranks_sees_each_sample_once_and_predictions_come_in_order(ranks: int) -> None:
    """Also where ranks have no batch; `predict` returns on each rank what one process returns."""
    alone = evaluate_sizes(1, CASES)

    by_rank = run_ranks(evaluate_sizes, ranks, ranks, CASES)

    for case, (wanted, _, predicted) in enumerate(alone):
        rounds = itertools.zip_longest(*[results[case][0] for results in by_rank])
        assert [batch for row in rounds for batch in row if batch is not None] == wanted
        for results in by_rank:
            seen, counts, predictions = results[case]
            assert predictions == predicted
            assert counts == [len(seen)]


def predict_variously(ranks: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    loaders = [DataLoader(numbers(5), batch_size=2), DataLoader(numbers(3))]
    several = trainer_on(ranks).predict(Model(), loaders)
    found["several"] = [[each.flatten().tolist() for each in part] for part in several or []]
    limited = trainer_on(ranks, limit_predict_batches=0.5).predict(Model(), DataLoader(numbers(8)))
    found["half"] = [each.item() for each in limited or []]
    combined = CombinedLoader(DataLoader(numbers(5), batch_size=2), "sequential")
    trainer = trainer_on(ranks)
    found["twice"] = [len(trainer.predict(Model(), combined) or []) for _ in range(2)]
    found["none"] = trainer.predict(Model(), DataLoader(numbers(3)), return_predictions=False)
    found["stream"] = [each.item() for each in trainer.predict(Model(), DataLoader(Lines(2), batch_size=None)) or []]
    warnings.simplefilter("ignore")  # that it shuffles is warned of
    found["shuffled"] = sorted(
        each.item() for each in trainer.predict(Model(), DataLoader(numbers(5), shuffle=True)) or []
    )
    return found


@pytest.mark.filterwarnings("ignore:The predict loader shuffles")
def test_predictions_of_several_limited_streamed_and_shuffled_loaders() -> None:
    """Each is what one process returns; a stream is not divided and gives each rank its own list."""
    alone = predict_variously(1)

    by_rank = run_ranks(predict_variously, 2, 2)

    assert by_rank == [alone, alone]
    assert alone["none"] is None
    assert alone["stream"] == [0.0, 2.0]


class Unsendable(Model):
    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return lambda: batch


def predict_unsendable() -> str:
    with pytest.raises(MisconfigurationException) as caught:
        trainer_on(2).predict(Unsendable(), DataLoader(numbers(2)))
    return str(caught.value)


def test_a_prediction_that_cannot_be_sent_is_told_of() -> None:
    """The way out is to write it where it is made."""
    for message in run_ranks(predict_unsendable, 2):
        assert "cannot be sent to the other ranks" in message
        assert "return_predictions=False" in message


class Gathering(Model):
    """Calls collectives in its evaluation step."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.seen.append(self.all_gather(batch.sum()).tolist())

    def on_test_epoch_end(self) -> None:
        self.at_end = self.all_gather(torch.tensor(1.0)).tolist()


def gather_in_steps() -> tuple[Any, Any, str, Any]:
    even = Gathering()
    trainer_on(2).test(even, DataLoader(numbers(4)), verbose=False)
    limited = Gathering()
    trainer_on(2, limit_test_batches=1).test(limited, DataLoader(numbers(3)), verbose=False)
    with pytest.raises(UnevenBatchesError) as caught:
        trainer_on(2).test(Gathering(), DataLoader(numbers(3)), verbose=False)
    return even.seen, limited.seen, str(caught.value), even.at_end


def test_a_collective_in_an_evaluation_step_is_refused_where_ranks_have_unequal_numbers() -> None:
    """With equal numbers it works; otherwise it raises on each rank at once and says where to gather."""
    for even, limited, message, at_end in run_ranks(gather_in_steps, 2):
        assert even == [[0.0, 1.0], [2.0, 3.0]]
        assert limited == [[0.0, 1.0]]
        assert "`all_gather` was called while a batch is evaluated, and the ranks have 2, 1 batches" in message
        assert "on_validation_epoch_end" in message
        assert "limit_val_batches=1" in message
        assert at_end == [1.0, 1.0]


class Part:
    """Batches that each rank has for itself; has no length unless it is sized."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Tensor]:
        return iter(numbers(self.size))


class SizedPart(Part):
    def __len__(self) -> int:
        return self.size


def train_on_parts(kind: str, sizes: tuple[int, ...], arguments: dict[str, Any]) -> tuple[int, Any, int, Any]:
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else None
    trainer, model = trainer_on(len(sizes), max_epochs=2, **arguments), Model()
    assert rank is None
    size = sizes[trainer.global_rank]
    loaders: dict[str, Any] = {
        "sized": SizedPart(size),
        "unsized": Part(size),
        "mixed": (SizedPart if trainer.global_rank else Part)(size),
        "pair": [DataLoader(numbers(8)), SizedPart(size)],
        "shortest": CombinedLoader([SizedPart(size), DataLoader(numbers(8))], "min_size"),
        "stream": DataLoader(Lines(size), batch_size=1),
        "map": DataLoader(numbers(size)),
    }
    trainer.fit(model, loaders[kind], DataLoader(numbers(3)))
    return trainer.global_step, trainer.num_training_batches, trainer.num_val_batches[0], trainer.val_check_batch


@pytest.mark.parametrize(
    ("kind", "sizes", "arguments", "steps", "counted"),
    [
        ("sized", (5, 3), {}, 6, (3, 3)),
        ("unsized", (5, 3), {}, 6, (math.inf, None)),
        ("mixed", (2, 5), {}, 4, (math.inf, None)),
        ("stream", (3, 4), {"accumulate_grad_batches": 2}, 4, (math.inf, None)),
        ("pair", (3, 20), {}, 8, (4, 4)),  # the longer of each rank: 4 dealt batches and 3, or 20
        ("shortest", (2, 6), {}, 4, (2, 2)),
        ("sized", (8, 6), {"limit_train_batches": 0.5, "val_check_interval": 0.34}, 6, (3, 1)),
        ("unsized", (5, 3), {"limit_train_batches": 2}, 4, (2, None)),
        ("map", (4, 4), {"use_distributed_sampler": False}, 8, (4, 4)),
    ],
)
def test_uneven_training_data_ends_where_the_first_rank_ends(
    kind: str, sizes: tuple[int, ...], arguments: dict[str, Any], steps: int, counted: tuple[Any, Any]
) -> None:
    """Each rank takes as many steps as the rank with the fewest batches has; numbers agree on all ranks."""
    by_rank = run_ranks(train_on_parts, 2, kind, sizes, arguments)

    assert [result[0] for result in by_rank] == [steps, steps]
    assert [(result[1], result[3]) for result in by_rank] == [counted, counted]
    assert [result[2] for result in by_rank] == ([2, 1] if arguments.get("use_distributed_sampler", True) else [3, 3])


def train_with_nothing(kind: str) -> str:
    with pytest.raises(MisconfigurationException) as caught:
        train_on_parts(kind, (3, 0, 2, 1), {})
    return str(caught.value)


@pytest.mark.parametrize("kind", ["sized", "unsized"])
def test_a_rank_without_training_batches_is_an_error_on_all(kind: str) -> None:
    """Nobody waits; the rank is named."""
    for message in run_ranks(train_with_nothing, 4, kind):
        assert message.startswith("Rank 1 has no training batches")
        assert "use_distributed_sampler" in message


class AllowsNothing(DataHooks):
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(self) -> None:
        super().__init__()
        self.trainer: Any = None

    def train_dataloader(self) -> Any:
        return SizedPart(3 if self.trainer.global_rank else 0)


def train_with_nothing_allowed() -> int:
    trainer = trainer_on(2, max_epochs=1)
    trainer.fit(Model(), datamodule=AllowsNothing())
    return trainer.global_step


def test_a_rank_without_batches_stops_all_where_the_data_module_allows_it() -> None:
    """Nobody trains, and nobody waits."""
    assert run_ranks(train_with_nothing_allowed, 2) == [0, 0]


class Liar(SizedPart):
    def __len__(self) -> int:
        return 5


def train_with_liar() -> None:
    trainer = trainer_on(2, max_epochs=1)
    trainer.fit(Model(), Liar(5 if trainer.global_rank else 2))


def test_a_loader_that_ends_before_its_length_is_an_error_at_once() -> None:
    """The other rank would wait for its gradients; the message names the rank and the numbers."""
    with pytest.raises(RankError, match="rank 0 ended after 2 batches, and the ranks have agreed on 5"):
        run_ranks(train_with_liar, 2, timeout=30)


def look_at_shuffled_epochs(workers: int) -> Any:
    # The harness starts processes that import torch anew, which takes seconds; a user's workers are forked.
    context = "fork" if workers else None
    seed_everything(3, verbose=False)
    trainer, model = trainer_on(2, max_epochs=2), Model()
    torch.manual_seed(trainer.global_rank)  # what a rank draws for itself does not matter
    trainer.fit(
        model, DataLoader(numbers(7), batch_size=2, shuffle=True, num_workers=workers, multiprocessing_context=context)
    )
    return model.seen, trainer.num_training_batches, trainer.estimated_stepping_batches


def test_shuffled_training_divides_one_order_for_each_epoch() -> None:
    """Both ranks together see each sample, one twice to make it even; the next epoch has another order."""
    plain = run_ranks(look_at_shuffled_epochs, 2, 0)
    helped = run_ranks(look_at_shuffled_epochs, 2, 1)

    assert helped == plain

    assert [result[1:] for result in plain] == [(2, 4), (2, 4)]
    epochs = [
        sorted(number for seen, _, _ in plain for batch in seen[part] for number in batch)
        for part in (slice(0, 2), slice(2, 4))
    ]
    for epoch in epochs:
        assert sorted(set(epoch)) == [float(number) for number in range(7)]
        assert len(epoch) == 8
    assert plain[0][0][:2] != plain[0][0][2:]


class Stopping(Model):
    """Writes a checkpoint at the end of a batch, and stops."""

    def __init__(self, path: str, after: int) -> None:
        super().__init__()
        self.path, self.after = path, after

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self.seen) == self.after:
            self.trainer.save_checkpoint(self.path)
            self.trainer.should_stop = True


def resume_within_an_epoch(folder: str, kind: str) -> tuple[Any, Any]:
    def loader() -> Any:
        if kind == "own":
            return with_own_generator()
        if kind == "stream":
            return DataLoader(Lines(6), batch_size=1)
        return DataLoader(numbers(11), batch_size=2, shuffle=True)

    seed_everything(5, verbose=False)
    whole = Model()
    trainer_on(2, max_epochs=2).fit(whole, loader())
    seed_everything(5, verbose=False)
    stopped = Stopping(f"{folder}/middle.ckpt", len(whole.seen) // 2 + 1)
    trainer_on(2, max_epochs=2).fit(stopped, loader())
    torch.manual_seed(77)
    resumed = Model()
    trainer_on(2, max_epochs=2).fit(resumed, loader(), ckpt_path=stopped.path)
    return whole.seen, stopped.seen + resumed.seen


@pytest.mark.parametrize("kind", ["plain", "own", "stream"])
def test_a_run_on_ranks_that_is_stopped_within_an_epoch_goes_on_with_the_same_batches(kind: str, tmp_path: Any) -> None:
    """Each rank sees what it would have seen."""
    for whole, parts in run_ranks(resume_within_an_epoch, 2, str(tmp_path), kind):
        assert parts == whole


def overfit() -> Any:
    trainer, model = trainer_on(2, max_epochs=2, overfit_batches=2), Model()
    trainer.fit(model, DataLoader(numbers(12), batch_size=2, shuffle=True))
    return model.seen


def test_overfitting_reads_the_same_batches_each_epoch() -> None:
    """Without shuffling, each rank its part."""
    first, second = run_ranks(overfit, 2)

    assert first == [[0.0, 2.0], [4.0, 6.0]] * 2
    assert second == [[1.0, 3.0], [5.0, 7.0]] * 2


class Talking:
    """What an agreement needs of a strategy, for ranks that this process plays."""

    global_rank = 0

    def __init__(self, *others: Any) -> None:
        self.others = others

    def gather_objects(self, mine: Any) -> list[Any]:
        return [mine, *self.others]

    def reduce_boolean_decision(self, mine: bool) -> bool:
        return mine and all(self.others)


def test_unequal_numbers_are_said_once_with_the_numbers_of_each_rank() -> None:
    """So that nobody wonders where the rest of the data went."""
    agreement = EpochAgreement(Talking(30, 7))  # type: ignore[arg-type]

    with pytest.warns(UserWarning, match="The ranks have 20, 30, 7 training batches: each trains on 7") as said:
        sizes = [agreement.size(20) for _ in range(3)]

    assert sizes == [7, 7, 7]
    assert len(said) == 1
