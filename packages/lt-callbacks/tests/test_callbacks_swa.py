"""StochasticWeightAveraging. The numbers are those of Lightning 2.6.6 for the same module and data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.optim.swa_utils import SWALR
from torch.utils.data import DataLoader, TensorDataset

from lt_callbacks import StochasticWeightAveraging
from lt_core.callback import Callback
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.errors import MisconfigurationException
from lt_core.module import LightningModule
from lt_core.testing import MiniTrainer

torch.set_num_threads(1)


class Plane(LightningModule):
    """Fits a plane through points of one, with or without batch normalisation and a scheduler."""

    def __init__(self, scheduler: str | None = None, *, normalised: bool = False) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.layer = torch.nn.Linear(2, 1)
        self.norm = torch.nn.BatchNorm1d(2) if normalised else torch.nn.Identity()
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.5, -0.25]]))
            self.layer.bias.fill_(0.1)
        self.rates: list[float] = []
        self.validated: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(self.norm(x)), y)
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated.append(round(self.layer.weight[0, 0].item(), 6))

    def on_train_epoch_start(self) -> None:
        self.rates.append(round(self.trainer.optimizers[0].param_groups[0]["lr"], 8))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        if self.scheduler == "plateau":
            plateau = ReduceLROnPlateau(optimizer, patience=0, factor=0.1, threshold=100.0, threshold_mode="abs")
            return {"optimizer": optimizer, "lr_scheduler": plateau, "monitor": "loss"}
        if self.scheduler is None:
            return optimizer
        return [optimizer], [{"scheduler": StepLR(optimizer, 1, gamma=0.5), "interval": self.scheduler}]


def data() -> DataLoader[Any]:
    x = torch.linspace(-1, 2, 12).reshape(6, 2)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True) * 3), batch_size=2)


def fit(module: Plane, *callbacks: Callback, epochs: int = 5, **kwargs: Any) -> MiniTrainer:
    ckpt_path = kwargs.pop("ckpt_path", None)
    trainer = MiniTrainer(callbacks=list(callbacks), max_epochs=epochs, limit_val_batches=1, **kwargs)
    trainer.fit(module, data(), data(), ckpt_path=ckpt_path)
    return trainer


def parameters_of(module: Plane) -> list[float]:
    return torch.cat([parameter.detach().flatten() for parameter in module.layer.parameters()]).tolist()


@pytest.mark.parametrize(
    ("arguments", "scheduler", "weights", "rates"),
    [
        (
            {"swa_epoch_start": 2, "annealing_epochs": 2},
            None,
            [3.939766, 3.188987, 0.09714],
            [0.05, 0.05, 0.03, 0.01, 0.01],
        ),
        (
            {"swa_epoch_start": 2, "annealing_epochs": 2},
            "epoch",
            [3.901994, 3.295714, 0.626973],
            [0.05, 0.025, 0.0175, 0.01, 0.01],
        ),
        (
            {"swa_epoch_start": 0.5, "annealing_epochs": 3, "annealing_strategy": "linear"},
            None,
            [3.73332, 2.934894, -0.077564],
            [0.05, 0.05, 0.03666667, 0.02333333, 0.01],
        ),
        (
            {"swa_epoch_start": 2, "annealing_epochs": 0},
            None,
            [3.503445, 2.915314, 0.693519],
            [0.05, 0.01, 0.01, 0.01, 0.01],
        ),
    ],
    ids=["no scheduler", "scheduler", "linear", "at once"],
)
def test_weights_and_rates_are_those_that_users_know(
    arguments: Any, scheduler: str | None, weights: list[float], rates: list[float]
) -> None:
    """The schedule, the epochs that are averaged and the average agree."""
    module = Plane(scheduler)

    fit(module, StochasticWeightAveraging(swa_lrs=0.01, **arguments))

    assert parameters_of(module) == pytest.approx(weights, abs=1e-5)
    assert module.rates == rates


def test_the_statistics_of_batch_normalisation_are_measured_for_the_average() -> None:
    """One pass over the training data, without a trace in the log, the epochs or the layer's own momentum."""
    module = Plane(normalised=True)

    trainer = fit(module, StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2), epochs=4)

    assert isinstance(module.norm, torch.nn.BatchNorm1d)
    assert module.norm.running_mean is not None
    assert module.norm.running_var is not None
    assert parameters_of(module) == pytest.approx([0.336613, 0.444108, 2.342296], abs=1e-5)
    assert module.norm.running_mean.tolist() == pytest.approx([0.36364, 0.63636], abs=1e-4)
    assert module.norm.running_var.tolist() == pytest.approx([0.14876, 0.14876], abs=1e-4)
    assert (module.norm.num_batches_tracked, module.norm.momentum, trainer.current_epoch) == (3, 0.1, 4)
    assert trainer.global_step == 12
    assert "log" not in vars(module)


