"""Misspelled and outdated hooks and wrong signatures are found, and ordinary methods are left alone."""

from __future__ import annotations

import pytest

from lt_core import Callback, DataHooks, LightningModule, not_a_hook
from lt_core.hooks import REMOVED_HOOKS, check_hooks, hook_names

BASES = {"module": LightningModule, "callback": Callback, "datamodule": DataHooks}
ORDINARY = [
    "train_step",
    "get_loss",
    "validate_inputs",
    "on_click",
    "prepare_batch",
    "setup_model",
    "test_accuracy",
    "predict_proba",
    "forward_features",
    "training_loss",
    "compute_loss",
    "log_metrics",
    "shared_step",
    "common_step",
    "eval_step",
    "loss_fn",
    "build_model",
    "encode",
    "decode",
    "reset_parameters",
    "train_one_epoch",
    "val_metrics",
    "test_metrics",
    "init_weights",
    "load_data",
    "prepare_model",
    "on_message",
    "on_event",
    "on_finish",
    "save_model",
    "load_model",
    "backward_pass",
    "forward_step",
    "step",
    "training_metrics",
    "validation_metrics",
    "validation_loss",
    "test_loss",
    "predict",
    "predict_batch",
    "generate",
    "sample",
    "setup_data",
    "setup_metrics",
    "teardown_model",
    "train_loader",
    "val_loader",
    "get_dataloader",
    "make_dataloader",
    "on_button_press",
    "configure_loss",
    "configure_metrics",
    "step_scheduler",
    "scheduler_step",
    "configure_scheduler",
    "batch_size",
    "update_metrics",
    "log_images",
    "on_step",
    "transfer_batch",
    "move_batch",
    "prepare_inputs",
    "get_optimizer",
    "make_optimizer",
    "update_lr",
    "warmup",
    "is_training",
    "evaluate",
    "run_epoch",
]


def _mutants(name: str) -> set[str]:
    mutants = {name + "s", name + "es", name.rstrip("s")}
    for index, character in enumerate(name):
        mutants.add(name[:index] + name[index + 1 :])
        mutants.add(name[:index] + character + name[index:])
        mutants.add(name[:index] + name[index + 1 : index + 2] + character + name[index + 2 :])
    return {mutant for mutant in mutants if mutant.isidentifier() and mutant[0] != "_"}


def _found(owner: str, name: str, function=lambda self: None) -> list[str]:
    kind = type("Mine", (BASES[owner],), {name: function})
    return [str(problem) for problem in check_hooks(kind(), BASES[owner], owner)]


@pytest.mark.parametrize("owner", sorted(BASES))
def test_nearly_every_typing_mistake_in_a_hooks_name_is_caught(owner: str) -> None:
    """Dropped, doubled and swapped characters and wrong plurals of every hook: at least 95 of 100 are reported."""
    known = hook_names(owner)
    names = {mutant for name in known for mutant in _mutants(name)} - set(known) - set(dir(BASES[owner]))
    function = lambda self: None  # noqa: E731
    instance = type("Mine", (BASES[owner],), dict.fromkeys(names, function))()

    caught = {str(problem).split("`")[1].split(".")[1] for problem in check_hooks(instance, BASES[owner], owner)}

    assert len(names) > 300
    assert len(caught & names) / len(names) >= 0.95


@pytest.mark.parametrize("owner", sorted(BASES))
def test_no_ordinary_method_is_taken_for_a_hook(owner: str) -> None:
    """Names that people give to their own methods raise no alarm, even if nothing calls them."""
    alarms = {name: _found(owner, name) for name in ORDINARY}

    assert not {name: found for name, found in alarms.items() if found}


def test_the_message_names_the_hook_and_the_way_out() -> None:
    """The nearest hook and the decorator both stand in the message."""
    (message,) = _found("module", "configure_optimizer")

    assert "`Mine.configure_optimizer`" in message
    assert "did you mean `configure_optimizers`?" in message
    assert "@lt_core.not_a_hook" in message


@pytest.mark.parametrize("name", sorted(REMOVED_HOOKS))
def test_a_hook_of_an_earlier_version_is_reported_with_its_successor(name: str) -> None:
    """It is never silently ignored."""
    found = _found("module", name)

    assert any(REMOVED_HOOKS[name] in message for message in found)


def test_a_method_that_other_code_calls_is_no_mistake() -> None:
    """A helper that resembles a hook and is used by the class raises no alarm."""

    class Mine(LightningModule):
        def training_steps(self):
            return 1

        def training_step(self, batch, batch_idx):
            return [self.training_steps() for _ in batch]

    assert not check_hooks(Mine(), LightningModule, "module")


def test_a_decorated_method_is_no_mistake() -> None:
    """`not_a_hook` says that the name is meant."""
    assert not _found("module", "training_steps", not_a_hook(lambda self: None))


def test_private_methods_and_methods_of_torch_are_left_alone() -> None:
    """Neither a leading underscore nor `nn.Module`'s own methods raise an alarm."""
    assert not _found("module", "_training_step")
    assert not check_hooks(LightningModule(), LightningModule, "module")


@pytest.mark.parametrize(
    ("owner", "name", "function"),
    [
        ("callback", "on_train_start", lambda self: None),
        ("callback", "on_train_batch_end", lambda self, trainer, pl_module, batch: None),
        ("callback", "setup", lambda self, trainer, pl_module: None),
        ("module", "on_train_epoch_end", lambda self, outputs: None),
        ("module", "training_step", lambda self: None),
        ("module", "configure_optimizers", lambda self, lr: None),
        ("module", "setup", lambda self: None),
    ],
)
def test_a_signature_that_cannot_be_called_is_reported_with_the_right_one(owner: str, name: str, function) -> None:
    """The message holds the line to write."""
    (message,) = _found(owner, name, function)

    assert f"def {name}(self" in message


@pytest.mark.parametrize(
    ("owner", "name", "function"),
    [
        ("callback", "on_validation_batch_end", lambda self, trainer, pl_module, outputs, batch, batch_idx: None),
        ("callback", "on_train_batch_end", lambda self, *args: None),
        ("callback", "setup", lambda self, trainer, pl_module, stage: None),
        ("module", "training_step", lambda self, batch: None),
        ("module", "training_step", lambda self, batch, batch_idx: None),
        ("module", "validation_step", lambda self, batch, batch_idx, dataloader_idx=0: None),
        ("module", "predict_step", lambda self, batch: None),
        ("module", "optimizer_step", lambda self, *args, **kwargs: None),
        ("module", "setup", lambda self, stage=None: None),
        ("module", "configure_gradient_clipping", lambda self, optimizer, gradient_clip_val=None, **kwargs: None),
        ("datamodule", "setup", lambda self, stage: None),
    ],
)
def test_a_signature_that_can_be_called_is_fine(owner: str, name: str, function) -> None:
    """Optional parameters may be left out, and catch-alls are welcome."""
    assert not _found(owner, name, function)


def test_a_hook_that_is_no_function_is_reported_and_none_switches_it_off() -> None:
    """A number instead of a method is a mistake, None is not."""
    (message,) = _found("callback", "on_fit_start", 5)

    assert "cannot be called" in message
    assert not _found("callback", "on_fit_start", None)
