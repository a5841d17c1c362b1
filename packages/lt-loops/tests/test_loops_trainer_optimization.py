"""What the Trainer does with optimizers and schedulers: overridden hooks, manual mode, short windows, scaled losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset

from lt_core import Callback, LightningModule
from lt_core.errors import MisconfigurationException
from lt_core.optimizer import LightningOptimizer
from lt_loops import Trainer
from lt_loops.precision import MixedPrecision

Make = Callable[..., Trainer]
DATA = torch.arange(1.0, 7.0).reshape(6, 1) / 6


def loader(size: int = 6) -> DataLoader[Any]:
    return DataLoader(DATA[:size])


class Model(LightningModule):
    """One weight; the loss is ``weight * batch``, so that a gradient is the batch itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        loss = (self.weight * batch).sum()
        self.log("loss", loss.detach(), batch_size=1)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


# -- accumulation over data whose length is unknown or wrong


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(DATA[:5])


class Claiming(Stream):
    """Has five samples and says otherwise."""

    def __init__(self, claims: int) -> None:
        self.claims = claims

    def __len__(self) -> int:
        return self.claims


def after_windows(*windows: Tensor) -> float:
    weight = 1.0
    for window in windows:
        weight -= 0.1 * window.mean().item()
    return weight


class WarmUp(Model):
    """Takes its steps itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stepped: list[int] = []

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        self.stepped.append(batch_idx)
        optimizer.step(closure=optimizer_closure)


@pytest.mark.parametrize("module", [Model, WarmUp])
def test_a_short_last_window_of_a_stream_is_scaled_by_its_true_length(quiet: Make, module: type[Model]) -> None:
    """Five batches in windows of two: the last window has one, with or without an own `optimizer_step`."""
    model = module()
    trainer = quiet(max_epochs=1, accumulate_grad_batches=2)

    trainer.fit(model, DataLoader(Stream(), batch_size=1))

    assert model.weight.item() == pytest.approx(after_windows(DATA[:2], DATA[2:4], DATA[4:5]))
    assert trainer.global_step == 3
    assert getattr(model, "stepped", [1, 3, 4]) == [1, 3, 4]


@pytest.mark.parametrize("module", [Model, WarmUp])
@pytest.mark.parametrize(("window", "windows"), [(3, (DATA[:3], DATA[3:5])), (4, (DATA[:4], DATA[4:5]))])
def test_a_short_window_of_several_batches_is_scaled_too(
    quiet: Make, module: type[Model], window: int, windows: tuple[Tensor, ...]
) -> None:
    """The gradients that are there already count like the last one."""
    model = module()

    quiet(max_epochs=1, accumulate_grad_batches=window).fit(model, DataLoader(Stream(), batch_size=1))

    assert model.weight.item() == pytest.approx(after_windows(*windows))


@pytest.mark.parametrize("module", [Model, WarmUp])
@pytest.mark.parametrize(
    ("claims", "window", "windows"),
    [(7, 3, (DATA[:3], DATA[3:5])), (6, 4, (DATA[:4], DATA[4:5])), (8, 5, (DATA[:5],)), (9, 8, (DATA[:5],))],
)
def test_a_loader_that_ends_before_its_length_leaves_no_window_open(
    quiet: Make, module: type[Model], claims: int, window: int, windows: tuple[Tensor, ...]
) -> None:
    """The last step of the epoch is taken with the gradients that are there, and the user is told."""
    model = module()
    trainer = quiet(max_epochs=2, accumulate_grad_batches=window)

    with pytest.warns(UserWarning, match=f"ended after 5 batches.*said {claims}"):
        trainer.fit(model, DataLoader(Claiming(claims), batch_size=1))

    assert model.weight.item() == pytest.approx(after_windows(*windows, *windows))
    assert (trainer.global_step, trainer.current_epoch) == (2 * len(windows), 2)


def test_what_waits_for_the_last_batch_is_done_when_a_loader_ends_early(quiet: Make) -> None:
    """Schedulers of the epoch step and validation runs, as after any epoch."""
    validated: list[int] = []

    class Validated(Scheduled):
        def validation_step(self, batch: Tensor, batch_idx: int) -> None:
            validated.append(self.global_step)

    model = Validated(halving())
    trainer = quiet(max_epochs=2, num_sanity_val_steps=0)

    with pytest.warns(UserWarning, match="ended after 5 batches"):
        trainer.fit(model, DataLoader(Claiming(6), batch_size=1), loader(1))

    assert model.rates == [1.0] * 5 + [0.5] * 5
    assert validated == [5, 10]


@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
def test_a_loader_that_is_longer_than_its_length_is_read_as_far_as_it_said(quiet: Make) -> None:
    """It says four batches and has five."""
    model = Model()

    quiet(max_epochs=1, accumulate_grad_batches=2).fit(model, DataLoader(Claiming(4), batch_size=1))

    assert model.weight.item() == pytest.approx(after_windows(DATA[:2], DATA[2:4]))


def test_the_accumulation_may_be_changed_while_training(quiet: Make) -> None:
    """`trainer.accumulate_grad_batches` stays mutable: a callback may schedule it by epoch."""

    class Schedule(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            trainer.accumulate_grad_batches = (1, 3)[trainer.current_epoch]

    trainer = quiet(max_epochs=2, callbacks=[Schedule()])

    trainer.fit(Model(), loader())

    assert trainer.global_step == 6 + 2


# -- overridden hooks of automatic optimisation


class Overriding(Model):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        self.calls.append(
            ("optimizer_step", epoch, batch_idx, type(optimizer).__name__, isinstance(optimizer, torch.optim.SGD))
        )
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        self.calls.append(("optimizer_zero_grad", epoch, batch_idx, optimizer is self.trainer.optimizers[0]))
        super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        self.calls.append(("backward", loss.item(), loss.requires_grad))
        super().backward(loss, *args, **kwargs)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        own = optimizer is self.trainer.optimizers[0]
        self.calls.append(("configure_gradient_clipping", own, gradient_clip_val, gradient_clip_algorithm))
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)


def test_overridden_optimisation_hooks_get_what_is_documented(quiet: Make) -> None:
    """The epoch, the batch, the optimizer with or without its wrapper, the divided loss, and the clipping values."""
    model = Overriding()

    quiet(max_epochs=1, accumulate_grad_batches=2, gradient_clip_val=0.25).fit(model, loader(2))

    assert model.calls == [
        ("optimizer_zero_grad", 0, 0, True),
        ("backward", pytest.approx(1 / 12), True),
        ("optimizer_step", 0, 1, "LightningSGD", True),
        ("backward", pytest.approx(2 / 12), True),
        ("configure_gradient_clipping", True, 0.25, None),
    ]
    assert model.weight.item() == pytest.approx(1 - 0.1 * 0.25)


def test_clipping_hooks_run_without_a_value_too(quiet: Make) -> None:
    """An own `configure_gradient_clipping` decides for itself."""

    class Own(Model):
        def configure_gradient_clipping(
            self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
        ) -> None:
            assert gradient_clip_val is None
            self.clip_gradients(optimizer, gradient_clip_val=0.01, gradient_clip_algorithm="value")

    model = Own()

    quiet(max_steps=1).fit(model, loader())

    assert model.weight.item() == pytest.approx(1 - 0.1 * 0.01)


def test_a_step_that_is_left_out_by_the_module_leaves_the_weights(quiet: Make) -> None:
    """An own `optimizer_step` may run the closure alone on some batches."""

    class EverySecond(Model):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            if batch_idx % 2:
                optimizer.step(closure=optimizer_closure)
            else:
                optimizer_closure()

    model = EverySecond()

    quiet(max_epochs=1).fit(model, loader(4))

    assert model.weight.item() == pytest.approx(1 - 0.1 * (DATA[1] + DATA[3]).item())


def test_a_skipped_batch_takes_no_step_but_counts(quiet: Make) -> None:
    """`training_step` returns None: the weights stay, the counters go on."""

    class Skips(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    model = Skips()
    trainer = quiet(max_epochs=1)

    with pytest.warns(UserWarning, match="returned None"):
        trainer.fit(model, loader(3))

    assert model.weight.item() == pytest.approx(1 - 0.1 * (DATA[0] + DATA[2]).item())
    assert trainer.global_step == 3


def test_extras_of_a_training_step_reach_the_batch_end(quiet: Make) -> None:
    """The loss is detached and divided, the rest is passed as it is."""
    seen: list[dict[str, Any]] = []

    class Extras(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            return {"loss": super().training_step(batch, batch_idx), "note": "x"}

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(outputs)

    quiet(max_epochs=1, accumulate_grad_batches=2).fit(Extras(), loader(2))

    assert [output["note"] for output in seen] == ["x", "x"]
    assert seen[0]["loss"].item() == pytest.approx(1 / 12)
    assert not seen[0]["loss"].requires_grad


def test_without_an_optimizer_the_steps_still_run(quiet: Make) -> None:
    """`configure_optimizers` returns None: a warning, gradients, and no update."""

    class Untrained(Model):
        def configure_optimizers(self) -> Any:
            return None

    model = Untrained()
    trainer = quiet(max_epochs=1)

    with pytest.warns(UserWarning, match="configure_optimizers"):
        trainer.fit(model, loader(2))

    assert model.weight.item() == 1.0
    assert trainer.global_step == 2


# -- schedulers


class Scheduled(Model):
    def __init__(self, *configs: Callable[[Any], Any]) -> None:
        super().__init__()
        self.configs = configs
        self.rates: list[float] = []
        self.stepped: list[tuple[str, Any]] = []

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        return [optimizer], [config(optimizer) for config in self.configs]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])


def halving(**config: Any) -> Callable[[Any], Any]:
    return lambda optimizer: {"scheduler": StepLR(optimizer, 1, gamma=0.5), **config}


@pytest.mark.parametrize(
    ("configs", "rates"),
    [
        ([halving()], [1, 1, 1, 0.5, 0.5, 0.5]),
        ([halving(frequency=2)], [1, 1, 1, 1, 1, 1]),
        ([halving(interval="step")], [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]),
        ([halving(interval="step", frequency=2)], [1, 1, 0.5, 0.5, 0.5, 0.25]),
        ([halving(), halving(interval="step", frequency=3)], [1, 1, 1, 0.25, 0.25, 0.25]),
    ],
)
def test_schedulers_step_at_their_own_pace(quiet: Make, configs: Any, rates: list[float]) -> None:
    """Several at once, by step and by epoch, with a frequency within the epoch."""
    model = Scheduled(*configs)

    quiet(max_epochs=2).fit(model, loader(3))

    assert model.rates == pytest.approx(rates)


@pytest.mark.parametrize(
    ("interval", "rates"), [("epoch", [1, 1, 1, 1, 0.5, 0.5]), ("step", [1, 1, 0.5, 0.25, 0.125, 0.0625])]
)
def test_a_plateau_scheduler_follows_its_monitor(quiet: Make, interval: str, rates: list[float]) -> None:
    """The rate is cut when the monitored value does not improve."""

    class Flat(Scheduled):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            self.log("flat", 1.0, on_step=True, on_epoch=True, batch_size=1)
            return super().training_step(batch, batch_idx)

    def plateau(optimizer: Any) -> Any:
        scheduler = ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        return {"scheduler": scheduler, "monitor": "flat", "interval": interval}

    model = Flat(plateau)

    quiet(max_epochs=3 if interval == "epoch" else 2).fit(model, loader(2 if interval == "epoch" else 3))

    assert model.rates == pytest.approx(rates)


def test_a_missing_monitor_is_an_error_with_what_was_logged_or_a_warning(quiet: Make) -> None:
    """`strict` decides which."""

    def plateau(*, strict: bool) -> Callable[[Any], Any]:
        return lambda optimizer: {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "lozz", "strict": strict}

    with pytest.raises(MisconfigurationException, match="`loss`"):
        quiet(max_epochs=1).fit(Scheduled(plateau(strict=True)), loader(2))
    with pytest.warns(RuntimeWarning, match="lozz"):
        quiet(max_epochs=1).fit(Scheduled(plateau(strict=False)), loader(2))


def test_an_own_scheduler_step_gets_the_scheduler_and_the_metric(quiet: Make) -> None:
    """The metric is None for schedulers that take none."""

    class Own(Scheduled):
        def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
            self.stepped.append((type(scheduler).__name__, None if metric is None else float(metric)))
            super().lr_scheduler_step(scheduler, metric)

    model = Own(
        halving(interval="step"), lambda optimizer: {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "loss"}
    )

    quiet(max_epochs=1).fit(model, loader(2))

    assert [name for name, _ in model.stepped] == ["StepLR", "StepLR", "ReduceLROnPlateau"]
    assert model.stepped[0][1] is None
    assert isinstance(model.stepped[-1][1], float)


def test_step_schedulers_wait_for_the_window(quiet: Make) -> None:
    """With accumulation a scheduler steps with the optimizer, not with each batch."""
    model = Scheduled(halving(interval="step"))

    quiet(max_epochs=1, accumulate_grad_batches=2).fit(model, loader(6))

    assert model.rates == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25])


# -- manual optimisation


class Manual(Model):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.a, self.b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))

    def configure_optimizers(self) -> Any:
        a, b = (torch.optim.SGD([parameter], lr=0.1) for parameter in (self.a, self.b))
        return [a, b], [StepLR(a, 1, gamma=0.5), LambdaLR(b, lambda epoch: 1.0)]


def test_schedulers_of_manual_optimisation_are_stepped_by_hand_only(quiet: Make) -> None:
    """`lr_schedulers()` gives them in order; the trainer leaves them alone."""

    class Steps(Manual):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            for optimizer in self.optimizers():
                optimizer.step()
            if batch_idx == 2:
                first, _ = self.lr_schedulers()
                first.step()

    model = Steps()
    trainer = quiet(max_epochs=2)

    trainer.fit(model, loader(3))

    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * 0.25)
    assert trainer.global_step == 12


def test_toggling_lets_only_one_optimizers_parameters_learn(quiet: Make) -> None:
    """Inside, the other parameters get no gradient; outside, everything is as before, also after an error."""
    seen: list[tuple[bool, bool]] = []

    class Toggles(Manual):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            first, second = self.optimizers()
            self.toggle_optimizer(first)
            seen.append((self.a.requires_grad, self.b.requires_grad))
            self.untoggle_optimizer(first)
            with self.toggled_optimizer(second):
                seen.append((self.a.requires_grad, self.b.requires_grad))
            with pytest.raises(KeyError), first.toggle_model(sync_grad=False):
                raise KeyError
            seen.append((self.a.requires_grad, self.b.requires_grad))

    quiet(max_steps=-1, max_epochs=1).fit(Toggles(), loader(1))

    assert seen == [(True, False), (False, True), (True, True)]


def test_a_manual_step_takes_a_closure_and_tells_the_hooks(quiet: Make) -> None:
    """Backward and the hook before the step run within the closure's step; the loss comes back."""
    order: list[str] = []

    class Closure(Manual):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            optimizer, _other = self.optimizers()
            assert isinstance(optimizer, LightningOptimizer)
            assert not isinstance(self.optimizers(use_pl_optimizer=False)[1], LightningOptimizer)

            def closure() -> Tensor:
                order.append("closure")
                optimizer.zero_grad()
                loss = (self.a * batch).sum()
                self.manual_backward(loss)
                return loss

            returned = optimizer.step(closure=closure)
            assert returned.item() == pytest.approx(batch.item())
            return {"loss": returned, "kept": 1}

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            order.append("before step")

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            assert outputs["kept"] == 1
            assert not outputs["loss"].requires_grad

    model = Closure()
    trainer = quiet(max_epochs=1)

    trainer.fit(model, loader(1))

    assert order == ["closure", "before step"]
    assert model.a.item() == pytest.approx(1 - 0.1 / 6)
    assert trainer.global_step == 1


