"""Each way a fit ends, with the hooks that are still called."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from oracle.rig import Boom, ended, finish, recorded_callback, recorded_logger, traced_trainer, trainer
from oracle.scenario import Difference, Facts, scenario
from oracle.trace import Trace, loader, recorded_data, recorded_module, tiny


def _fit(pl: ModuleType, folder: Path, base: type | None = None, *expected: type[BaseException], **kw: Any) -> Facts:
    trace = Trace()
    module, data = recorded_module(pl, trace, base), recorded_data(pl, trace, train=3, other=(1,))
    run = traced_trainer(pl, folder, trace, num_sanity_val_steps=0, **kw)
    raised = ended(lambda: run.fit(module, datamodule=data), *expected)
    return finish(trace, run, raised)


def _stops_at(pl: ModuleType, batch: int, epoch: int = 0) -> type:
    class Stops(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch_: list[Tensor], batch_idx: int) -> Any:
            if (self.current_epoch, batch_idx) == (epoch, batch):
                self.trainer.should_stop = True
            return super().training_step(batch_, batch_idx)

    return Stops


@scenario("hooks")
def stop_max_epochs(pl: ModuleType, folder: Path) -> Facts:
    """max_epochs=1."""
    return _fit(pl, folder, max_epochs=1)


@scenario("hooks")
def stop_max_epochs_zero(pl: ModuleType, folder: Path) -> Facts:
    """max_epochs=0 trains nothing."""
    return _fit(pl, folder, max_epochs=0)


@scenario("hooks")
def stop_max_steps_inside_epoch(pl: ModuleType, folder: Path) -> Facts:
    """max_steps=2 in an epoch of three batches."""
    return _fit(pl, folder, max_steps=2, max_epochs=-1)


@scenario("hooks")
def stop_max_steps_at_epoch_end(pl: ModuleType, folder: Path) -> Facts:
    """max_steps=3 in epochs of three batches."""
    return _fit(pl, folder, max_steps=3, max_epochs=-1)


@scenario("hooks")
def stop_max_steps_zero(pl: ModuleType, folder: Path) -> Facts:
    """max_steps=0 trains nothing."""
    return _fit(pl, folder, max_steps=0, max_epochs=-1)


@scenario("hooks")
def stop_should_stop_inside_epoch(pl: ModuleType, folder: Path) -> Facts:
    """trainer.should_stop set in the second of three batches."""
    return _fit(pl, folder, _stops_at(pl, 1), max_epochs=4)


@scenario("hooks")
def stop_should_stop_min_epochs(pl: ModuleType, folder: Path) -> Facts:
    """trainer.should_stop waits for min_epochs."""
    return _fit(pl, folder, _stops_at(pl, 1), max_epochs=4, min_epochs=2)


@scenario("hooks")
def stop_should_stop_min_steps(pl: ModuleType, folder: Path) -> Facts:
    """trainer.should_stop waits for min_steps, which are reached inside the second epoch."""
    return _fit(pl, folder, _stops_at(pl, 1), max_epochs=4, min_steps=5)


@scenario("hooks")
def stop_batch_start_says_no(pl: ModuleType, folder: Path) -> Facts:
    """on_train_batch_start returning -1 skips what is left of the epoch."""

    class Refuses(tiny(pl)):  # type: ignore[misc]
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
            return -1 if batch_idx == 1 else None

    return _fit(pl, folder, Refuses, max_epochs=2)


@scenario("hooks")
def stop_exception_in_training(pl: ModuleType, folder: Path) -> Facts:
    """An exception in training_step."""

    class Fails(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            if batch_idx == 1:
                raise Boom("training")
            return super().training_step(batch, batch_idx)

    return _fit(pl, folder, Fails, Boom)


@scenario("hooks")
def stop_exception_in_validation(pl: ModuleType, folder: Path) -> Facts:
    """An exception in validation_step inside fit."""

    class Fails(tiny(pl)):  # type: ignore[misc]
        def validation_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            raise Boom("validation")

    return _fit(pl, folder, Fails, Boom)


@scenario("hooks")
def stop_exception_in_test(pl: ModuleType, folder: Path) -> Facts:
    """An exception in test_step."""

    class Fails(tiny(pl)):  # type: ignore[misc]
        def test_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            raise Boom("test")

    trace = Trace()
    module = recorded_module(pl, trace, Fails)
    run = traced_trainer(pl, folder, trace)
    raised = ended(lambda: run.test(module, loader(2)), Boom)
    return finish(trace, run, raised)


@scenario("hooks")
def stop_exception_in_setup(pl: ModuleType, folder: Path) -> Facts:
    """An exception before anything runs."""

    class Fails(tiny(pl)):  # type: ignore[misc]
        def setup(self, stage: str) -> None:
            raise Boom("setup")

    return _fit(pl, folder, Fails, Boom)


@scenario(
    "hooks",
    Difference(
        ("raised",),
        "SystemExit(1)",
        "KeyboardInterrupt()",
        "Ctrl-C is passed on once all is in order: a script ends with status 130, a notebook keeps its kernel.",
    ),
)
def stop_keyboard_interrupt(pl: ModuleType, folder: Path) -> Facts:
    """Ctrl-C in the second of three batches."""

    class Interrupted(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            if batch_idx == 1:
                raise KeyboardInterrupt
            return super().training_step(batch, batch_idx)

    return _fit(pl, folder, Interrupted, SystemExit, KeyboardInterrupt)


@scenario("hooks")
def stop_early_stopping(pl: ModuleType, folder: Path) -> Facts:
    """EarlyStopping on a value that does not fall."""

    class Flat(tiny(pl)):  # type: ignore[misc]
        def validation_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("flat", 1.0)

    trace = Trace()
    module = recorded_module(pl, trace, Flat)
    stopper = recorded_callback(pl, trace, "es", pl.callbacks.EarlyStopping, monitor="flat", patience=2)
    run = trainer(pl, folder, max_epochs=9, callbacks=[stopper], logger=recorded_logger(pl, trace))
    run.fit(module, loader(1), loader(1))
    facts = finish(trace, run)
    facts["hooks"] = [line for line in facts["hooks"] if "_epoch_end" in line or "on_train_end" in line]
    state = {
        name: float(stopper.state_dict()[name]) for name in ("wait_count", "stopped_epoch", "best_score", "patience")
    }
    return {**facts, "stopped_epoch": stopper.stopped_epoch, "wait": stopper.wait_count, "state": state}


@scenario("hooks")
def stop_early_stopping_inside_epoch(pl: ModuleType, folder: Path) -> Facts:
    """EarlyStopping that sees a validation in the middle of an epoch."""

    class Flat(tiny(pl)):  # type: ignore[misc]
        def validation_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("flat", 1.0)

    trace = Trace()
    module = recorded_module(pl, trace, Flat)
    stopper = recorded_callback(pl, trace, "es", pl.callbacks.EarlyStopping, monitor="flat", patience=1)
    run = trainer(
        pl, folder, max_epochs=9, val_check_interval=2, callbacks=[stopper], logger=recorded_logger(pl, trace)
    )
    run.fit(module, loader(4), loader(1))
    return {**finish(trace, run), "stopped_epoch": stopper.stopped_epoch, "wait": stopper.wait_count}
