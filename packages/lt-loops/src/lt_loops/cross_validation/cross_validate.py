"""`Trainer.cross_validate`: run every fold, and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.state import TrainerStatus
from lt_loops.cross_validation.folder import RunFolder
from lt_loops.cross_validation.fresh_trainer import Recipe
from lt_loops.cross_validation.in_processes import run_in_processes
from lt_loops.cross_validation.protocol import FoldsProtocol
from lt_loops.cross_validation.report import CrossValidationReport
from lt_loops.cross_validation.result import FoldResult
from lt_loops.cross_validation.run_fold import FoldRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_loops.trainer import Trainer

__all__ = ["cross_validate"]


def cross_validate(
    trainer: Trainer, make_module: Callable[..., Any], folds: Any, *, parallel: int, ckpt_path: str | None
) -> CrossValidationReport:
    """Do what `Trainer.cross_validate` says."""
    _check(trainer, make_module, folds, parallel, ckpt_path)
    root = Path(trainer.default_root_dir)
    folder = RunFolder.find_unfinished(root, folds) if ckpt_path == "last" else None
    resumes = folder is not None
    if folder is None:
        folder = RunFolder.begin(root, folds, [logger.version for logger in trainer.loggers])
    fold_run = FoldRun(Recipe(trainer), make_module, folder, resumes)
    if parallel > 1:
        left = [index for index in range(len(folds)) if not folder.result(index).exists()]
        run_in_processes(fold_run, folds, left, parallel)
        results = [FoldResult.load(folder.result(index)) for index in range(len(folds))]
    else:
        results = [fold_run.run(folds[index]) for index in range(len(folds))]
    report = CrossValidationReport(results, folds, make_module, type(trainer), str(folder.path))
    report.save()
    return report


def _check(trainer: Trainer, make_module: Any, folds: Any, parallel: int, ckpt_path: str | None) -> None:
    if isinstance(make_module, nn.Module):
        name = type(make_module).__name__
        raise MisconfigurationTypeError(
            f"`cross_validate` got the module {name}(…). Expected a function that makes a new one for each fold, so "
            f"that no fold begins with what another has learned: pass `{name}` itself, or `lambda: {name}(…)`."
        )
    if not callable(make_module):
        raise MisconfigurationTypeError(
            f"`cross_validate(make_module={make_module!r})` got a {type(make_module).__name__}. Expected a function "
            "that returns a new LightningModule: pass the class, or a function."
        )
    if not isinstance(folds, FoldsProtocol):
        raise MisconfigurationTypeError(
            f"`cross_validate(…, folds={type(folds).__name__}(…))` got no folds. Expected `lt_data.folds(data, …)`: "
            "write `trainer.cross_validate(make_module, folds(data, 5))`."
        )
    if isinstance(parallel, bool) or not isinstance(parallel, int) or parallel < 1:
        raise MisconfigurationValueError(f"`cross_validate(parallel={parallel!r})`. Expected a whole number from 1.")
    if ckpt_path not in (None, "last"):
        raise MisconfigurationValueError(
            f"`cross_validate(ckpt_path={ckpt_path!r})`: folds have checkpoints of their own. Expected None or 'last', "
            "which goes on with the last run if it was not finished."
        )
    if trainer.world_size > 1:
        raise MisconfigurationException(
            f"`cross_validate` was called on a trainer with {trainer.world_size} processes. Expected one: pass "
            "`devices=1`, and `cross_validate(…, parallel=n)` to run n folds at a time."
        )
    if trainer.state.status is not TrainerStatus.INITIALIZING:
        raise MisconfigurationException(
            "`cross_validate` was called on a trainer that has run already, so that its callbacks are not fresh. "
            "Expected a new one: write `Trainer(…).cross_validate(…)`."
        )
