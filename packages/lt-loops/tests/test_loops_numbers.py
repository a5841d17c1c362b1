"""Training gives the numbers of the loop that a person would write, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lt_core import LightningModule


def data(size: int = 22, batch_size: int = 4) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(size, 5, generator=generator)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True).sin()), batch_size=batch_size, shuffle=True)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))


class Regression(LightningModule):
    def __init__(self, optimizer: str = "adam", scheduler: Any = None) -> None:
        super().__init__()
        self.net = network()
        self.optimizer_name = optimizer
        self.scheduler = scheduler
        self.losses: list[Tensor] = []

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.losses.append(loss.detach().clone())
        self.log("loss", loss, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.optimizer_name, self.parameters())
        return (
            optimizer if self.scheduler is None else {"optimizer": optimizer, "lr_scheduler": self.scheduler(optimizer)}
        )


def make_optimizer(name: str, parameters: Any) -> torch.optim.Optimizer:
    if name == "lbfgs":
        return torch.optim.LBFGS(parameters, lr=0.1, max_iter=3)
    return (
        torch.optim.Adam(parameters, lr=0.01) if name == "adam" else torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    )


def hand_written(  # noqa: C901 -- one loop with every option, as a person would write it
    epochs: int,
    *,
    optimizer: str = "adam",
    accumulate: int = 1,
    clip: float | None = None,
    clip_value: float | None = None,
    scheduler: Any = None,
    each_step: bool = False,
    autocast: bool = False,
) -> tuple[list[Tensor], nn.Module]:
    torch.manual_seed(1)
    net = network()
    optim = make_optimizer(optimizer, net.parameters())
    lr = scheduler(optim) if scheduler else None
    losses = []
    loader = data()
    for _ in range(epochs):
        for index, (x, y) in enumerate(loader):

            def closure(x: Tensor = x, y: Tensor = y, index: int = index) -> Tensor:
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                    loss = nn.functional.mse_loss(net(x), y)
                losses.append(loss.detach().clone())
                window = min(accumulate, len(loader) - index + index % accumulate)
                if index % accumulate == 0:
                    optim.zero_grad()
                (loss / window if window > 1 else loss).backward()
                return loss

            last = (index + 1) % accumulate == 0 or index + 1 == len(loader)
            if optimizer == "lbfgs":
                optim.step(closure)
                continue
            closure()
            if last:
                if clip:
                    nn.utils.clip_grad_norm_(net.parameters(), clip)
                if clip_value:
                    nn.utils.clip_grad_value_(net.parameters(), clip_value)
                optim.step()
                if lr is not None and each_step:
                    lr.step()
        if lr is not None and not each_step:
            lr.step()
    return losses, net


def assert_same(module: Regression, expected: tuple[list[Tensor], nn.Module]) -> None:
    losses, net = expected
    assert torch.equal(torch.stack(module.losses), torch.stack(losses))
    for mine, theirs in zip(module.net.parameters(), net.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def fit(quiet: Any, module_arguments: dict[str, Any] | None = None, **arguments: Any) -> Regression:
    torch.manual_seed(1)
    module = Regression(**(module_arguments or {}))
    quiet(max_epochs=3, **arguments).fit(module, data())
    return module


def test_plain_training_equals_the_hand_written_loop(quiet: Any) -> None:
    """Losses and weights are those of a bare loop."""
    assert_same(fit(quiet), hand_written(3))


@pytest.mark.parametrize("accumulate", [2, 3, 4, 10])
def test_accumulation_scales_a_short_last_window_by_its_true_length(quiet: Any, accumulate: int) -> None:
    """Six batches in windows of any length train as windows of their real length."""
    assert_same(fit(quiet, accumulate_grad_batches=accumulate), hand_written(3, accumulate=accumulate))


def test_clipping_by_norm_equals_the_hand_written_loop(quiet: Any) -> None:
    """The norm is clipped between backward and step."""
    assert_same(fit(quiet, gradient_clip_val=0.1), hand_written(3, clip=0.1))


def test_clipping_by_value_equals_the_hand_written_loop(quiet: Any) -> None:
    """Each element is clipped between backward and step."""
    expected = hand_written(3, clip_value=0.01)
    assert_same(fit(quiet, gradient_clip_val=0.01, gradient_clip_algorithm="value"), expected)


def test_a_closure_optimizer_equals_the_hand_written_loop(quiet: Any) -> None:
    """LBFGS evaluates the closure as often as it wants."""
    assert_same(fit(quiet, {"optimizer": "lbfgs"}), hand_written(3, optimizer="lbfgs"))


def test_an_epoch_scheduler_equals_the_hand_written_loop(quiet: Any) -> None:
    """A scheduler in its plain form steps once an epoch."""

    def schedule(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    assert_same(fit(quiet, {"scheduler": schedule}), hand_written(3, scheduler=schedule))


def test_a_step_scheduler_equals_the_hand_written_loop(quiet: Any) -> None:
    """A scheduler with interval 'step' steps with the optimizer."""

    def schedule(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.7)

    def configured(optimizer: Any) -> Any:
        return {"scheduler": schedule(optimizer), "interval": "step"}

    assert_same(fit(quiet, {"scheduler": configured}), hand_written(3, scheduler=schedule, each_step=True))


def test_bf16_autocast_equals_the_hand_written_loop(quiet: Any) -> None:
    """Mixed precision enters autocast around the step alone."""
    assert_same(fit(quiet, precision="bf16-mixed"), hand_written(3, autocast=True))


class Manual(Regression):
    def __init__(self) -> None:
        super().__init__("sgd")
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        loss = self.loss(batch)
        self.losses.append(loss.detach().clone())
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


def test_manual_optimisation_equals_the_hand_written_loop(quiet: Any) -> None:
    """Backward and steps in training_step train as in a bare loop."""
    torch.manual_seed(1)
    module = Manual()
    trainer = quiet(max_epochs=3)

    trainer.fit(module, data())

    assert_same(module, hand_written(3, optimizer="sgd"))
    assert trainer.global_step == 18


class TwoOptimizers(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.a, self.b = nn.Linear(5, 1), nn.Linear(5, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        for optimizer, layer in zip(self.optimizers(), (self.a, self.b), strict=True):
            with optimizer.toggle_model():
                optimizer.zero_grad()
                self.manual_backward(nn.functional.mse_loss(self.a(x) + self.b(x), y) + layer.weight.norm())
                optimizer.step()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.a.parameters(), 0.1), torch.optim.Adam(self.b.parameters(), 0.01)


def test_two_optimizers_equal_the_hand_written_loop(quiet: Any) -> None:
    """Toggled optimizers step in turn, and each step counts."""
    torch.manual_seed(1)
    module = TwoOptimizers()
    trainer = quiet(max_epochs=2)
    trainer.fit(module, data())
    torch.manual_seed(1)
    twin = TwoOptimizers()
    optimizers = twin.configure_optimizers()
    for _ in range(2):
        for x, y in data():
            for optimizer, layer in zip(optimizers, (twin.a, twin.b), strict=True):
                optimizer.zero_grad()
                (nn.functional.mse_loss(twin.a(x) + twin.b(x), y) + layer.weight.norm()).backward(
                    inputs=list(layer.parameters())
                )
                optimizer.step()

    for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert trainer.global_step == 24


def test_the_epoch_mean_is_weighted_by_the_true_batch_sizes(quiet: Any) -> None:
    """A short last batch counts for its size."""
    torch.manual_seed(1)
    module = Regression()
    trainer = quiet(max_epochs=1)

    trainer.fit(module, data())

    sizes = torch.tensor([4.0] * 5 + [2.0])
    expected = (torch.stack(module.losses) * sizes).sum() / sizes.sum()
    torch.testing.assert_close(trainer.callback_metrics["loss_epoch"], expected)
