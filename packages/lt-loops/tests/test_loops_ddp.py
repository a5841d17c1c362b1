"""Two ranks with DistributedDataParallel train to the same weights as one rank with the double batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lt_core import LightningModule
from lt_core.testing import RankError, run_ranks
from lt_loops import Trainer
from lt_loops.strategies import DDPStrategy

SAMPLES = 48


class Points(Dataset[Any]):
    """Points with a linear target."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(SAMPLES, 6, generator=generator)
        self.targets = self.inputs.sum(1, keepdim=True)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        return self.inputs[index], self.targets[index]


class Net(LightningModule):
    """A small network in double precision, so that only real differences are seen.

    Args:
        kind: ``sgd``, ``adam``, ``lbfgs``, ``manual`` (one optimizer) or ``gan`` (two, manual).
    """

    def __init__(self, kind: str = "sgd") -> None:
        super().__init__()
        torch.manual_seed(5)
        self.kind = kind
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 1)
        self.automatic_optimization = kind not in ("manual", "gan")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(inputs)))

    def _loss(self, batch: Any) -> torch.Tensor:
        inputs, targets = batch
        return nn.functional.mse_loss(self(inputs), targets.to(inputs.dtype))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor | None:
        if self.automatic_optimization:
            return self._loss(batch)
        optimizers = self.optimizers()
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            self.toggle_optimizer(optimizer)
            optimizer.zero_grad()
            self.manual_backward(self._loss(batch))
            optimizer.step()
            self.untoggle_optimizer(optimizer)
        return None

    def configure_optimizers(self) -> Any:
        if self.kind == "lbfgs":
            return torch.optim.LBFGS(self.parameters(), lr=0.3, max_iter=4, line_search_fn="strong_wolfe")
        if self.kind == "gan":
            return [torch.optim.SGD(self.second.parameters(), 0.05), torch.optim.Adam(self.first.parameters(), 0.02)]
        if self.kind == "adam":
            return torch.optim.Adam(self.parameters(), lr=0.02)
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def _train(kind: str, ranks: int, trainer: dict[str, Any], strategy: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Train on this rank's share of the samples, in batches of 8 over all ranks."""
    module, data = Net(kind), Points()
    # The ranks together see the batch that one rank sees: sample i of a batch goes to rank i modulo ranks.
    sampler = DistributedSampler(data, num_replicas=ranks, rank=_rank(), shuffle=False)
    loader = DataLoader(data, batch_size=8 // ranks, sampler=sampler)
    settings: dict[str, Any] = {"max_epochs": 2, "precision": "64-true", **trainer}
    Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=DDPStrategy(**strategy) if ranks > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    ).fit(module, loader)
    return module.state_dict()


def _rank() -> int:
    import os

    return int(os.environ.get("LOCAL_RANK", "0"))


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "plain": ("sgd", {}, {}),
    "accumulated with a short last window": ("sgd", {"accumulate_grad_batches": 4}, {}),
    "clipped by norm": ("adam", {"gradient_clip_val": 0.1}, {}),
    "clipped by value": ("adam", {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}, {}),
    "in bf16, whose rounding differs": ("sgd", {"precision": "bf16-mixed", "max_steps": 2}, {}),
    "with LBFGS": ("lbfgs", {}, {}),
    "manual": ("manual", {}, {}),
    "with two optimizers": ("gan", {}, {}),
    "with a static graph": ("sgd", {"accumulate_grad_batches": 2}, {"static_graph": True}),
    "with a search for unused parameters": ("sgd", {}, {"find_unused_parameters": True}),
    "with buckets that are the gradients": ("adam", {"gradient_clip_val": 0.1}, {"gradient_as_bucket_view": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_to_the_weights_of_one_rank_with_the_double_batch(case: str) -> None:
    """Whatever the optimisation does, averaged gradients of two halves are the gradient of the whole."""
    kind, trainer, strategy = CASES[case]

    alone = _train(kind, 1, trainer, strategy)
    first, second = run_ranks(_train, 2, kind, 2, trainer, strategy)

    tolerance = 1e-2 if trainer.get("precision") == "bf16-mixed" else 1e-9
    for name, weights in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], weights, rtol=tolerance, atol=tolerance)
        assert not torch.equal(weights, Net(kind).state_dict()[name].to(weights.dtype)), "nothing was trained"


class Partly(Net):
    """Leaves a layer out of the loss; from the second batch on, or always."""

    def __init__(self, since: int) -> None:
        super().__init__()
        self.since = since
        self.spare = nn.Linear(2, 2)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = self._loss(batch)
        return loss if batch_idx >= self.since else loss + 0 * sum(p.sum() for p in self.spare.parameters())


def _train_partly(since: int, search: bool) -> int:
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy=f"ddp_find_unused_parameters_{str(search).lower()}",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Partly(since), DataLoader(Points(), batch_size=8))
    return trainer.global_step