@pytest.mark.parametrize("scheduler", [None, "epoch", "step", "plateau"])
def test_the_schedule_takes_the_place_of_the_module_s_own(scheduler: str | None) -> None:
    """From the first epoch of averaging on there is one scheduler, and no other changes the rate."""
    seen: list[Any] = []

    class Look(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            seen.append([type(config.scheduler) for config in trainer.lr_scheduler_configs])

    module = Plane(scheduler)
    swa = StochasticWeightAveraging(swa_lrs=0.001, swa_epoch_start=2, annealing_epochs=0)

    if scheduler == "step":
        with pytest.warns(UserWarning, match="steps every 1 step and is replaced"):
            fit(module, swa, Look(), epochs=3)
    else:
        fit(module, swa, Look(), epochs=3)

    assert len(seen[0]) == (scheduler is not None)
    assert [issubclass(kind, SWALR) for kind in seen[2]] == [True]
    assert module.rates[1:] == [0.001, 0.001]


def test_training_that_stops_early_ends_with_the_average() -> None:
    """What was averaged until then is used."""

    class Stop(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = trainer.current_epoch == 2

    starts: list[list[float]] = []

    class Starts(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            starts.append(parameters_of(pl_module))

    module = Plane()

    fit(module, StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2), Stop(), Starts(), epochs=50)

    mean = [(a + b) / 2 for a, b in zip(*starts[1:3], strict=True)]
    assert parameters_of(module) == pytest.approx(mean, abs=1e-6)


def test_training_without_an_end_is_averaged_from_an_epoch_on() -> None:
    """`max_epochs=-1` has no part that a float could mean, but epochs."""
    module = Plane()
    swa = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2)

    fit(module, swa, epochs=-1, max_steps=9)

    assert swa.n_averaged == 2
    with pytest.raises(MisconfigurationException, match=r"has no end \(`max_epochs=-1`\)"):
        fit(module, StochasticWeightAveraging(swa_lrs=0.01), epochs=-1, max_steps=9)


@pytest.mark.parametrize("scheduler", [None, "epoch"])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("when", ["batch 1 of 0", "epoch 0", "epoch 1", "batch 1 of 2", "epoch 3"])
def test_a_resumed_run_ends_with_the_same_bits(
    scheduler: str | None, normalised: bool, when: str, tmp_path: Path
) -> None:
    """The average, the schedule and the weights go on as in a run that was not interrupted."""
    path = tmp_path / "resume.ckpt"

    class Save(Callback):
        role = "checkpoint"

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            if when == f"batch {args[-1]} of {trainer.current_epoch}":
                trainer.save_checkpoint(path)

        def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
            if when == f"epoch {trainer.current_epoch}":
                trainer.save_checkpoint(path)

    def make() -> StochasticWeightAveraging:
        return StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2, annealing_epochs=2)

    whole, resumed = Plane(scheduler, normalised=normalised), Plane(scheduler, normalised=normalised)

    fit(whole, make(), Save())
    again = make()
    fit(resumed, again, ckpt_path=path)

    assert {name: value.tolist() for name, value in resumed.state_dict().items()} == {
        name: value.tolist() for name, value in whole.state_dict().items()
    }
    assert again.n_averaged == 4
    assert resumed.rates == whole.rates[len(whole.rates) - len(resumed.rates) :]


