"""The run of one fold: a fresh module, fitted, judged with its best weights, and its predictions."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError
from lt_core.hooks import is_overridden
from lt_core.module import LightningModule
from lt_core.rank_zero import rank_zero_info
from lt_core.seed import isolate_rng, seed_everything
from lt_core.state import TrainerFn
from lt_loops.checkpoint_choice import choose_checkpoint
from lt_loops.cross_validation.result import FoldResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lt_loops.cross_validation.folder import RunFolder
    from lt_loops.cross_validation.fresh_trainer import Recipe
    from lt_loops.cross_validation.protocol import FoldProtocol
    from lt_loops.trainer import Trainer

__all__ = ["FoldRun", "make_module_for"]


def make_module_for(make_module: Callable[..., Any], fold: FoldProtocol) -> LightningModule:
    """Return the module of a fold.

    Args:
        make_module: Called with nothing, or with the fold if it takes an argument.
        fold: The fold.

    Raises:
        MisconfigurationTypeError: It returned something else.
    """
    required = [
        parameter
        for parameter in inspect.signature(make_module).parameters.values()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    module = make_module(fold) if required else make_module()
    if not isinstance(module, LightningModule):
        raise MisconfigurationTypeError(
            f"`cross_validate(make_module, …)`: `make_module` returned {module!r}, a {type(module).__name__}. Expected "
            "a new LightningModule at each call: return one."
        )
    return module


@dataclass(frozen=True)
class FoldRun:
    """How the folds of a cross-validation are run.

    Attributes:
        recipe: Makes the trainers.
        make_module: Makes the modules.
        folder: Where the run keeps what it has.
        resumes: Whether a fold goes on from its last checkpoint.
    """

    recipe: Recipe
    make_module: Callable[..., Any]
    folder: RunFolder
    resumes: bool

    def run(self, fold: FoldProtocol) -> FoldResult:
        """Run a fold, or read its result if it is there."""
        path = self.folder.result(fold.index)
        if path.exists():
            return FoldResult.load(path)
        with isolate_rng():
            result = self._run(fold)
        result.save(path)
        return result

    def _run(self, fold: FoldProtocol) -> FoldResult:
        seed_everything(fold.seed, verbose=False)
        folder = self.folder.fold(fold.index)
        trainer = self.recipe.make(folder, fold.index, self.folder.logger_versions)
        last = self._prepare_folder(trainer, folder)
        module = make_module_for(self.make_module, fold)
        datamodule = fold.datamodule()
        trainer.fit(module, datamodule=datamodule, ckpt_path=last)
        epochs, steps = trainer.current_epoch, trainer.global_step
        checkpoint = self._best(trainer, folder)
        metrics = {str(name): float(value) for name, value in trainer.logged_metrics.items()}
        for evaluate, wanted in (
            (
                trainer.validate,
                trainer.data.is_defined("val") and is_overridden("validation_step", module, LightningModule),
            ),
            (trainer.test, fold.test_indices is not None and is_overridden("test_step", module, LightningModule)),
        ):
            if wanted:
                for row in evaluate(module, datamodule=datamodule, ckpt_path=checkpoint, verbose=False):
                    metrics.update(row)
        predictions = None
        if is_overridden("predict_step", module, LightningModule):
            outputs = trainer.predict(module, datamodule=datamodule, ckpt_path=checkpoint)
            predictions = join_predictions(outputs or [], len(fold.val_indices), fold.index)
        return FoldResult(fold.index, metrics, predictions, checkpoint, epochs, steps, str(folder))

    def _prepare_folder(self, trainer: Trainer, folder: Path) -> str | None:
        """Return the checkpoint from which the fold goes on; without one, remove what a killed process left."""
        if not self.resumes or not folder.exists():
            return None
        found = [path for callback in trainer.checkpoint_callbacks for path in callback.find_last_checkpoints(trainer)]
        last = choose_checkpoint(trainer, TrainerFn.FITTING, "last", None, model_given=True) if found else None
        if last is None:
            self.folder.discard(self.recipe.folders_of(trainer, folder))
        return last

    def _best(self, trainer: Trainer, folder: Path) -> str:
        """Return the file with the best weights; the last weights where nothing chose among them."""
        callback = trainer.checkpoint_callback
        if callback is not None and callback.best_model_path:
            return callback.best_model_path
        path = folder / "last_weights.ckpt"
        trainer.save_checkpoint(path, weights_only=True)
        return str(path)


def join_predictions(outputs: list[Any], rows: int, index: int) -> dict[str, Tensor]:
    """Put the predictions of all batches together.

    Args:
        outputs: What ``predict_step`` returned, batch by batch: tensors ``[B, …]``, or dicts of them.
        rows: How many rows were to be predicted.
        index: The number of the fold, for messages.

    Returns:
        By name (``""`` for plain tensors) one tensor ``[rows, …]``.

    Raises:
        MisconfigurationException: They are something else, or too few or too many.
    """
    named = [output if isinstance(output, dict) else {"": output} for output in outputs]
    joined: dict[str, Tensor] = {}
    for name in named[0] if named else ():
        parts = [each.get(name) for each in named]
        if not all(isinstance(part, Tensor) and part.ndim for part in parts):
            raise MisconfigurationException(
                f"`predict_step` returned {type(outputs[0]).__name__} with {type(parts[0]).__name__} in it. Expected a "
                "tensor with a row for each sample of the batch, [B, …], or a dict of such tensors: return that, or "
                "leave `predict_step` out to cross-validate without predictions."
            )
        joined[name] = torch.cat(parts)  # type: ignore[arg-type]
        if len(joined[name]) != rows:
            raise MisconfigurationException(
                f"Fold {index} has {rows} validation rows, and `predict_step` returned {len(joined[name])} predictions "
                f"{f'for {name!r} ' if name else ''}in all. Expected one for each row: return a tensor [B, …] for a "
                "batch of B samples, and use no `limit_predict_batches`."
            )
    if not joined:
        rank_zero_info(f"Fold {index} predicted nothing.")
    return joined
