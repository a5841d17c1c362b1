"""Checks for trainers: counting, stopping, exceptions, checkpoints, and the numbers that come out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from lt_core.protocols import TrainerProtocol
from lt_core.testing.check import Registry, require
from lt_core.testing.kit_parts import CountingCallback, KitModule, MakeTrainer, StopAt, kit_loader
from lt_core.testing.recording import RecordingCallback, RecordingLogger

CHECKS = Registry()


def _by_hand(epochs: int) -> torch.Tensor:
    module = KitModule()
    optimizer = module.configure_optimizers()
    for _ in range(epochs):
        for batch in kit_loader():
            optimizer.zero_grad()
            torch.autograd.backward(module.loss(batch))
            optimizer.step()
    return module.weight.detach()


@CHECKS.add
def weights_are_those_of_the_loop_written_by_hand(make_trainer: MakeTrainer) -> None:
    """After three epochs with validation the weight has the bits that plain PyTorch gives."""
    module = KitModule()
    make_trainer(max_epochs=3).fit(module, kit_loader(), kit_loader())

    require(torch.equal(module.weight.detach(), _by_hand(3)), f"{module.weight} instead of {_by_hand(3)}")


@CHECKS.add
def every_attribute_of_the_protocol_can_be_read(make_trainer: MakeTrainer) -> None:
    """After a fit, everything that `TrainerProtocol` names is there."""
    trainer = make_trainer(max_epochs=1)
    trainer.fit(KitModule(), kit_loader(), kit_loader())

    names = [*TrainerProtocol.__annotations__, *(name for name in vars(TrainerProtocol) if name[0] != "_")]
    missing = [name for name in names if getattr(trainer, name, names) is names]
    require(not missing, f"the trainer lacks {missing}")


@CHECKS.add
def states_and_stages_tell_what_is_going_on(make_trainer: MakeTrainer) -> None:
    """`trainer.state` and the stage flags are right in training, in validation and after the run."""
    seen: dict[str, tuple[Any, ...]] = {}

    class Looking(KitModule):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen["train"] = (self.trainer.state.fn, self.trainer.training, self.trainer.validating)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            seen["val"] = (self.trainer.state.fn, self.trainer.training, self.trainer.validating)

    trainer = make_trainer(max_epochs=1)
    trainer.fit(Looking(), kit_loader(), kit_loader())

    require(seen["train"] == ("fit", True, False), f"(fn, training, validating) in training were {seen['train']}")
    require(seen["val"] == ("fit", False, True), f"(fn, training, validating) in validation were {seen['val']}")
    require(trainer.state.status == "finished", f"the status is {trainer.state.status!r} after the run")
    require(trainer.state.stage is None, f"the stage is {trainer.state.stage!r} after the run")


@CHECKS.add
def counters_count(make_trainer: MakeTrainer) -> None:
    """`global_step` counts optimizer steps; `current_epoch` is the running epoch inside it and counts it afterwards."""
    seen: list[tuple[int, int]] = []

    class Counting(CountingCallback):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            seen.append((trainer.current_epoch, trainer.global_step))

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            seen.append((trainer.current_epoch, trainer.global_step))

    trainer = make_trainer(callbacks=[Counting()], max_epochs=2)
    trainer.fit(KitModule(), kit_loader(), None)

    require(seen == [(0, 1), (0, 2), (0, 2), (1, 3), (1, 4), (1, 4)], f"(epoch, step) were {seen}")
    counts = trainer.current_epoch, trainer.global_step
    require(counts == (2, 4), f"(current_epoch, global_step) are {counts} after the run, expected (2, 4)")


@CHECKS.add
def training_stops_where_it_is_told_to(make_trainer: MakeTrainer) -> None:
    """`max_steps` ends an epoch in the middle, `limit_train_batches` shortens it."""
    trainer = make_trainer(max_epochs=5, max_steps=3)
    trainer.fit(KitModule(), kit_loader(), None)
    require(trainer.global_step == 3, f"max_steps=3 took {trainer.global_step} steps")

    trainer = make_trainer(max_epochs=2, limit_train_batches=1)
    trainer.fit(KitModule(), kit_loader(), None)
    require(trainer.global_step == 2, f"limit_train_batches=1 took {trainer.global_step} steps in 2 epochs")


@CHECKS.add
def should_stop_is_honoured(make_trainer: MakeTrainer) -> None:
    """A callback that sets `trainer.should_stop` ends training, with all its closing hooks."""
    for hook, steps in (("on_train_batch_end", 1), ("on_train_epoch_end", 2), ("on_validation_end", 2)):
        recorder = RecordingCallback()
        trainer = make_trainer(callbacks=[StopAt(hook), recorder], max_epochs=5)
        trainer.fit(KitModule(), kit_loader(), kit_loader())

        require(trainer.global_step == steps, f"{trainer.global_step} steps after a stop in `{hook}`, not {steps}")
        closing = [call.hook for call in recorder.calls][-4:]
        expected = ["on_train_epoch_end", "on_train_end", "on_fit_end", "teardown"]
        require(closing == expected, f"a stop in `{hook}` ended with {closing}, expected {expected}")


@CHECKS.add
def a_validation_limit_is_honoured(make_trainer: MakeTrainer) -> None:
    """`limit_val_batches` says how many batches are validated; 0 means no validation at all."""
    for limit, expected in ((1, 1), (0, 0), (None, 2)):
        recorder = RecordingCallback()
        trainer = make_trainer(callbacks=[recorder], max_epochs=1, limit_val_batches=limit)
        trainer.fit(KitModule(), kit_loader(), kit_loader())

        hooks = [call.hook for call in recorder.calls]
        found = hooks.count("on_validation_batch_end")
        require(found == expected, f"limit_val_batches={limit} validated {found} batches, expected {expected}")
        require(hooks.count("on_validation_start") == bool(expected), f"`on_validation_start` with limit {limit}")


@CHECKS.add
def an_exception_reaches_callbacks_and_loggers_and_the_caller(make_trainer: MakeTrainer) -> None:
    """`on_exception` gets it, loggers end as failed, `teardown` is not called, the caller sees the very exception."""
    for hook in ("on_train_batch_end", "on_validation_start", "on_fit_start", "setup"):
        error, logger = RuntimeError(f"raised in {hook}"), RecordingLogger()
        culprit, recorder = StopAt(hook, error), RecordingCallback()
        trainer = make_trainer(callbacks=[culprit, recorder], logger=logger, max_epochs=1)
        caught: BaseException | None = None
        try:
            trainer.fit(KitModule(), kit_loader(), kit_loader())
        except RuntimeError as raised:
            caught = raised

        require(caught is error, f"an exception in `{hook}` reached the caller as {caught!r}")
        require(culprit.exceptions == [error], f"`on_exception` got {culprit.exceptions!r} for one in `{hook}`")
        require(logger.statuses == ["failed"], f"`finalize` was called with {logger.statuses}, expected ['failed']")
        require(trainer.state.status == "interrupted", f"the status is {trainer.state.status!r}")
        require("teardown" not in [call.hook for call in recorder.calls], "`teardown` was called after an exception")


@CHECKS.add
def a_trainer_can_be_used_again_after_an_exception(make_trainer: MakeTrainer) -> None:
    """A run that failed leaves nothing behind that disturbs the next one."""
    culprit = StopAt("on_validation_start", RuntimeError("once"))
    trainer = make_trainer(callbacks=[culprit], max_epochs=1)
    try:
        trainer.fit(KitModule(), kit_loader(), kit_loader())
    except RuntimeError:
        culprit.on_validation_start = lambda *args: None  # type: ignore[method-assign]

    module = KitModule()
    trainer.fit(module, kit_loader(), kit_loader())

    require(torch.equal(module.weight.detach(), _by_hand(1)), f"{module.weight} instead of {_by_hand(1)}")
    require(trainer.state.status == "finished", f"the status is {trainer.state.status!r}")


@CHECKS.add
def the_module_knows_its_trainer(make_trainer: MakeTrainer) -> None:
    """`module.trainer`, `current_epoch`, `global_step` and `logger` are the trainer's."""
    module, logger = KitModule(), RecordingLogger()
    trainer = make_trainer(logger=logger, max_epochs=2)
    trainer.fit(module, kit_loader(), None)

    require(module.trainer is trainer, "`module.trainer` is another object")
    require(trainer.lightning_module is module, "`trainer.lightning_module` is another object")
    require(module.logger is logger, "`module.logger` is another object")
    counts = module.current_epoch, module.global_step
    require(counts == (2, 4), f"the module's (current_epoch, global_step) are {counts}, expected (2, 4)")