def test_a_checkpoint_without_the_callback_is_continued_with_a_word(tmp_path: Path) -> None:
    """What came before is not in the average, and it is said."""
    trainer = fit(Plane(), epochs=3)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")

    with pytest.warns(UserWarning, match="begins in epoch 3, and was expected to in epoch 1"):
        fit(
            Plane(),
            StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2),
            ckpt_path=tmp_path / "plain.ckpt",
        )


def test_nothing_is_kept_before_the_start(tmp_path: Path) -> None:
    """The state of a run that has not begun to average holds no weights."""
    trainer = fit(Plane(), StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=4), epochs=5, max_steps=3)
    trainer.save_checkpoint(tmp_path / "early.ckpt")

    [state] = load_checkpoint_file(tmp_path / "early.ckpt")["callbacks"].values()

    assert state == {
        "n_averaged": 0,
        "latest_update_epoch": -1,
        "scheduler_state": None,
        "average_model_state": None,
    }


def test_a_start_after_the_end_is_said() -> None:
    """Training ends as if the callback was not there."""
    with pytest.warns(UserWarning, match="nothing is averaged"):
        fit(Plane(), StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=9), epochs=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"swa_lrs": 0.1, "swa_epoch_start": 0}, ">0 integer or a float between 0 and 1"),
        ({"swa_lrs": 0.1, "swa_epoch_start": 1.5}, ">0 integer or a float between 0 and 1"),
        ({"swa_lrs": 0.1, "swa_epoch_start": True}, ">0 integer or a float between 0 and 1"),
        ({"swa_lrs": 5}, "positive float, or a list of positive floats"),
        ({"swa_lrs": [0.2, 1]}, "positive float, or a list of positive floats"),
        ({"swa_lrs": -0.1}, "positive float, or a list of positive floats"),
        ({"swa_lrs": []}, "positive float, or a list of positive floats"),
        ({"swa_lrs": 0.1, "annealing_epochs": -1}, "annealing_epochs=-1; expected a whole number"),
        ({"swa_lrs": 0.1, "annealing_strategy": "cosine"}, "annealing_strategy='cosine'; expected 'cos'"),
        ({"swa_lrs": 0.1, "avg_fn": 0.5}, "`avg_fn` should be callable"),
        ({"swa_lrs": 0.1, "device": 0.5}, r"device=0.5, a float; expected a torch.device"),
    ],
)
def test_wrong_arguments_are_answered_with_what_to_write(arguments: Any, message: str) -> None:
    """Each is refused when the callback is made."""
    with pytest.raises(MisconfigurationException, match=message) as caught:
        StochasticWeightAveraging(**arguments)

    assert "Write " in str(caught.value)


def test_what_the_module_has_is_checked_when_fit_begins() -> None:
    """One optimizer, one scheduler at most, and as many rates as parameter groups."""

    class TwoSchedulers(Plane):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return [optimizer], [StepLR(optimizer, 1), StepLR(optimizer, 1)]

    class TwoOptimizers(Plane):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]

    with pytest.raises(MisconfigurationException, match="more than 1 `lr_scheduler`"):
        fit(TwoSchedulers(), StochasticWeightAveraging(swa_lrs=0.1))
    with pytest.raises(MisconfigurationException, match="works with 1 `optimizer`"):
        fit(TwoOptimizers(), StochasticWeightAveraging(swa_lrs=0.1))
    with pytest.raises(MisconfigurationException, match=r"2 rates.*1 parameter groups"):
        fit(Plane(), StochasticWeightAveraging(swa_lrs=[0.1, 0.2]))
