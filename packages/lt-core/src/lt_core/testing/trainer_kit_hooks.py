"""Checks for trainers: which hooks are called, in which order, in which mode."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from lt_core.callback import Callback
from lt_core.hooks.order import CALL_ORDER, flatten
from lt_core.hooks.table import HOOKS
from lt_core.testing.check import Registry, require
from lt_core.testing.kit_parts import KitModule, MakeTrainer, kit_loader
from lt_core.testing.recording import Call, RecordingCallback, RecordingModule

CHECKS = Registry()

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")


class _PlainModule(RecordingModule):
    """Records, and has no scheduler, whose steps would stand in the order too."""

    def configure_optimizers(self) -> Any:
        self.calls.append(Call("module", "configure_optimizers", (), self.training, torch.is_grad_enabled()))
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _batches(count: int) -> DataLoader[torch.Tensor]:
    """Return a loader of batches ``[2, 32]`` that hold their index."""
    samples: Any = [torch.full((32,), float(index // 2)) for index in range(2 * count)]
    return DataLoader(samples, batch_size=2)


def _recorded(make_trainer: MakeTrainer, **options: Any) -> tuple[Any, _PlainModule]:
    module = _PlainModule()
    trainer = make_trainer(callbacks=[RecordingCallback(module.calls)], **options)
    trainer.fit(module, _batches(2), _batches(2))
    return trainer, module


def _expected(epochs: int) -> list[tuple[str, str]]:
    expected: list[tuple[str, str]] = []
    for name in flatten(CALL_ORDER["fit"], epochs=epochs, train_batches=2, eval_batches=2):
        owners = HOOKS[name].owners
        expected += [(who, name) for who in ("callback", "module") if who in owners and name not in _LOADERS]
    return expected


@CHECKS.add
def a_fit_calls_the_hooks_in_the_order_of_the_table(make_trainer: MakeTrainer) -> None:
    """Two epochs with validation call every hook of every owner when the table says."""
    _, module = _recorded(make_trainer, max_epochs=2)

    found = [(call.who, call.hook) for call in module.calls if call.hook not in (*_LOADERS, "on_save_checkpoint")]

    expected = _expected(2)
    for position, (have, want) in enumerate(zip(found, expected, strict=False)):
        require(
            have == want,
            f"call {position} was {have}, expected {want}, after {found[max(0, position - 3) : position]}",
        )
    require(len(found) == len(expected), f"{len(found)} hooks were called, expected {len(expected)}")


@CHECKS.add
def callbacks_are_given_the_trainer_and_the_module(make_trainer: MakeTrainer) -> None:
    """The first two arguments of every callback hook are the trainer and the module."""
    trainer, module = _recorded(make_trainer, max_epochs=1)

    for call in module.calls:
        if call.who == "callback":
            require(call.arguments[0] is trainer, f"`{call.hook}` got {call.arguments[0]!r} instead of the trainer")
            require(call.arguments[1] is module, f"`{call.hook}` got {call.arguments[1]!r} instead of the module")


@CHECKS.add
def batch_hooks_are_given_the_batch_its_index_and_the_outputs(make_trainer: MakeTrainer) -> None:
    """Batch hooks get what the table says, the outputs with a detached loss."""
    _, module = _recorded(make_trainer, max_epochs=1)

    ends = [call.arguments for call in module.calls if (call.who, call.hook) == ("module", "on_train_batch_end")]
    require([arguments[2] for arguments in ends] == [0, 1], f"batch indices were {[each[2] for each in ends]}")
    for outputs, batch, index in ends:
        require(float(batch[0, 0]) == index, f"batch {index} came with the data of batch {float(batch[0, 0])}")
        require(not outputs["loss"].requires_grad, "the loss that `on_train_batch_end` gets must be detached")
    starts = [
        call.arguments for call in module.calls if (call.who, call.hook) == ("module", "on_validation_batch_start")
    ]
    require(all(len(arguments) == 2 for arguments in starts), "with one loader, no dataloader_idx is passed")


@CHECKS.add
def training_hooks_run_in_training_mode_with_gradients(make_trainer: MakeTrainer) -> None:
    """Steps and batch hooks of training see the module training and gradients on; those of validation neither."""
    _, module = _recorded(make_trainer, max_epochs=2)

    for call in module.calls:
        if "train_batch" in call.hook or call.hook in ("training_step", "on_train_epoch_end", "on_train_start"):
            require(call.training and call.grad, f"`{call.hook}` ran with training={call.training}, grad={call.grad}")
        if call.hook in ("validation_step", "on_validation_batch_end", "on_validation_end", "on_validation_start"):
            require(not call.training and not call.grad, f"`{call.hook}` ran with training={call.training}")


@CHECKS.add
def submodules_keep_their_mode_over_validation(make_trainer: MakeTrainer) -> None:
    """A submodule that the user put in evaluation mode is still in it after validation, the others train."""

    class Frozen(KitModule):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = torch.nn.Dropout()
            self.live = torch.nn.Dropout()
            self.frozen.eval()
            self.modes: list[tuple[bool, bool]] = []

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.modes.append((self.frozen.training, self.live.training))
            return super().training_step(batch, batch_idx)

    module = Frozen()
    make_trainer(max_epochs=2).fit(module, kit_loader(), kit_loader())

    require(set(module.modes) == {(False, True)}, f"(frozen, live) were in the training modes {module.modes}")


@CHECKS.add
def callbacks_that_monitor_end_the_epoch_after_the_module(make_trainer: MakeTrainer) -> None:
    """In `on_train_epoch_end` a callback with `monitors = True` comes after the module."""

    class Monitor(RecordingCallback):
        monitors = True

    module = _PlainModule()
    callbacks = [Monitor(module.calls, "monitor"), RecordingCallback(module.calls)]
    make_trainer(callbacks=callbacks, max_epochs=1).fit(module, _batches(1), _batches(1))

    order = [call.who for call in module.calls if call.hook == "on_train_epoch_end"]
    require(order == ["callback", "module", "monitor"], f"the order was {order}")


@CHECKS.add
def a_callback_is_asked_which_hooks_it_uses(make_trainer: MakeTrainer) -> None:
    """A hook for which `uses_hook` says False is never called, the others are."""

    class Idle(RecordingCallback):
        def uses_hook(self, name: str) -> bool:
            return name != "on_train_batch_end"

    callback = Idle()
    make_trainer(callbacks=[callback], max_epochs=1).fit(KitModule(), kit_loader(), kit_loader())

    hooks = {call.hook for call in callback.calls}
    require("on_train_batch_start" in hooks, "`on_train_batch_start` was not called")
    require("on_train_batch_end" not in hooks, "`on_train_batch_end` was called though `uses_hook` says False")


@CHECKS.add
def a_module_brings_callbacks_along(make_trainer: MakeTrainer) -> None:
    """What `configure_callbacks` returns is run, and replaces a callback of the same class."""
    brought = RecordingCallback()

    class Bringing(KitModule):
        def configure_callbacks(self) -> Any:
            return [brought]

    given = RecordingCallback()
    trainer = make_trainer(callbacks=[given], max_epochs=1)
    trainer.fit(Bringing(), kit_loader(), kit_loader())

    require(brought.calls, "the module's callback was never called")
    require(not given.calls, "the trainer's callback of the same class was called besides the module's")
    require(brought in trainer.callbacks, "the module's callback is not among `trainer.callbacks`")


@CHECKS.add
def minus_one_from_on_train_batch_start_skips_the_rest_of_the_epoch(make_trainer: MakeTrainer) -> None:
    """-1 from the module's hook ends the epoch; a callback's return value means nothing."""

    class Skipping(KitModule):
        def __init__(self) -> None:
            super().__init__()
            self.steps = 0

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
            return -1 if batch_idx == 1 else None

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.steps += 1
            return super().training_step(batch, batch_idx)

    class Answering(Callback):
        def on_train_batch_start(self, *args: Any) -> Any:
            return -1

    module, recorder = Skipping(), RecordingCallback()
    make_trainer(callbacks=[Answering(), recorder], max_epochs=2).fit(module, kit_loader(7, 2), None)

    require(module.steps == 2, f"{module.steps} steps were taken, expected one in each of 2 epochs")
    ends = [call for call in recorder.calls if call.hook == "on_train_epoch_end"]
    require(len(ends) == 2, f"`on_train_epoch_end` was called {len(ends)} times, expected 2")


@CHECKS.add
def the_optimizer_of_manual_optimisation_steps_with_hooks(make_trainer: MakeTrainer) -> None:
    """`manual_backward` and `optimizer.step` of the module call their hooks and count a step."""

    class Manual(KitModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    module, recorder = Manual(), RecordingCallback()
    trainer = make_trainer(callbacks=[recorder], max_epochs=1)
    trainer.fit(module, kit_loader(), None)

    hooks = [call.hook for call in recorder.calls]
    for name in ("on_before_backward", "on_after_backward", "on_before_optimizer_step"):
        require(hooks.count(name) == 2, f"`{name}` was called {hooks.count(name)} times, expected 2")
    require(trainer.global_step == 2, f"`global_step` is {trainer.global_step}, expected 2")
    require(module.weight.item() != 0.0, "the weight has not changed")
