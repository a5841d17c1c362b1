"""What most scenarios share: a trainer with recorded parts, and the end of a run as facts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from oracle.trace import Trace, recorded_callback, recorded_logger


class Boom(Exception):
    """Raised by the scenarios' own code."""


def trainer(pl: ModuleType, folder: Path, **arguments: Any) -> Any:
    """A quiet trainer on the CPU that logs each step; arguments override."""
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "default_root_dir": folder,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "max_epochs": 1,
    }
    return pl.Trainer(**{**defaults, **arguments})


def traced_trainer(pl: ModuleType, folder: Path, trace: Trace, **arguments: Any) -> Any:
    """A quiet trainer with one recorded callback and a recorded logger; arguments override."""
    defaults = {"callbacks": [recorded_callback(pl, trace, "cb")], "logger": recorded_logger(pl, trace)}
    return trainer(pl, folder, **{**defaults, **arguments})


def crowded_trainer(pl: ModuleType, folder: Path, trace: Trace, *, monitor: str, **arguments: Any) -> Any:
    """A quiet trainer with recorded callbacks of every kind, given in an order that it has to change."""
    callbacks = [
        recorded_callback(pl, trace, "mc", pl.callbacks.ModelCheckpoint, dirpath=folder / "saved"),
        recorded_callback(pl, trace, "cb"),
        recorded_callback(pl, trace, "es", pl.callbacks.EarlyStopping, monitor=monitor, strict=False, patience=9),
        recorded_callback(pl, trace, "cc"),
    ]
    logger = recorded_logger(pl, trace)
    return trainer(pl, folder, callbacks=callbacks, logger=logger, enable_checkpointing=True, **arguments)


def ended(call: Callable[[], Any], *expected: type[BaseException]) -> str | None:
    """Run `call` and say what of `expected` it raised, if anything."""
    try:
        call()
    except expected as error:
        return f"{type(error).__name__}({error})"
    return None


def finish(trace: Trace, trainer: Any, raised: str | None = None) -> dict[str, Any]:
    """The facts most hook scenarios end with."""
    return {
        "hooks": trace.lines(),
        "raised": raised,
        "global_step": trainer.global_step,
        "current_epoch": trainer.current_epoch,
        "should_stop": trainer.should_stop,
        "status": str(trainer.state.status.value),
    }