def test_manual_gradients_are_clipped_by_hand(quiet: Make) -> None:
    """`clip_gradients` works; the Trainer's argument is refused, as it would do nothing."""

    class Clips(Manual):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            optimizer, _ = self.optimizers()
            self.manual_backward((self.a * batch).sum())
            self.clip_gradients(optimizer, gradient_clip_val=0.01, gradient_clip_algorithm="norm")
            optimizer.step()

    model = Clips()

    quiet(max_epochs=1).fit(model, loader(1))

    assert model.a.item() == pytest.approx(1 - 0.1 * 0.01)
    with pytest.raises(MisconfigurationException, match="clip_gradients"):
        quiet(max_epochs=1, gradient_clip_val=0.1).fit(Clips(), loader(1))
    with pytest.raises(MisconfigurationException, match="accumulate_grad_batches"):
        quiet(max_epochs=1, accumulate_grad_batches=2).fit(Clips(), loader(1))


def test_manual_backward_in_automatic_optimisation_is_an_error(quiet: Make) -> None:
    """The message says how to switch."""

    class Mixed(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            self.manual_backward(self.weight * 1)

    with pytest.raises(MisconfigurationException, match="automatic_optimization = False"):
        quiet(max_epochs=1).fit(Mixed(), loader(1))


# -- a scaled loss, with torch's own scaler on the CPU


def scaled(make: Make, scaler: torch.amp.GradScaler, **arguments: Any) -> Trainer:
    return make(plugins=[MixedPrecision("16-mixed", "cpu", scaler)], **arguments)


class Halves(Model):
    """Computes its loss in 16 bits, where autocast does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.layer.weight)
        self.infinite_at: int | None = None
        self.gradients: list[float] = []
        self.scaled_losses: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        output = self.layer(batch)
        assert output.dtype == torch.float16
        return output.float().sum() * (float("inf") if batch_idx == self.infinite_at else 1.0)

    def on_before_backward(self, loss: Tensor) -> None:
        self.scaled_losses.append(loss.item())

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        gradient = self.layer.weight.grad
        self.gradients.append(0.0 if gradient is None else gradient.item())


def test_a_scaled_loss_gives_the_unscaled_step(quiet: Make) -> None:
    """Backward sees the scaled loss; hooks, clipping and the optimizer see true gradients."""
    model = Halves()
    trainer = scaled(quiet, torch.amp.GradScaler("cpu", init_scale=8.0), max_epochs=1, gradient_clip_val=0.25)

    trainer.fit(model, DataLoader(torch.tensor([[0.5], [0.125]])))

    assert model.scaled_losses == [pytest.approx(4.0), pytest.approx(0.975, abs=1e-3)]
    assert model.gradients == [0.5, 0.125]
    assert model.layer.weight.item() == pytest.approx(1 - 0.1 * (0.25 + 0.125), abs=1e-5)
    assert trainer.scaler.get_scale() == 8.0


def test_an_overflow_leaves_the_weights_and_lowers_the_scale(quiet: Make) -> None:
    """The step still counts."""
    model = Halves()
    model.infinite_at = 0
    trainer = scaled(quiet, torch.amp.GradScaler("cpu", init_scale=8.0), max_steps=1)

    trainer.fit(model, loader(1))

    assert model.layer.weight.item() == 1.0
    assert trainer.scaler.get_scale() == 4.0
    assert trainer.global_step == 1


@pytest.mark.parametrize("own_step", [False, True])
def test_a_skipped_batch_is_no_error_with_a_scaled_loss(quiet: Make, own_step: bool) -> None:
    """Nothing was scaled, so nothing is unscaled; the step counts as it does without a scaler."""

    class SkipsScaled(Halves):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            return None if batch_idx in (0, 2) else super().training_step(batch, batch_idx)

    class SkipsScaledWithOwnStep(SkipsScaled):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer.step(closure=optimizer_closure)

    model = SkipsScaledWithOwnStep() if own_step else SkipsScaled()
    trainer = scaled(quiet, torch.amp.GradScaler("cpu", init_scale=8.0), max_epochs=1)

    with pytest.warns(UserWarning, match="returned None"):
        trainer.fit(model, loader(3))

    assert model.layer.weight.item() == pytest.approx(1 - 0.1 * 2 / 6, abs=1e-4)
    assert model.gradients == [0.0, pytest.approx(2 / 6, abs=1e-3), 0.0]
    assert trainer.global_step == 3


@pytest.mark.parametrize("own_step", [False, True])
def test_a_short_window_is_scaled_by_its_length_with_a_scaled_loss(quiet: Make, own_step: bool) -> None:
    """The two scales do not disturb each other."""

    class OwnStep(Halves):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer.step(closure=optimizer_closure)

    model = OwnStep() if own_step else Halves()
    trainer = scaled(quiet, torch.amp.GradScaler("cpu", init_scale=8.0), max_epochs=1, accumulate_grad_batches=3)

    trainer.fit(model, DataLoader(Stream(), batch_size=1))

    assert model.layer.weight.item() == pytest.approx(after_windows(DATA[:3], DATA[3:5]), abs=1e-3)
    assert trainer.global_step == 2


def test_manual_optimisation_scales_as_well(quiet: Make) -> None:
    """Two optimizers step in one batch with one scaler."""

    class ManualHalves(Halves):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.other = nn.Linear(1, 1, bias=False)
            nn.init.ones_(self.other.weight)

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (self.layer, self.other)]

        def training_step(self, batch: Tensor, batch_idx: int) -> None:  # type: ignore[override]
            for optimizer, layer in zip(self.optimizers(), (self.layer, self.other), strict=False):
                optimizer.zero_grad()
                self.manual_backward(layer(batch).float().sum())
                optimizer.step()

    model = ManualHalves()
    trainer = scaled(quiet, torch.amp.GradScaler("cpu", init_scale=8.0), max_epochs=1)

    trainer.fit(model, DataLoader(torch.full((3, 1), 0.5)))

    assert model.layer.weight.item() == model.other.weight.item() == pytest.approx(1 - 0.15)
    assert trainer.global_step == 6
