"""Losses, optimizers and schedulers that cannot work say what was received and what to return instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lt_core import LightningModule
from lt_core.errors import LtError, MisconfigurationException
from lt_core.testing import BoringModel, ManualOptimBoringModel
from lt_loops import Trainer

Make = Callable[..., Trainer]


def boring(base: type[LightningModule] = BoringModel, **members: Any) -> Any:
    """Make an instance of a class ``Mine`` with these members."""
    return type("Mine", (base,), members)()


def fit_error(trainer: Trainer, model: LightningModule) -> LtError:
    with pytest.raises(LtError) as caught:
        trainer.fit(model)
    return caught.value


# -- losses


def test_a_loss_that_is_no_scalar_is_told_to_be_reduced(quiet: Make) -> None:
    """The shape is shown; the kind is that of torch's own error."""
    error = fit_error(quiet(max_steps=1, limit_val_batches=0), boring(training_step=lambda self, batch, i: self(batch)))

    assert isinstance(error, RuntimeError)
    assert "has the shape (1, 2). Expected a single number: reduce it, for example with `loss.mean()`." in str(error)


@pytest.mark.parametrize(
    "step",
    [
        lambda self, batch, i: self.step(batch).detach(),
        lambda self, batch, i: {"loss": torch.tensor(1.0)},
    ],
)
def test_a_loss_that_requires_no_gradient_is_told_why_that_may_be(quiet: Make, step: Any) -> None:
    """Detached, made anew, under no_grad: the message names the causes."""
    error = fit_error(quiet(max_steps=1, limit_val_batches=0), boring(training_step=step))

    assert isinstance(error, RuntimeError)
    assert "does not require a gradient." in str(error)
    assert "do not detach it, leave `torch.no_grad()`" in str(error)


@pytest.mark.parametrize(
    ("returned", "help_"),
    [
        (0.5, "returned 0.5, a float. Expected a tensor, a dict with the key `loss`, or None to skip the batch."),
        ("x", "returned 'x', a str. Expected a tensor"),
        ([1], "returned [1], a list. Expected a tensor"),
        ({"los": 1}, "the keys ['los'], without `loss`. Expected the loss under `loss`"),
        ({"loss": None}, "the keys ['loss'], under which there is None."),
        ({"loss": 0.5}, "returned 0.5, a float"),
    ],
)
def test_what_is_no_loss_is_shown_with_what_is_one(quiet: Make, returned: Any, help_: str) -> None:
    """Numbers, lists and dicts without a loss."""
    error = fit_error(quiet(max_steps=1, limit_val_batches=0), boring(training_step=lambda self, batch, i: returned))

    assert isinstance(error, MisconfigurationException)
    assert help_ in str(error)


def test_a_batch_is_skipped_with_none_and_that_is_said(quiet: Make) -> None:
    """One warning, weights as they were."""
    model = boring(training_step=lambda self, batch, i: None)
    before = model.layer.weight.detach().clone()

    with pytest.warns(UserWarning, match=r"returned None: the batch is skipped\. Return the loss to train on it"):
        quiet(max_steps=2, limit_val_batches=0).fit(model)

    assert torch.equal(model.layer.weight, before)


def test_none_is_refused_where_the_optimizer_compares_losses(quiet: Make) -> None:
    """LBFGS cannot skip a batch."""
    model = boring(
        training_step=lambda self, batch, i: None,
        configure_optimizers=lambda self: torch.optim.LBFGS(self.parameters()),
    )

    error = fit_error(quiet(max_steps=1, limit_val_batches=0), model)

    assert "returned None, and `LBFGS` compares the losses" in str(error)
    assert "return one, or leave the batch out of the loader" in str(error)


@pytest.mark.parametrize("base", [BoringModel, ManualOptimBoringModel])
def test_a_loss_that_is_nan_is_found_by_anomaly_detection(quiet: Make, base: type[LightningModule]) -> None:
    """Also where the gradients are finite, which torch's detection alone does not see."""

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        return self.step(batch) + (float("nan") if batch_idx == 1 else 0.0)

    model = boring(base, training_step=training_step)

    error = fit_error(quiet(max_epochs=1, limit_val_batches=0, detect_anomaly=True), model)

    assert isinstance(error, RuntimeError)
    assert "returned for batch 1 is NaN" in str(error)
    assert "look for NaN in the batch" in str(error)


