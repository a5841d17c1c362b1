"""Which checkpoint file a run is loaded from: what ``ckpt_path`` means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lt_core.errors import MisconfigurationValueError
from lt_core.rank_zero import rank_zero_warn
from lt_core.state import TrainerFn
from lt_loops.signal_checkpoint import find_signal_checkpoint

if TYPE_CHECKING:
    from lt_loops.trainer import Trainer

__all__ = ["choose_checkpoint"]


def choose_checkpoint(
    trainer: Trainer, fn: TrainerFn, given: str | Path | None, assigned: str | None, *, model_given: bool
) -> str | None:
    """Return the path of the file to load, or None to load nothing.

    Args:
        trainer: Whose checkpoint callbacks are asked.
        fn: The entry point.
        given: The argument ``ckpt_path``.
        assigned: What the user assigned to ``trainer.ckpt_path``.
        model_given: Whether a model was passed to the entry point.

    Raises:
        MisconfigurationValueError: There is no such checkpoint.
    """
    if assigned is not None:
        if given is None:
            given = assigned
        else:
            rank_zero_warn(
                f"Both `trainer.ckpt_path={assigned!r}` and `ckpt_path={given!r}` are set: the argument wins."
            )
    if given is None:
        given = _implied(trainer, fn, model_given=model_given)
    if given is None:
        return None
    if given == "best":
        return _best(trainer, fn)
    if given == "last":
        return _last(trainer)
    if given == "hpc":
        found = _hpc(trainer)
        if found is None:
            raise MisconfigurationValueError(
                f"`ckpt_path='hpc'`: there is no `hpc_ckpt_*.ckpt` in {trainer.default_root_dir!r}. Expected one "
                "written by an "
                "earlier job: pass a path instead."
            )
        return found
    path = os.fspath(given)
    if not path:
        raise MisconfigurationValueError("`ckpt_path=''` is empty. Expected a path, 'best', 'last' or None.")
    return path


def _implied(trainer: Trainer, fn: TrainerFn, *, model_given: bool) -> str | None:
    """Return what a left-out ``ckpt_path`` means."""
    if fn == TrainerFn.FITTING:
        if "SLURM_JOB_ID" in os.environ and _hpc(trainer) is not None:
            return "hpc"
        if any(type(callback).__name__ == "OnExceptionCheckpoint" for callback in trainer.checkpoint_callbacks):
            rank_zero_warn(
                "`ckpt_path` was left out and there is an OnExceptionCheckpoint: going on from the last checkpoint."
            )
            return "last"
        return None
    if model_given:
        return None
    rank_zero_warn(
        f"`Trainer.{fn}()` was called without a model: the best checkpoint of the last fit is loaded. Pass "
        "`ckpt_path='best'` "
        "to say so, or pass the model to use its weights as they are."
    )
    return "best"


def _best(trainer: Trainer, fn: TrainerFn) -> str:
    callbacks = trainer.checkpoint_callbacks
    if not callbacks:
        raise MisconfigurationValueError(
            f"`Trainer.{fn}(ckpt_path='best')`: there is no checkpoint callback. Expected one: add "
            "`ModelCheckpoint(monitor=…)` "
            "to `Trainer(callbacks=[…])`, or pass a path."
        )
    if len(callbacks) > 1:
        rank_zero_warn("`ckpt_path='best'`: there are several checkpoint callbacks, the first one's best is used.")
    path = callbacks[0].best_model_path
    if not path:
        why = " (fast_dev_run saves no checkpoints)" if trainer.fast_dev_run else ""
        raise MisconfigurationValueError(
            f"`Trainer.{fn}(ckpt_path='best')`: no best checkpoint was saved yet{why}. Expected a finished fit: call "
            "`trainer.fit(…)` first, or pass the model and leave `ckpt_path` out."
        )
    return path


def _last(trainer: Trainer) -> str | None:
    found: list[Path] = []
    for callback in trainer.checkpoint_callbacks:
        found += [Path(path) for path in callback.find_last_checkpoints(trainer)]
    preempted = find_signal_checkpoint(trainer.default_root_dir)
    if preempted is not None:
        found.append(preempted)
    found = [path for path in found if path.exists()]
    if not found:
        rank_zero_warn("`ckpt_path='last'`: no last checkpoint was found, nothing is loaded.")
        return None
    return str(max(found, key=lambda path: path.stat().st_mtime))


def _hpc(trainer: Trainer) -> str | None:
    found = find_signal_checkpoint(trainer.default_root_dir)
    return None if found is None else str(found)
