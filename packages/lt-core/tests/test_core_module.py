"""The LightningModule outside of a loop: attachment, device and dtype, logging, freezing, clipping, pickling."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from lt_core import LightningModule, MisconfigurationException, TrainerBase
from lt_core.module import NotAttachedError
from lt_core.testing import BoringModel, KitModule, ManualOptimBoringModel


@pytest.fixture
def attached():
    """A module with a trainer, logging in a training step."""
    module, trainer = BoringModel(), TrainerBase()
    trainer.attach(module)
    trainer.log_sink.open("train")
    trainer.log_sink.fx = "training_step"
    return module, trainer


def test_without_a_trainer_the_counters_are_zero_and_the_trainer_is_an_error() -> None:
    """The error is a RuntimeError and says to call an entry point."""
    module = BoringModel()

    assert (module.current_epoch, module.global_step, module.global_rank, module.local_rank) == (0, 0, 0, 0)
    assert module.logger is None
    assert module.loggers == []
    with pytest.raises(NotAttachedError, match=r"trainer\.fit"):
        _ = module.trainer
    assert issubclass(NotAttachedError, RuntimeError)


def test_nested_modules_get_the_trainer_too(attached) -> None:
    """A LightningModule inside another one logs through the same trainer."""
    outer, trainer = BoringModel(), TrainerBase()
    outer.inner = BoringModel()
    trainer.attach(outer)

    assert outer.inner.trainer is trainer
    outer.trainer = None
    assert outer.inner._trainer is None


@pytest.mark.parametrize(
    ("move", "device", "dtype"),
    [
        (lambda module: module.to(torch.float64), "cpu", torch.float64),
        (lambda module: module.half(), "cpu", torch.float16),
        (lambda module: module.double().float(), "cpu", torch.float32),
        (lambda module: module.to("meta"), "meta", torch.float32),
        (lambda module: module.to(device="meta", dtype=torch.bfloat16), "meta", torch.bfloat16),
    ],
)
def test_device_and_dtype_follow_the_module(move, device: str, dtype: torch.dtype) -> None:
    """Also for modules inside a plain module."""
    module, holder = BoringModel(), torch.nn.Sequential(BoringModel())

    assert move(module).device == torch.device(device)
    assert module.dtype == dtype
    move(holder)
    assert (holder[0].device, holder[0].dtype) == (torch.device(device), dtype)


def test_log_dict_logs_each_entry_with_the_same_options(attached) -> None:
    """The options hold for every key."""
    module, trainer = attached

    module.log_dict({"a": 1.0, "b": torch.tensor(2.0)}, prog_bar=True)

    assert trainer.progress_bar_metrics == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("name", ["training_step", "validation_step", "test_step"])
def test_a_step_that_is_not_written_says_what_to_write(name: str) -> None:
    """The message holds the signature."""
    with pytest.raises(MisconfigurationException, match=f"def {name}\\(self, batch, batch_idx\\)"):
        getattr(LightningModule(), name)(None, 0)


def test_the_default_prediction_is_the_forward_pass() -> None:
    """`predict_step` calls the module on the batch."""
    module, batch = BoringModel(), torch.zeros(2, 32)

    assert torch.equal(module.predict_step(batch, 0), module(batch))


def test_freeze_and_unfreeze() -> None:
    """Gradients and mode go together."""
    module = BoringModel().freeze()
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not module.training

    module.unfreeze()
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert module.training


def test_manual_backward_belongs_to_manual_optimisation(attached) -> None:
    """In automatic optimisation the message says to return the loss."""
    module, trainer = attached
    with pytest.raises(MisconfigurationException, match="automatic_optimization = False"):
        module.manual_backward(torch.ones(()))

    manual = ManualOptimBoringModel()
    trainer.attach(manual)
    manual.manual_backward(manual.step(torch.ones(2, 32)))
    assert manual.layer.weight.grad is not None


@pytest.mark.parametrize(("algorithm", "norm"), [("norm", 1.0), (None, 1.0), ("value", 1.0 * 66**0.5)])
def test_gradients_are_clipped_as_asked(attached, algorithm: str | None, norm: float) -> None:
    """By norm unless told otherwise."""
    module, _ = attached
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 5.0)

    module.clip_gradients(optimizer, 1.0, algorithm)

    total = torch.cat([parameter.grad.flatten() for parameter in module.parameters()]).norm()
    assert total.item() == pytest.approx(norm, rel=1e-4)


def test_clipping_that_contradicts_the_trainer_is_an_error(attached) -> None:
    """One of the two says by how much; a word or an unknown algorithm is no limit."""
    module, trainer = attached
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    with pytest.raises(MisconfigurationException, match="'norm' or 'value'"):
        module.clip_gradients(optimizer, 1.0, "mean")
    with pytest.raises(TypeError, match="Expected a number"):
        module.clip_gradients(optimizer, "much")
    trainer.gradient_clip_val = 2.0
    with pytest.raises(MisconfigurationException, match=r"Trainer\(gradient_clip_val=2.0\)"):
        module.clip_gradients(optimizer, 1.0)


def test_one_optimizer_comes_alone_and_several_as_a_list(attached) -> None:
    """Wrapped, so that the trainer counts the steps, or raw."""
    module, trainer = attached
    trainer.optimizers = [torch.optim.SGD(module.parameters(), lr=0.1)]

    wrapped = module.optimizers()
    assert wrapped.optimizer is trainer.optimizers[0]
    assert module.optimizers(use_pl_optimizer=False) is trainer.optimizers[0]
    wrapped.step()
    assert trainer.global_step == 1
    trainer.optimizers *= 2
    assert len(module.optimizers()) == 2
    assert module.lr_schedulers() is None


def test_the_trainer_is_left_out_of_copies_and_pickles(attached) -> None:
    """A copy is not attached, and weighs no more than the module."""
    module, trainer = KitModule(), TrainerBase()
    trainer.attach(module)

    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        with pytest.raises(NotAttachedError):
            _ = copied.trainer
        assert torch.equal(copied.weight, module.weight)


def test_print_and_gather_work_in_one_process(attached, capsys) -> None:
    """Printing goes to the terminal, gathering changes nothing."""
    module, _ = attached

    module.print("hello", end="!")
    gathered = module.all_gather({"a": 1.0, "b": [torch.ones(2)]})

    assert capsys.readouterr().out == "hello!"
    assert gathered["a"] == 1.0
    assert torch.equal(gathered["b"][0], torch.ones(2))


@pytest.mark.parametrize("prefix", ["train", "val", "test", "predict"])
def test_a_loader_that_is_not_written_says_what_to_write(prefix: str) -> None:
    """The message holds the signature."""
    with pytest.raises(MisconfigurationException, match=f"def {prefix}_dataloader"):
        getattr(LightningModule(), f"{prefix}_dataloader")()


def test_tensorrt_is_asked_for_with_its_install_line() -> None:
    """Where the package is not installed; and what cannot be written is said before."""
    with pytest.raises(ModuleNotFoundError, match="pip install torch-tensorrt"):
        BoringModel().to_tensorrt()
    with pytest.raises(ValueError, match="output_format='torchscript'"):
        BoringModel().to_tensorrt("x.ts", ir="ts")