@pytest.mark.filterwarnings("ignore:Error detected in")
def test_the_operation_that_made_a_loss_nan_is_named(quiet: Make) -> None:
    """The cause of the error is torch's, which names it."""
    model = boring(training_step=lambda self, batch, i: torch.log(-self(batch).abs() - 1).sum().sqrt())

    error = fit_error(quiet(max_steps=1, limit_val_batches=0, detect_anomaly=True), model)

    assert "Backward0' returned nan values" in str(error.__cause__)


@pytest.mark.filterwarnings("ignore:Error detected in")
def test_a_gradient_that_is_nan_is_found_by_anomaly_detection(quiet: Make) -> None:
    """The loss is 0 and its root has no finite gradient there."""
    model = boring(training_step=lambda self, batch, i: (self(batch) * 0).square().sum().sqrt())

    with pytest.raises(RuntimeError, match="returned nan values"):
        quiet(max_steps=1, limit_val_batches=0, detect_anomaly=True).fit(model)


def test_without_anomaly_detection_a_nan_is_the_users_matter(quiet: Make) -> None:
    """Nothing is looked at that was not asked for."""
    trainer = quiet(max_steps=2, limit_val_batches=0)

    trainer.fit(boring(training_step=lambda self, batch, i: self.step(batch) * float("nan")))

    assert trainer.global_step == 2


# -- manual optimisation


@pytest.mark.parametrize(
    ("loss_of", "help_"),
    [
        (lambda self, batch: self.step(batch).item(), "Expected a tensor: do not take its `.item()`."),
        (lambda self, batch: self(batch), "Expected a single number: reduce it"),
        (lambda self, batch: self.step(batch).detach(), "does not require a gradient."),
    ],
)
def test_manual_backward_says_what_is_wrong_with_the_loss(quiet: Make, loss_of: Any, help_: str) -> None:
    """As automatic optimisation does."""

    def training_step(self: Any, batch: Any, batch_idx: int) -> None:
        self.manual_backward(loss_of(self, batch))

    error = fit_error(
        quiet(max_epochs=1, limit_val_batches=0), boring(ManualOptimBoringModel, training_step=training_step)
    )

    assert isinstance(error, RuntimeError)
    assert "The loss that `manual_backward` got" in str(error)
    assert help_ in str(error)