@pytest.mark.parametrize("since", [0, 1])
def test_parameters_that_took_no_part_in_the_loss_are_named(since: int) -> None:
    """The error names them and the strategy to write, at the first step and at a later one."""
    with pytest.raises(RankError) as raised:
        run_ranks(_train_partly, 2, since, False)

    message = str(raised.value)
    assert "UnusedParametersError" in message
    assert "spare.weight, spare.bias" in message
    assert "ddp_find_unused_parameters_true" in message


def test_the_strategy_that_searches_trains_with_unused_parameters() -> None:
    """It goes on where the plain one raises."""
    assert run_ranks(_train_partly, 2, 0, True) == [3, 3]


def _halved_gradients(state, bucket):  # type: ignore[no-untyped-def]  # torch reads the annotations of a hook as types
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    return allreduce_hook(state, bucket).then(lambda future: future.value() * 0.5)


def test_a_communication_hook_decides_how_gradients_are_combined() -> None:
    """A hook that halves them trains as half the learning rate does."""
    plain, _ = run_ranks(_train, 2, "sgd", 2, {"max_steps": 1}, {})
    halved, _ = run_ranks(_train, 2, "sgd", 2, {"max_steps": 1}, {"ddp_comm_hook": _halved_gradients})

    start = Net().state_dict()
    for name in plain:
        moved, less = plain[name] - start[name].double(), halved[name] - start[name].double()
        torch.testing.assert_close(moved, 2 * less)


def test_a_state_without_the_hook_that_uses_it_is_refused() -> None:
    """It would be ignored."""
    with pytest.raises(ValueError, match="ddp_comm_hook"):
        DDPStrategy(ddp_comm_state=object())


def _collectives() -> dict[str, Any]:
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Net()
    trainer.fit(module, DataLoader(Points(), batch_size=8))
    rank, strategy = trainer.global_rank, trainer.strategy
    mine = torch.tensor([1.0, 2.0]) + rank
    traced = mine.clone().requires_grad_()
    (strategy.all_gather(traced, sync_grads=True).sum() * (rank + 1)).backward()
    return {
        "gathered": module.all_gather({"a": mine})["a"].tolist(),
        "numbers": module.all_gather(rank).tolist(),
        "gradient": traced.grad.tolist(),
        "mean": strategy.reduce(mine).tolist(),
        "whole mean": strategy.reduce(torch.tensor(rank)).item(),
        "max": strategy.reduce(mine, reduce_op="max").tolist(),
        "untouched": mine.tolist(),
        "no tensor": strategy.reduce("text"),
        "broadcast": strategy.broadcast({"rank": rank}, src=1),
        "objects": strategy.gather_objects(rank),
        "all": strategy.reduce_boolean_decision(rank == 0),
        "any": strategy.reduce_boolean_decision(rank == 0, all=False),
        "sampler": trainer.distributed_sampler_kwargs,
        "model": type(trainer.model).__name__,
        "devices": (trainer.num_devices, trainer.world_size, trainer.num_nodes),
    }


def test_collectives_combine_the_values_of_all_ranks() -> None:
    """Gather, reduce, broadcast and decisions give every rank the same answer."""
    first, second = run_ranks(_collectives, 2)

    assert first["gathered"] == second["gathered"] == [[1.0, 2.0], [2.0, 3.0]]
    assert first["numbers"] == [0, 1]
    assert first["gradient"] == second["gradient"] == [3.0, 3.0]
    assert first["mean"] == second["mean"] == [1.5, 2.5]
    assert first["whole mean"] == 0.5
    assert first["max"] == [2.0, 3.0]
    assert (first["untouched"], second["untouched"]) == ([1.0, 2.0], [2.0, 3.0])
    assert first["no tensor"] == "text"
    assert first["broadcast"] == second["broadcast"] == {"rank": 1}
    assert first["objects"] == [0, 1]
    assert (first["all"], first["any"], second["all"], second["any"]) == (False, True, False, True)
    assert second["sampler"] == {"num_replicas": 2, "rank": 1}
    assert first["devices"] == (2, 2, 1)
    assert first["model"] == "Net", "the module is the user's again after the run"


class Watching(Net):
    """Looks at what wraps it while it trains."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.wrapper = type(self.trainer.model).__name__
        self.inside = self.trainer.model.module is self


def _watch() -> tuple[str, bool]:
    module = Watching()
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(Points(), batch_size=8))
    return module.wrapper, module.inside


def test_the_module_is_wrapped_while_it_trains() -> None:
    """Others find the module within `trainer.model`."""
    assert run_ranks(_watch, 2) == [("DistributedDataParallel", True)] * 2
