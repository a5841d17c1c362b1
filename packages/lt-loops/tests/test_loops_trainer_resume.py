"""Resumed runs end with the same bits: with metric objects, scalers, other precisions, schedulers, workers, streams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lt_core import Callback, LightningModule
from lt_loops import Trainer
from lt_loops.precision import MixedPrecision

Make = Callable[..., Trainer]


class Noisy(Dataset[Any]):
    """Draws from torch's random state for each sample."""

    def __len__(self) -> int:
        return 14

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((3,), index / 14) + 0.1 * torch.randn(3)


class SaveAt(Callback):
    def __init__(self, batch: int, path: Path) -> None:
        self.calls, self.batch, self.path = 0, batch, path

    def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
        self.calls += 1
        if self.calls == self.batch:
            trainer.save_checkpoint(self.path)


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.batches: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        self.batches.append(batch.clone())
        loss = self.net(batch).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True, batch_size=len(batch))
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.05)

    def train_dataloader(self) -> Any:
        return DataLoader(Noisy(), batch_size=3, shuffle=True)


def check(
    make: Make,
    path: Path,
    model: Callable[[], LightningModule],
    batch: int,
    arguments: Callable[[], dict[str, Any]] = dict,
) -> tuple[tuple[Trainer, Any], tuple[Trainer, Any]]:
    """Train two epochs at once, and again from a file written at ``batch``; compare weights, optimizers, metrics."""
    runs = []
    for seed, callbacks, ckpt_path in ((5, [SaveAt(batch, path)], None), (99, [], path)):
        torch.manual_seed(5)
        module = model()
        torch.manual_seed(seed)
        trainer = make(max_epochs=2, callbacks=callbacks, **arguments())
        if ckpt_path is not None:
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.zero_()
        trainer.fit(module, ckpt_path=ckpt_path)
        runs.append((trainer, module))
    whole, resumed = runs
    for mine, theirs in zip(whole[1].parameters(), resumed[1].parameters(), strict=False):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(whole[0].optimizers, resumed[0].optimizers, strict=False):
        assert str(mine.state_dict()) == str(theirs.state_dict())
    values = [{name: value.item() for name, value in trainer.callback_metrics.items()} for trainer, _ in runs]
    assert values[0] == values[1]
    assert whole[0].global_step == resumed[0].global_step
    return whole, resumed


BATCHES = [1, 3, 5, 7]


@pytest.mark.parametrize("batch", BATCHES)
def test_a_scaled_loss_resumes_exactly(quiet: Make, tmp_path: Path, batch: int) -> None:
    """The scale grows every second step, so that its tracker matters, too."""

    def scaled() -> dict[str, Any]:
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        return {"plugins": MixedPrecision("16-mixed", "cpu", scaler)}

    whole, resumed = check(quiet, tmp_path / "x.ckpt", Model, batch, scaled)

    assert whole[0].scaler.state_dict() == resumed[0].scaler.state_dict()
    assert resumed[0].scaler.get_scale() == 4.0 * 2**5


@pytest.mark.parametrize("batch", [2, 3, 6])
def test_a_scaled_loss_resumes_exactly_within_a_window(quiet: Make, tmp_path: Path, batch: int) -> None:
    """The open window's gradients are scaled ones."""

    def scaled() -> dict[str, Any]:
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
        return {"plugins": MixedPrecision("16-mixed", "cpu", scaler), "accumulate_grad_batches": 4}

    check(quiet, tmp_path / "x.ckpt", Model, batch, scaled)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("batch", [2, 5])
def test_other_precisions_resume_exactly(quiet: Make, tmp_path: Path, precision: str, batch: int) -> None:
    """Weights come back in the numbers in which they were."""
    check(quiet, tmp_path / "x.ckpt", Model, batch, lambda: {"precision": precision})


class Scheduled(Model):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.05)
        return [optimizer], [
            {"scheduler": StepLR(optimizer, 2, gamma=0.9), "interval": "step", "frequency": 2},
            {"scheduler": CosineAnnealingLR(optimizer, 10), "interval": "epoch"},
            {"scheduler": ReduceLROnPlateau(optimizer, patience=0, threshold=9.0), "monitor": "loss_epoch"},
            {
                "scheduler": ReduceLROnPlateau(optimizer, patience=1, factor=0.9),
                "monitor": "loss_step",
                "interval": "step",
            },
        ]


@pytest.mark.parametrize("batch", BATCHES)
def test_several_schedulers_resume_exactly(quiet: Make, tmp_path: Path, batch: int) -> None:
    """By step, by epoch, and after a metric."""
    whole, resumed = check(quiet, tmp_path / "x.ckpt", Scheduled, batch)

    states = [
        [str(config.scheduler.state_dict()) for config in trainer.lr_scheduler_configs]
        for trainer, _ in (whole, resumed)
    ]
    assert states[0] == states[1]