def test_a_loss_of_several_numbers_is_right_where_its_gradient_is_passed(quiet: Make) -> None:
    """`manual_backward(loss, gradient)` is torch's own form."""

    def training_step(self: Any, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        output = self(batch)
        self.manual_backward(output, torch.ones_like(output))
        optimizer.step()

    trainer = quiet(max_steps=2, limit_val_batches=0)

    trainer.fit(boring(ManualOptimBoringModel, training_step=training_step))

    assert trainer.global_step == 2


def test_what_manual_optimisation_cannot_take_is_shown(quiet: Make) -> None:
    """A number is no output, also where nobody asks for outputs."""
    model = boring(ManualOptimBoringModel, training_step=lambda self, batch, i: 0.5)

    error = fit_error(quiet(max_epochs=1, limit_val_batches=0), model)

    assert "returned 0.5, a float. Expected a tensor, a dict or None in manual optimisation" in str(error)


def test_manual_backward_in_automatic_optimisation_is_answered_with_the_switch(quiet: Make) -> None:
    """The line to write stands in the message."""
    model = boring(training_step=lambda self, batch, i: self.manual_backward(self.step(batch)))

    error = fit_error(quiet(max_steps=1, limit_val_batches=0), model)

    assert "set `self.automatic_optimization = False` in `__init__`" in str(error)


# -- optimizers and schedulers


def sgd(self: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(self.parameters(), lr=0.1)


def step_lr(optimizer: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 1)


def stranger(self: Any) -> Any:
    return [sgd(self)], [step_lr(torch.optim.SGD(self.parameters(), lr=0.1))]


@pytest.mark.parametrize(
    ("configure", "help_"),
    [
        (lambda self: "adam", "returned 'adam', which has no known form. Expected one of:"),
        (lambda self: torch.optim.SGD, "This is a class: write `SGD(self.parameters(), lr=…)`."),
        (lambda self: step_lr(sgd(self)), "This is a scheduler alone: return its optimizer, too"),
        (lambda self: {"optimiser": sgd(self)}, 'The dict has no key "optimizer". Did you mean `optimizer`?'),
        (lambda self: (sgd(self), step_lr(sgd(self))), "([optimizers], [schedulers or scheduler dicts])"),
        (lambda self: ([sgd(self)], [{"interval": "step"}]), 'Write {"scheduler": scheduler, "interval": "epoch"}.'),
        (
            lambda self: {
                "optimizer": (o := sgd(self)),
                "lr_scheduler": {"scheduler": step_lr(o), "interval": "steps"},
            },
            "Did you mean `step`?",
        ),
        (
            lambda self: {"optimizer": (o := sgd(self)), "lr_scheduler": {"scheduler": step_lr(o), "frequency": 0}},
            'Write "frequency": 1',
        ),
        (
            lambda self: {
                "optimizer": (o := sgd(self)),
                "lr_scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(o),
            },
            '"monitor": "val_loss"',
        ),
        (lambda self: ([sgd(self)], [torch.optim.lr_scheduler.StepLR]), "Write `StepLR(optimizer, …)`"),
        (stranger, "belongs to an optimizer that `configure_optimizers` did not return"),
    ],
)
@pytest.mark.filterwarnings("ignore:Unknown keys")
def test_an_unknown_form_of_optimizers_is_answered_with_the_known_ones(quiet: Make, configure: Any, help_: str) -> None:
    """What was returned, what would do, and what is nearest."""
    error = fit_error(quiet(max_steps=1, limit_val_batches=0), boring(configure_optimizers=configure))

    assert isinstance(error, MisconfigurationException)
    assert help_ in str(error)


def test_several_optimizers_in_automatic_mode_are_answered_with_the_manual_one(quiet: Make) -> None:
    """The message holds the code to write."""
    model = boring(configure_optimizers=lambda self: [sgd(self), sgd(self)])

    error = fit_error(quiet(max_steps=1, limit_val_batches=0), model)

    assert isinstance(error, MisconfigurationException)
    assert "returned 2 optimizers" in str(error)
    assert "self.automatic_optimization = False" in str(error)
    assert "optimizer_1, optimizer_2 = self.optimizers()" in str(error)


def test_no_optimizer_trains_nothing_and_that_is_said(quiet: Make) -> None:
    """A warning, because evaluating in a training loop has its uses."""
    with pytest.warns(UserWarning, match=r"returned None: training runs and changes no weights\. Return an optimizer"):
        quiet(max_steps=1, limit_val_batches=0).fit(boring(configure_optimizers=lambda self: None))


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_scheduler_whose_metric_was_never_logged_is_told_what_was(quiet: Make, interval: str) -> None:
    """With the nearest name."""

    def configure_optimizers(self: Any) -> Any:
        optimizer = sgd(self)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "train_los", "interval": interval},
        }

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = self.step(batch)
        self.log_dict({"train_loss": loss, "accuracy": 0.5})
        return loss

    model = boring(configure_optimizers=configure_optimizers, training_step=training_step)

    error = fit_error(quiet(max_epochs=1, limit_train_batches=2, limit_val_batches=0), model)

    assert isinstance(error, MisconfigurationException)
    assert "monitors `train_los`, which `Mine` has not logged" in str(error)
    assert "Logged so far: `accuracy`, `train_loss`. Did you mean `train_loss`?" in str(error)
    assert 'log it with `self.log("train_los", …)`' in str(error)
