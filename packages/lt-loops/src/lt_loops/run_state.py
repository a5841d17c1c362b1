"""What a checkpoint keeps of a run beside the module: loops, random states, what was logged; and giving it back.

The layout under ``loops`` is the one that users already have, so that files load here and elsewhere. What an exact
continuation needs beyond it stands under one key of its own, ``lt``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationException
from lt_core.hooks import is_overridden
from lt_core.log import named_metrics
from lt_core.module import LightningModule
from lt_core.rank_zero import rank_zero_warn
from lt_core.seed import collect_random_states
from lt_loops.logger_state import dump_loggers, restore_loggers
from lt_loops.loops.fit_loop import Progress, Resume

if TYPE_CHECKING:
    from lt_loops.loops.fit_loop import FitLoop
    from lt_loops.signal_checkpoint import Moment
    from lt_loops.trainer import Trainer

__all__ = ["KEY", "dump_loops", "dump_run", "restore_fit_progress"]

KEY = "lt"
"""The checkpoint's entry for what an exact continuation needs beyond the common layout."""

_ALL = ("ready", "started", "processed", "completed")


def _counters(total: tuple[int, ...], current: tuple[int, ...], names: tuple[str, ...] = _ALL) -> dict[str, Any]:
    return {"total": dict(zip(names, total, strict=True)), "current": dict(zip(names, current, strict=True))}


def _same(total: int, current: int, names: tuple[str, ...] = _ALL) -> dict[str, Any]:
    return _counters((total,) * len(names), (current,) * len(names), names)


def dump_loops(trainer: Trainer) -> dict[str, Any]:
    """Return the ``loops`` entry: the counters of all loops in the common layout."""
    loop = trainer.fit_loop
    progress, phase = loop.progress, loop.progress.phase
    begun = phase in ("batch", "batch_end", "validation")
    done = phase in ("batch_end", "validation")
    completed = phase == "validation"
    batch, total = progress.batch, progress.total_batches
    at_end = phase == "epoch_end"
    in_epoch = loop.batches is not None or at_end
    epoch = progress.epoch
    epochs = (epoch + in_epoch, epoch + in_epoch, epoch + at_end, epoch)
    steps = trainer.global_step
    steps_in_epoch = steps - progress.steps_before_epoch
    scheduler_steps = loop.schedulers.steps if loop.schedulers is not None else 0
    manual = not trainer.lightning_module.automatic_optimization
    two = ("ready", "completed")
    three = ("ready", "started", "completed")
    nothing = _same(0, 0, two)
    taken = _same(steps, steps_in_epoch, two)
    zeroed = _same(0, 0, three) if manual else _same(steps, steps_in_epoch, three)
    validated = loop.val_loop
    earlier = max(sum(validated.seen.values()) - validated.last_batches, 0)  # the layout counts the last run apart
    fit = {
        "state_dict": {},
        "epoch_loop.state_dict": {"_batches_that_stepped": progress.windows},
        "epoch_loop.batch_progress": {
            **_counters(
                (total + begun, total + begun, total + done, total + completed),
                (batch + begun, batch + begun, batch + done, batch + completed),
            ),
            "is_last_batch": progress.is_last_batch,
        },
        "epoch_loop.scheduler_progress": _same(
            scheduler_steps, scheduler_steps - progress.scheduler_steps_before_epoch, two
        ),
        "epoch_loop.automatic_optimization.state_dict": {},
        "epoch_loop.automatic_optimization.optim_progress": {
            "optimizer": {"step": nothing if manual else taken, "zero_grad": zeroed}
        },
        "epoch_loop.manual_optimization.state_dict": {},
        "epoch_loop.manual_optimization.optim_step_progress": taken if manual else nothing,
        "epoch_loop.val_loop.state_dict": {},
        "epoch_loop.val_loop.batch_progress": {
            **_same(earlier, validated.last_batches),
            "is_last_batch": validated.last_batches > 0,
        },
        "epoch_progress": _counters(epochs, epochs),
    }
    other = {"state_dict": {}, "batch_progress": {**_same(0, 0), "is_last_batch": False}}
    return {"fit_loop": fit, "validate_loop": dict(other), "test_loop": dict(other), "predict_loop": dict(other)}


