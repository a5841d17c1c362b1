"""The optimizer that modules see passes for the user's own, and toggling is undone whatever happens."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from lt_core import LightningOptimizer, MisconfigurationException, TrainerBase
from lt_core.testing import BoringModel


def _sgd(*parameters: torch.nn.Parameter) -> torch.optim.SGD:
    return torch.optim.SGD(list(parameters) or [torch.nn.Parameter(torch.ones(2))], lr=0.5)


def test_it_passes_for_the_wrapped_class_and_shares_its_state() -> None:
    """Class, attributes and state are the wrapped optimizer's."""
    sgd = _sgd()
    wrapped = LightningOptimizer(sgd)

    assert isinstance(wrapped, torch.optim.SGD)
    assert wrapped.param_groups is sgd.param_groups
    wrapped.param_groups[0]["lr"] = 0.25
    assert sgd.param_groups[0]["lr"] == 0.25
    assert wrapped.state_dict() == sgd.state_dict()
    assert repr(wrapped).startswith("LightningSGD")


def test_schedulers_take_the_wrapped_optimizer() -> None:
    """A scheduler that is built on it changes the wrapped one's rate."""
    sgd = _sgd()
    calls = []
    wrapped = LightningOptimizer(sgd, lambda optimizer, closure: calls.append(optimizer))
    scheduler = torch.optim.lr_scheduler.StepLR(wrapped, step_size=1)
    wrapped.step()
    scheduler.step()

    assert calls == [sgd]
    assert sgd.param_groups[0]["lr"] == pytest.approx(0.05)


def test_a_step_goes_through_the_stepper_with_its_closure() -> None:
    """Whoever counts steps gets the raw optimizer, the closure and the arguments."""
    calls = []
    sgd = _sgd()
    wrapped = LightningOptimizer(sgd, lambda *args, **kwargs: calls.append((args, kwargs)))
    closure = lambda: 1.0  # noqa: E731

    wrapped.step(closure, extra=True)

    assert calls == [((sgd, closure), {"extra": True})]


def test_a_step_without_a_stepper_steps_the_optimizer() -> None:
    """The closure's loss is returned."""
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.ones(1)
    wrapped = LightningOptimizer(_sgd(parameter))

    assert wrapped.step(lambda: 3.0) == 3.0
    assert parameter.item() == 0.5
    wrapped.zero_grad()
    assert parameter.grad is None


def test_a_closure_that_cannot_be_called_is_an_error() -> None:
    """The message says what a closure is."""
    with pytest.raises(MisconfigurationException, match="without arguments"):
        LightningOptimizer(_sgd()).step(5)


def test_it_can_be_copied_and_pickled() -> None:
    """The copy wraps a copy."""
    wrapped = LightningOptimizer(_sgd())

    for copied in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        assert type(copied).__name__ == "LightningSGD"
        assert copied.optimizer is not wrapped.optimizer
        assert copied.param_groups[0]["lr"] == 0.5


def test_toggling_is_undone_after_an_exception() -> None:
    """Only the toggled optimizer's parameters require gradients inside, all are as before afterwards."""
    shared, own, other, frozen = (torch.nn.Parameter(torch.ones(1)) for _ in range(4))
    frozen.requires_grad = False
    first, second = _sgd(shared, own), _sgd(shared, other, frozen)
    wrapped = LightningOptimizer(first, siblings=[first, second])
    everything = (shared, own, other, frozen)

    def fail_inside() -> None:
        with wrapped.toggle_model():
            assert [parameter.requires_grad for parameter in everything] == [True, True, False, False]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()

    assert [parameter.requires_grad for parameter in everything] == [True, True, True, False]


def test_the_module_toggles_and_untoggles() -> None:
    """As a pair of calls, and as a context."""
    module, trainer = BoringModel(), TrainerBase()
    trainer.attach(module)
    weight, bias = _sgd(module.layer.weight), _sgd(module.layer.bias)
    trainer.optimizers = [weight, bias]

    with module.toggled_optimizer(weight):
        assert not module.layer.bias.requires_grad
    assert module.layer.bias.requires_grad
    module.untoggle_optimizer(weight)
    assert module.layer.weight.requires_grad