class TwoOptimizers(Model):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        for optimizer, scheduler in zip(self.optimizers(), self.lr_schedulers(), strict=False):
            optimizer.zero_grad()
            loss = self.net(batch).square().mean()
            self.manual_backward(loss)
            optimizer.step()
            scheduler.step()
        self.log("loss", loss, on_step=True, on_epoch=True)

    def configure_optimizers(self) -> Any:
        optimizers = [
            torch.optim.Adam(self.net[0].parameters()),
            torch.optim.SGD(self.net[2].parameters(), 0.1, momentum=0.9),
        ]
        return optimizers, [StepLR(optimizer, 3) for optimizer in optimizers]


@pytest.mark.parametrize("batch", [2, 5])
def test_manual_optimisation_resumes_exactly(quiet: Make, tmp_path: Path, batch: int) -> None:
    """Both optimizers, their schedulers, and the count of steps."""
    check(quiet, tmp_path / "x.ckpt", TwoOptimizers, batch)


class Quantile(nn.Module):
    """A metric as torchmetrics writes them: states that grow, a count of updates, a value of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.values: list[Tensor] = []
        self.total = torch.tensor(0.0)
        self._update_count = 0
        self._forward_cache: Any = None
        self._computed: Any = None

    @property
    def metric_state(self) -> dict[str, Any]:
        return {"values": self.values, "total": self.total}

    @property
    def update_count(self) -> int:
        return self._update_count

    @property
    def update_called(self) -> bool:
        return self._update_count > 0

    def update(self, values: Tensor) -> None:
        self.values.append(values.detach().clone())
        self.total = self.total + values.detach().sum()
        self._update_count += 1

    def forward(self, values: Tensor) -> Tensor:
        self.update(values)
        self._forward_cache = values.detach().median()
        return self._forward_cache

    def compute(self) -> Tensor:
        return torch.cat(self.values).median() + self.total * 0.001 + self._update_count


class Measured(Model):
    def __init__(self) -> None:
        super().__init__()
        self.quantile, self.held_out = Quantile(), Quantile()

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        self.quantile(self.net(batch).flatten())
        self.log("quantile", self.quantile, on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.held_out.update(self.net(batch).flatten())
        self.log("held_out", self.held_out)

    def val_dataloader(self) -> Any:
        return DataLoader(torch.arange(12.0).reshape(4, 3) / 12, batch_size=2)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("interval", [1.0, 2])
def test_a_metric_object_has_the_value_of_the_whole_epoch_after_a_resume(
    quiet: Make, tmp_path: Path, batch: int, interval: float
) -> None:
    """What it had seen before the file was written counts."""
    check(quiet, tmp_path / "x.ckpt", Measured, batch, lambda: {"val_check_interval": interval})


class Workers(Model):
    def train_dataloader(self) -> Any:
        return DataLoader(Noisy(), batch_size=3, shuffle=True, num_workers=2)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:This process .* is multi-threaded")
def test_workers_draw_the_same_after_a_resume(quiet: Make, tmp_path: Path) -> None:
    """Their augmentations are those of the unbroken run."""
    whole, resumed = check(quiet, tmp_path / "x.ckpt", Workers, 3)

    assert len(resumed[1].batches) == 10 - 3
    for mine, theirs in zip(whole[1].batches[3:], resumed[1].batches, strict=False):
        assert torch.equal(mine, theirs)


class Lines(IterableDataset[Tensor]):
    def __iter__(self) -> Any:
        return (torch.full((3,), float(index)) + 0.1 * torch.randn(3) for index in range(7))


class Streams(Model):
    def train_dataloader(self) -> Any:
        return DataLoader(Lines(), batch_size=2)


@pytest.mark.parametrize("batch", [1, 3, 4, 6])
@pytest.mark.parametrize("window", [1, 3])
def test_a_stream_resumes_exactly(quiet: Make, tmp_path: Path, batch: int, window: int) -> None:
    """It is read again up to where it was; a short window at its end included."""
    whole, resumed = check(quiet, tmp_path / "x.ckpt", Streams, batch, lambda: {"accumulate_grad_batches": window})

    for mine, theirs in zip(reversed(whole[1].batches), reversed(resumed[1].batches), strict=False):
        assert torch.equal(mine, theirs)


class SeveralLoaders(Model):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(torch.cat([batch["a"], batch["b"]]), batch_idx)

    def train_dataloader(self) -> Any:
        return {
            "a": DataLoader(Noisy(), batch_size=3, shuffle=True),
            "b": DataLoader(Noisy(), batch_size=6, shuffle=True),
        }


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_several_loaders_resume_exactly(quiet: Make, tmp_path: Path, batch: int) -> None:
    """The shorter one is begun again within the epoch, in another order each time."""
    check(quiet, tmp_path / "x.ckpt", SeveralLoaders, batch)


class OwnStep(Model):
    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer.step(closure=optimizer_closure)


class Quasi(Model):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=2)


@pytest.mark.parametrize("model", [OwnStep, Quasi])
@pytest.mark.parametrize("batch", [2, 6])
def test_steps_through_a_closure_resume_exactly(quiet: Make, tmp_path: Path, model: Any, batch: int) -> None:
    """With an own `optimizer_step` and with LBFGS."""
    check(quiet, tmp_path / "x.ckpt", model, batch)