def dump_run(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Return the ``lt`` entry: phase, position in the data, random states, values logged so far, open gradients.

    With several ranks each rank has its own part in it, gathered by a collective.
    """
    loop = trainer.fit_loop
    progress, moment = loop.progress, _moment_of(loop)
    entry: dict[str, Any] = {
        "phase": progress.phase,
        "window_open": progress.window_open,
        "last_row": progress.last_row,
        "seen": dict(trainer.validate_loop.seen if moment is None else moment.seen),
        "metrics": trainer.metrics_board.state_dict(),
        "loggers": dump_loggers(trainer.loggers) if moment is None else moment.loggers,
    }
    own = _dump_own(trainer, module)
    if trainer.world_size == 1 or trainer.interrupted:  # after an exception the other ranks may not come
        return {**entry, **own}
    parts = trainer.strategy.gather_objects(own)
    return {**entry, **parts[0], "ranks": parts}


def _moment_of(loop: FitLoop) -> Moment | None:
    """Return what was before the running validation, where the run goes on with that validation from its beginning."""
    return loop.moment if loop.progress.phase != "validation" else None


def _dump_own(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Return what is this rank's alone."""
    loop = trainer.fit_loop
    progress, moment = loop.progress, _moment_of(loop)
    in_epoch = loop.batches is not None and progress.phase != "epoch_end"
    sink = trainer.metrics_board.sink
    # A validation that is being finished is not repeated: what it measured must not be there for the next one.
    finished = sink.metric_attributes("validate") if progress.phase == "validation" else set()
    own: dict[str, Any] = {
        "loader": loop.batches.state_dict() if in_epoch and loop.batches is not None else None,
        "random_states": collect_random_states() if moment is None else moment.random_states,
        "metric_states": {
            name: _metric_state(metric) for name, metric in named_metrics(module) if name not in finished
        },
        "logged": {"train": sink.state_dict().get("train", [])},
    }
    keeps = not module.automatic_optimization or is_overridden("optimizer_zero_grad", module, LightningModule)
    if progress.window_open or (in_epoch and keeps):
        own["gradients"] = {
            name: parameter.grad.clone() for name, parameter in module.named_parameters() if parameter.grad is not None
        }
    return own


def _metric_state(metric: Any) -> dict[str, Any]:
    state = getattr(metric, "metric_state", None)
    values = dict(state) if isinstance(state, dict) else {}
    return {"values": values, "count": int(getattr(metric, "update_count", 0))}


def restore_fit_progress(trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Give the fit loop its counters and tell it where to go on.

    Raises:
        MisconfigurationException: The checkpoint is further than ``max_epochs``.
    """
    loop = trainer.fit_loop
    entry = _entry_of(trainer, checkpoint)
    progress = _progress_of(checkpoint)
    limit = loop.max_epochs
    if limit is not None and limit != -1 and progress.epoch > limit:
        raise MisconfigurationException(
            f"The checkpoint was written after {progress.epoch} epochs and `Trainer(max_epochs={limit})` asks for "
            "fewer. "
            f"Expected at least {progress.epoch}: raise `max_epochs`."
        )
    phase = entry.get("phase") or _phase_of(checkpoint)
    if phase == "validation":  # the counters have it as done; what follows validation is not
        progress.batch -= 1
        progress.total_batches -= 1
    progress.window_open = bool(entry.get("window_open", False))
    progress.last_row = entry.get("last_row")
    scheduled = checkpoint["loops"]["fit_loop"]["epoch_loop.scheduler_progress"]
    if loop.schedulers is not None:
        loop.schedulers.steps = scheduled["total"]["completed"]
    progress.scheduler_steps_before_epoch = scheduled["total"]["completed"] - scheduled["current"]["completed"]
    loop.progress = progress
    trainer.is_last_batch = progress.is_last_batch
    loader = entry.get("loader")
    if loader is None and phase != "epoch_end" and progress.batch + (phase != "idle") > 0:
        # A file of another origin: how many batches of the epoch were used is all that it tells.
        loader = {"position": progress.batch + (phase in ("batch_end", "validation"))}
    elif loader is not None and phase == "batch":
        loader = {**loader, "position": progress.batch}  # the batch was not finished: it is run again
    loop.resume = Resume(
        phase=phase,
        loader=loader,
        random_states=entry.get("random_states"),
        restore_logged=partial(_restore_logged, trainer, module, entry),
        is_foreign=not entry,
        is_at_end=phase == "epoch_end" or progress.is_last_batch,
    )
    trainer.validate_loop.seen.update(entry.get("seen", {}))
    restore_loggers(trainer.loggers, entry.get("loggers", []))
    gradients = entry.get("gradients")
    if gradients:
        for name, parameter in module.named_parameters():
            if name in gradients:
                parameter.grad = gradients[name].to(parameter.device)


def _entry_of(trainer: Trainer, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the ``lt`` entry with this rank's part in it."""
    entry = dict(checkpoint.get(KEY) or {})
    parts = entry.pop("ranks", None)
    if not entry or (len(parts) if parts else 1) == trainer.world_size:
        return {**entry, **parts[trainer.global_rank]} if parts else entry
    if entry.get("loader") is not None:
        rank_zero_warn(
            f"The checkpoint was written within an epoch by {len(parts) if parts else 1} processes and is read by "
            f"{trainer.world_size}. Expected as many: what was logged in that epoch so far is that of the first "
            "process only, and the data is not the rest of the epoch's. Go on with as many processes, or from "
            "an epoch's end."
        )
    if trainer.global_rank > 0:
        for name in ("logged", "metric_states", "gradients"):
            entry.pop(name, None)  # they are rank 0's, and would be counted again for each rank
        entry["logged"] = {}
    return entry


def _progress_of(checkpoint: dict[str, Any]) -> Progress:
    fit = checkpoint["loops"]["fit_loop"]
    batch = fit["epoch_loop.batch_progress"]
    epoch = fit["epoch_progress"]["current"]
    automatic = fit["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]["completed"]
    manual = fit["epoch_loop.manual_optimization.optim_step_progress"]["total"]["completed"]
    done = batch["current"]["completed"]
    if epoch["ready"] == epoch["completed"]:
        done = 0  # no epoch is open: the last one is over and counted
    return Progress(
        epoch=epoch["completed"],
        batch=done,
        total_batches=batch["total"]["completed"],
        windows=fit["epoch_loop.state_dict"].get("_batches_that_stepped", automatic + manual),
        steps=automatic + manual,
        is_last_batch=bool(batch["is_last_batch"]),
        steps_before_epoch=automatic + manual - _steps_in_epoch(fit),
    )


def _steps_in_epoch(fit: dict[str, Any]) -> int:
    automatic = fit["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["current"]["completed"]
    manual = fit["epoch_loop.manual_optimization.optim_step_progress"]["current"]["completed"]
    return int(automatic + manual)


def _phase_of(checkpoint: dict[str, Any]) -> str:
    """Tell from the counters alone where the file was written."""
    fit = checkpoint["loops"]["fit_loop"]
    epoch = fit["epoch_progress"]["current"]
    batch = fit["epoch_loop.batch_progress"]["current"]
    if epoch["processed"] > epoch["completed"]:
        return "epoch_end"
    if batch["processed"] > batch["completed"]:
        return "batch_end"
    return "idle"


def _restore_logged(trainer: Trainer, module: LightningModule, entry: dict[str, Any]) -> None:
    """Give back what was logged so far: the accumulators of the running epoch, published values, metric objects."""
    if "logged" in entry:
        trainer.metrics_board.sink.load_state_dict(entry["logged"], module)
    trainer.metrics_board.load_state_dict(entry.get("metrics", {}))
    states = entry.get("metric_states", {})
    for name, metric in named_metrics(module):
        state = states.get(name)
        if not state or not state["values"]:
            continue
        for attribute, value in state["values"].items():
            setattr(metric, attribute, _on_device(value, trainer.strategy.root_device))
        # torchmetrics offers no other way to say that a metric has been updated.
        metric._update_count = state["count"]  # noqa: SLF001


def _on_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return [_on_device(item, device) for item in value] if isinstance(value, list) else value