@CHECKS.add
def a_resumed_run_equals_an_unbroken_one(make_trainer: MakeTrainer) -> None:
    """Weights, optimizer, counters and callback states go through `save_checkpoint` and `ckpt_path`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.ckpt"
        first = make_trainer(callbacks=[CountingCallback()], max_epochs=1, default_root_dir=folder)
        first.fit(KitModule(), kit_loader(), kit_loader())
        first.save_checkpoint(path)

        module, callback = KitModule(), CountingCallback()
        second = make_trainer(callbacks=[callback], max_epochs=3, default_root_dir=folder)
        second.fit(module, kit_loader(), kit_loader(), ckpt_path=str(path))

    require(callback.hook_calls == 1, f"the callback's `on_load_checkpoint` was called {callback.hook_calls} times")
    require(callback.loaded == {"batches": 2}, f"the callback got the state {callback.loaded}")
    require(callback.batches == 6, f"the callback counts {callback.batches} batches, expected 6")
    counts = second.current_epoch, second.global_step
    require(counts == (3, 6), f"(current_epoch, global_step) are {counts}, expected (3, 6)")
    require(torch.equal(module.weight.detach(), _by_hand(3)), f"{module.weight} instead of {_by_hand(3)}")


@CHECKS.add
def a_checkpoint_written_at_the_end_of_an_epoch_begins_the_next_one(make_trainer: MakeTrainer) -> None:
    """A file that a monitoring callback writes in `on_train_epoch_end` counts that epoch as done."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "end.ckpt"

        class Saving(CountingCallback):
            monitors = True

            def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
                if trainer.current_epoch == 0:
                    trainer.save_checkpoint(path)

        make_trainer(callbacks=[Saving()], max_epochs=2, default_root_dir=folder).fit(KitModule(), kit_loader(), None)
        module, callback = KitModule(), Saving()
        trainer = make_trainer(callbacks=[callback], max_epochs=2, default_root_dir=folder)
        trainer.fit(module, kit_loader(), None, ckpt_path=str(path))

    require(trainer.global_step == 4, f"`global_step` is {trainer.global_step}, expected 4")
    require(torch.equal(module.weight.detach(), _by_hand(2)), f"{module.weight} instead of {_by_hand(2)}")
