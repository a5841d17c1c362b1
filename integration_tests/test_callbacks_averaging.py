"""Averaged weights in the real Trainer: validation, checkpoints, resuming, and the values that users know.

The numbers are those of Lightning 2.6.6 for the same module and data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

import lt
from lt.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lt.loggers import CSVLogger

torch.set_num_threads(1)


class Plane(lt.LightningModule):
    """Fits a plane through points of one, with dropout, so that random numbers count, and batch normalisation."""

    def __init__(self, scheduler: str | None = None, *, noisy: bool = False) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.layer = torch.nn.Linear(2, 1)
        self.before = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout(0.2)) if noisy else None
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.5, -0.25]]))
            self.layer.bias.fill_(0.1)
        self.rates: list[float] = []
        self.validated: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x if self.before is None else self.before(x))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = torch.nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.validated.append(round(self.layer.weight[0, 0].item(), 6))
        self.log("val_loss", torch.nn.functional.mse_loss(self(batch[0]), batch[1]))

    def on_train_epoch_start(self) -> None:
        self.rates.append(round(self.trainer.optimizers[0].param_groups[0]["lr"], 8))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        if self.scheduler is None:
            return optimizer
        return [optimizer], [{"scheduler": StepLR(optimizer, 1, gamma=0.5), "interval": self.scheduler}]


def data(*, shuffle: bool = False) -> DataLoader[Any]:
    x = torch.linspace(-1, 2, 12).reshape(6, 2)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True) * 3), batch_size=2, shuffle=shuffle)


def fit(module: Plane, *callbacks: Callback, epochs: int = 3, **kwargs: Any) -> lt.Trainer:
    ckpt_path, shuffle = kwargs.pop("ckpt_path", None), kwargs.pop("shuffle", False)
    has_checkpoint = any(callback.role == "checkpoint" for callback in callbacks)
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": epochs,
        "logger": False,
        "enable_checkpointing": has_checkpoint,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lt.Trainer(callbacks=list(callbacks), **{**settings, **kwargs})
    trainer.fit(module, data(shuffle=shuffle), data(), ckpt_path=ckpt_path)
    return trainer


def parameters_of(module: Plane) -> list[float]:
    return torch.cat([parameter.detach().flatten() for parameter in module.layer.parameters()]).tolist()


@pytest.mark.parametrize(
    ("make", "weights", "validated"),
    [
        (
            lambda: EMAWeightAveraging(decay=0.8),
            [3.695522, 2.957093, 0.142425],
            [0.5, 1.233289, 3.048724, 3.695522],
        ),
        (
            lambda: EMAWeightAveraging(decay=0.8, update_every_n_steps=2, update_starting_at_step=4),
            [4.951173, 4.386785, 0.780575],
            [0.5, 2.680823, 5.315136, 4.951173],  # before the start: the weights of training
        ),
        (WeightAveraging, [3.631963, 2.943336, 0.325034], [0.5, 1.556238, 3.216239, 3.631963]),
    ],
    ids=["moving average", "late", "mean"],
)
def test_weights_and_validation_are_those_that_users_know(make: Any, weights: Any, validated: Any) -> None:
    """The final weights, and what each validation saw."""
    module = Plane()

    fit(module, make())

    assert parameters_of(module) == pytest.approx(weights, abs=1e-5)
    assert module.validated == pytest.approx(validated, abs=1e-5)


@pytest.mark.parametrize("scheduler", [None, "epoch", "step"])
def test_swa_takes_over_the_learning_rate(scheduler: str | None, recwarn: pytest.WarningsRecorder) -> None:
    """Whatever scheduler the module has, and with none."""
    warnings = pytest.warns(UserWarning, match="is replaced") if scheduler == "step" else _nothing()
    module = Plane(scheduler)

    with warnings:
        fit(module, StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2, annealing_epochs=0), epochs=5)

    assert module.rates[1:] == [0.01] * 4
    if scheduler != "step":
        assert parameters_of(module) == pytest.approx([3.503445, 2.915314, 0.693519], abs=1e-5)


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_swa_measures_batch_normalisation_anew() -> None:
    """The statistics are those of the training data, and training is not a batch longer."""
    module = Plane(noisy=True)

    trainer = fit(module, StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2), epochs=4)

    assert module.before is not None
    norm = module.before[0]
    assert isinstance(norm, torch.nn.BatchNorm1d)
    assert norm.running_mean is not None
    x = torch.linspace(-1, 2, 12).reshape(3, 2, 2)
    assert torch.allclose(norm.running_mean, x.mean(dim=(0, 1)), atol=1e-5)
    assert (trainer.global_step, trainer.current_epoch) == (12, 4)


class SaveAt(Callback):
    """Writes one checkpoint, at a moment of the run."""

    role = "checkpoint"

    def __init__(self, moment: str, path: Path) -> None:
        self.moment, self.path = moment, path

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if self.moment == f"step {trainer.global_step}":
            trainer.save_checkpoint(self.path)

    def on_validation_end(self, trainer: Any, *args: Any) -> None:
        if self.moment == f"validation in {trainer.current_epoch}" and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
        if self.moment == f"epoch {trainer.current_epoch}":
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("moment", ["step 2", "step 7", "validation in 1", "epoch 2"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: EMAWeightAveraging(decay=0.8, update_starting_at_step=3),
        WeightAveraging,
        lambda: StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2, annealing_epochs=3),
    ],
    ids=["moving average", "mean", "swa"],
)
def test_a_resumed_run_ends_with_the_same_bits(make: Any, moment: str, tmp_path: Path) -> None:
    """With a scheduler, shuffled data, dropout and accumulated batches."""
    path = tmp_path / "resume.ckpt"
    whole, resumed = Plane("epoch", noisy=True), Plane("epoch", noisy=True)

    lt.seed_everything(3)
    first = fit(whole, make(), SaveAt(moment, path), epochs=5, shuffle=True)
    lt.seed_everything(4)
    second = fit(resumed, make(), epochs=5, shuffle=True, ckpt_path=path)
    first.save_checkpoint(tmp_path / "whole.ckpt")
    second.save_checkpoint(tmp_path / "resumed.ckpt")

    assert _plain(resumed.state_dict()) == _plain(whole.state_dict())
    one, other = (torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("whole", "resumed"))
    for key in ("state_dict", "optimizer_states", "current_model_state", "averaging_state"):
        assert _plain(one.get(key)) == _plain(other.get(key))


def _plain(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.tolist()
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return [_plain(value) for value in state] if isinstance(state, list) else state


def test_the_best_checkpoint_is_chosen_by_and_holds_the_average(tmp_path: Path) -> None:
    """What was validated is what the file has, so testing it gives the value that it was chosen by."""
    module = Plane()
    best = ModelCheckpoint(tmp_path, monitor="val_loss")
    trainer = fit(module, EMAWeightAveraging(decay=0.8), best)

    [again] = trainer.validate(module, data(), ckpt_path="best", verbose=False)

    assert best.best_model_score is not None
    assert again["val_loss"] == pytest.approx(best.best_model_score.item(), rel=1e-6)
    loaded = Plane.load_from_checkpoint(best.best_model_path)
    current = Plane()
    WeightAveraging.load_weights(current, best.best_model_path, weights="current")
    assert "epoch=1" in best.best_model_path
    assert loaded.layer.weight[0, 0].item() == pytest.approx(3.048724, abs=1e-5)
    assert parameters_of(current) != parameters_of(loaded)


def test_the_learning_rate_monitor_sees_the_schedule_of_swa(tmp_path: Path) -> None:
    """It logs the rate of each epoch."""
    monitor = LearningRateMonitor(logging_interval="epoch")

    fit(
        Plane("epoch"),
        StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2, annealing_epochs=2),
        monitor,
        epochs=5,
        logger=CSVLogger(tmp_path),
        log_every_n_steps=1,
    )

    assert monitor.lrs["lr-SGD"] == pytest.approx([0.05, 0.025, 0.0175, 0.01, 0.01])


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_the_average_has_the_precision_of_the_module(precision: Any) -> None:
    """It is made when the module has been converted; batch normalisation is measured in the same arithmetic."""
    averaged, swa = Plane(noisy=True), Plane(noisy=True)

    fit(averaged, EMAWeightAveraging(decay=0.8), precision=precision)
    fit(swa, StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2), precision=precision)

    kinds = {"bf16-mixed": torch.float32, "bf16-true": torch.bfloat16, "64-true": torch.float64}
    for module in (averaged, swa):
        assert {parameter.dtype for parameter in module.parameters()} == {kinds[precision]}
        assert all(parameter.isfinite().all() for parameter in module.parameters())
