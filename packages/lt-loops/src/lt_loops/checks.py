"""What is wrong with a run, found before data is read or a device is touched, and reported together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lt_core.callback import Callback
from lt_core.data_hooks import DataHooks
from lt_core.errors import LtError, MisconfigurationException, problems_error
from lt_core.hooks import check_hooks, is_overridden
from lt_core.module import LightningModule
from lt_core.rank_zero import rank_zero_warn
from lt_core.state import TrainerFn

if TYPE_CHECKING:
    from lt_loops.run_data import RunData
    from lt_loops.trainer import Trainer

__all__ = ["check_run"]


def check_run(trainer: Trainer, fn: TrainerFn, module: LightningModule, data: RunData) -> None:
    """Raise one error for everything that cannot work in this run.

    Args:
        trainer: With what settings.
        fn: Which entry point.
        module: The module.
        data: Where its data comes from.
    """
    problems = check_hooks(module, LightningModule, "module")
    for callback in trainer.callbacks:
        problems += check_hooks(callback, Callback, "callback")
    if trainer.datamodule is not None:
        problems += check_hooks(trainer.datamodule, DataHooks, "datamodule")
    checks = {
        TrainerFn.FITTING: _fit,
        TrainerFn.VALIDATING: _validate,
        TrainerFn.TESTING: _test,
        TrainerFn.PREDICTING: _predict,
    }
    problems += checks[fn](trainer, module, data)
    if is_overridden("configure_model", module, LightningModule) and is_overridden(
        "configure_sharded_model", module, LightningModule
    ):
        problems.append(
            MisconfigurationException(
                f"`{type(module).__name__}` writes `configure_model` and its old name `configure_sharded_model`. "
                "Expected one: keep "
                "`configure_model`."
            )
        )
    if problems:
        raise problems_error(problems)
    if fn == TrainerFn.FITTING:
        _warn_of_half_a_validation(module, data)


def _missing(module: LightningModule, name: str, arguments: str = "batch, batch_idx") -> LtError:
    signature = f"self, {arguments}" if arguments else "self"
    return MisconfigurationException(
        f"`{type(module).__name__}` has no `{name}`, which this run needs. Write `def {name}({signature})`."
    )


def _source(module: LightningModule, data: RunData, prefix: str) -> list[LtError]:
    if data.is_defined(prefix):
        return []
    return [
        MisconfigurationException(
            f"There is no {prefix} data. Expected a loader: pass `dataloaders=` (or `{prefix}_dataloaders=` to fit), "
            "pass a "
            f"`datamodule=` that has `{prefix}_dataloader`, or write `{type(module).__name__}.{prefix}_dataloader`."
        )
    ]


def _fit(trainer: Trainer, module: LightningModule, data: RunData) -> list[LtError]:
    problems = []
    if not is_overridden("training_step", module, LightningModule):
        problems.append(_missing(module, "training_step"))
    if not is_overridden("configure_optimizers", module, LightningModule):
        problems.append(_missing(module, "configure_optimizers", ""))
    problems += _source(module, data, "train")
    if not module.automatic_optimization:
        problems += _manual(trainer)
    return problems


def _warn_of_half_a_validation(module: LightningModule, data: RunData) -> None:
    has_step = is_overridden("validation_step", module, LightningModule)
    has_loader = data.is_defined("val")
    if has_loader and not has_step:
        rank_zero_warn(
            f"There is a validation loader, and `{type(module).__name__}` has no `validation_step`: validation is "
            "skipped. Write "
            "`def validation_step(self, batch, batch_idx)`, or leave the loader out."
        )
    if has_step and not has_loader:
        rank_zero_warn(
            f"`{type(module).__name__}` has a `validation_step`, and there is no validation loader: validation is "
            "skipped. Pass "
            "`val_dataloaders=` or write `val_dataloader`."
        )


def _manual(trainer: Trainer) -> list[LtError]:
    problems: list[LtError] = []
    if trainer.gradient_clip_val is not None and trainer.gradient_clip_val > 0:
        problems.append(
            MisconfigurationException(
                f"`Trainer(gradient_clip_val={trainer.gradient_clip_val!r})` has no effect in manual optimisation. "
                "Expected None: "
                "call `self.clip_gradients(optimizer, gradient_clip_val=…)` in `training_step`."
            )
        )
    if trainer.accumulate_grad_batches != 1:
        problems.append(
            MisconfigurationException(
                f"`Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches!r})` has no effect in manual "
                "optimisation. "
                "Expected 1: step the optimizer every n batches in `training_step`."
            )
        )
    return problems


def _evaluate(module: LightningModule, data: RunData, step: str, prefix: str) -> list[LtError]:
    problems = [] if is_overridden(step, module, LightningModule) else [_missing(module, step)]
    return problems + _source(module, data, prefix)


def _validate(trainer: Trainer, module: LightningModule, data: RunData) -> list[LtError]:
    return _evaluate(module, data, "validation_step", "val")


def _test(trainer: Trainer, module: LightningModule, data: RunData) -> list[LtError]:
    return _evaluate(module, data, "test_step", "test")


def _predict(trainer: Trainer, module: LightningModule, data: RunData) -> list[LtError]:
    problems = _source(module, data, "predict")
    if module.predict_step is None or not any(
        is_overridden(name, module, LightningModule) for name in ("predict_step", "forward")
    ):
        problems.append(_missing(module, "predict_step"))
    return problems
