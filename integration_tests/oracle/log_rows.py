"""Which rows a logger gets, and with which step."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from oracle.logging_rules import logs_in_training, run_logging
from oracle.rig import trainer
from oracle.scenario import Difference, Facts, scenario
from oracle.trace import Trace, loader, recorded_logger, tiny


def _every(pl: ModuleType, folder: Path, steps: int, **arguments: Any) -> Facts:
    table: list[list[Any]] = []
    module = logs_in_training(pl, ("a", {"on_step": True, "on_epoch": True}))()
    run = trainer(pl, folder, logger=recorded_logger(pl, Trace(), table), log_every_n_steps=steps, **arguments)
    run.fit(module, loader(3))
    return {"rows": table}


@scenario("logging")
def log_every_step(pl: ModuleType, folder: Path) -> Facts:
    """log_every_n_steps=1."""
    return _every(pl, folder, 1, max_epochs=2)


@scenario("logging")
def log_every_second_step(pl: ModuleType, folder: Path) -> Facts:
    """log_every_n_steps=2 counts across epochs."""
    return _every(pl, folder, 2, max_epochs=2)


@scenario("logging")
def log_no_step(pl: ModuleType, folder: Path) -> Facts:
    """log_every_n_steps=0 writes no step rows."""
    return _every(pl, folder, 0, max_epochs=2)


@scenario(
    "logging",
    Difference(
        ("rows",),
        [],
        [[2, {"a": 3.0, "epoch": 0.0}]],
        "Rows are flushed to the loggers at the end even when log_every_n_steps was never reached.",
    ),
)
def log_interval_longer_than_run(pl: ModuleType, folder: Path) -> Facts:
    """log_every_n_steps=50 in a run of three steps that logs steps only."""
    table: list[list[Any]] = []
    run = trainer(pl, folder, logger=recorded_logger(pl, Trace(), table), log_every_n_steps=50)
    run.fit(logs_in_training(pl, ("a", {}))(), loader(3))
    return {"rows": table}


@scenario("logging")
def log_every_second_step_accumulating(pl: ModuleType, folder: Path) -> Facts:
    """With accumulation the interval counts optimizer steps."""
    return _every(pl, folder, 2, accumulate_grad_batches=2, max_epochs=2)


@scenario("logging")
def log_when_stopping(pl: ModuleType, folder: Path) -> Facts:
    """A step that asks to stop is written whatever the interval says."""

    class Stops(logs_in_training(pl, ("a", {}))):  # type: ignore[misc]
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.trainer.should_stop = batch_idx == 1

    table: list[list[Any]] = []
    run = trainer(pl, folder, logger=recorded_logger(pl, Trace(), table), log_every_n_steps=50, max_epochs=3)
    run.fit(Stops(), loader(4))
    return {"rows": table}


@scenario("logging")
def log_own_step(pl: ModuleType, folder: Path) -> Facts:
    """A value named `step` becomes the row's step."""

    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("a", float(batch_idx))
            self.log("step", float(100 + batch_idx))
            return self.loss(batch)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("v", 1.0)
            self.log("step", float(self.current_epoch))

    return run_logging(pl, folder, Logs(), loader(2), loader(1), looks=())


@scenario("logging")
def log_manual_optimisation(pl: ModuleType, folder: Path) -> Facts:
    """Manual optimisation with two optimizer steps a batch: rows still count batches."""

    class Manual(tiny(pl)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
            optimizer = self.optimizers()
            for _ in range(2):
                optimizer.zero_grad()
                self.manual_backward(self.loss(batch))
                optimizer.step()
            self.log("a", float(batch_idx), on_step=True, on_epoch=True)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("v", 1.0)

    return run_logging(pl, folder, Manual(), loader(4), loader(1), looks=(), log_every_n_steps=2)
