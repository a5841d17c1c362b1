"""Checks for trainers: what becomes of logged values, and what reaches the loggers."""

from __future__ import annotations

import math
from typing import Any

import torch

from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException
from lt_core.testing.check import Registry, require
from lt_core.testing.kit_parts import KitModule, MakeTrainer, kit_loader
from lt_core.testing.recording import RecordingLogger

CHECKS = Registry()


class _Steady(KitModule):
    """Logs the mean of a batch and never learns, so that an epoch's mean is known."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("mean", batch[0].mean(), on_step=True, on_epoch=True, prog_bar=True)
        return self.loss(batch) * 0

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_mean", batch[0].mean())


def _whole() -> float:
    return float(torch.linspace(-1.0, 2.0, 7).mean())


@CHECKS.add
def epoch_means_are_weighted_by_batch_size(make_trainer: MakeTrainer) -> None:
    """With batches of 4 and 3 samples the epoch's mean is the mean over the samples, in training and validation."""
    trainer = make_trainer(max_epochs=1)
    trainer.fit(_Steady(), kit_loader(), kit_loader())

    for name in ("mean_epoch", "val_mean"):
        value = float(trainer.callback_metrics[name])
        require(math.isclose(value, _whole(), rel_tol=1e-6), f"`{name}` is {value}, expected {_whole()}")


@CHECKS.add
def logged_values_are_found_under_their_names(make_trainer: MakeTrainer) -> None:
    """Callback, logger and progress bar metrics hold what each should."""
    trainer = make_trainer(max_epochs=1, logger=RecordingLogger())
    trainer.fit(KitModule(), kit_loader(), kit_loader())

    found = set(trainer.callback_metrics)
    expected = {"loss", "loss_step", "loss_epoch", "val_loss", "val_acc"}
    require(expected <= found, f"`callback_metrics` lacks {sorted(expected - found)}")
    require({"loss_epoch", "val_loss"} <= set(trainer.logged_metrics), "`logged_metrics` lacks epoch values")
    bar = trainer.progress_bar_metrics
    require({"loss_step", "loss_epoch", "val_loss"} <= set(bar), f"`progress_bar_metrics` holds {sorted(bar)}")
    require("val_acc" not in bar, "`val_acc` was logged without prog_bar and is in `progress_bar_metrics`")
    require(all(isinstance(value, float) for value in bar.values()), "`progress_bar_metrics` holds no floats")
    require(all(isinstance(value, torch.Tensor) for value in trainer.callback_metrics.values()), "not tensors")


@CHECKS.add
def callbacks_can_log(make_trainer: MakeTrainer) -> None:
    """A callback's `self.log` goes where the module's goes, under the rules of the hook that runs."""

    class Logging(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.log("from_step", float(batch_idx))  # type: ignore[attr-defined]

        def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.log_dict({"from_epoch": 2.0})  # type: ignore[attr-defined]

    logger = RecordingLogger()
    trainer = make_trainer(callbacks=[Logging()], logger=logger, max_epochs=1, log_every_n_steps=1)
    trainer.fit(KitModule(), kit_loader(), kit_loader())

    require(logger.values("from_step") == [0.0, 1.0], f"`from_step` was logged as {logger.values('from_step')}")
    require(logger.values("from_epoch") == [2.0], f"`from_epoch` was logged as {logger.values('from_epoch')}")
    require(float(trainer.callback_metrics["from_epoch"]) == 2.0, "`from_epoch` is not in `callback_metrics`")


@CHECKS.add
def monitors_see_this_epochs_values(make_trainer: MakeTrainer) -> None:
    """`on_train_epoch_end` sees the epoch's training values, `on_validation_end` the validation's."""

    class Watching(Callback):
        monitors = True

        def __init__(self) -> None:
            self.seen: dict[str, float] = {}

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            self.seen["validation"] = float(trainer.callback_metrics["val_mean"])

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.seen["train"] = float(trainer.callback_metrics["mean"])

    callback = Watching()
    make_trainer(callbacks=[callback], max_epochs=1).fit(_Steady(), kit_loader(), kit_loader())

    for when, value in callback.seen.items():
        require(math.isclose(value, _whole(), rel_tol=1e-6), f"at the end of {when} {value} was seen, not {_whole()}")
    require(set(callback.seen) == {"validation", "train"}, f"only {sorted(callback.seen)} were reached")


@CHECKS.add
def logging_where_nothing_is_collected_is_an_error(make_trainer: MakeTrainer) -> None:
    """`self.log` in a hook that may not log raises and names the hook."""
    for hook in ("on_fit_start", "on_train_end", "on_validation_end"):

        class Wrong(KitModule):
            pass

        setattr(Wrong, hook, lambda self: self.log("a", 1.0))
        try:
            make_trainer(max_epochs=1).fit(Wrong(), kit_loader(), kit_loader())
        except MisconfigurationException as error:
            require(hook in str(error), f"the error does not name `{hook}`: {error}")
        else:
            require(condition=False, message=f"`self.log` inside `{hook}` raised nothing")


@CHECKS.add
def rows_reach_the_loggers_when_they_are_due(make_trainer: MakeTrainer) -> None:
    """Step rows come every n steps, epoch rows at the last step of their epoch, each with the epoch and saved."""
    logger = RecordingLogger()
    trainer = make_trainer(logger=logger, max_epochs=2, log_every_n_steps=2)
    trainer.fit(KitModule(), kit_loader(8, 2), kit_loader())

    steps = [step for row, step in logger.rows if "loss_step" in row]
    require(steps == [1, 3, 5, 7], f"step rows came at {steps}, expected [1, 3, 5, 7]")
    epochs = [(step, row["epoch"]) for row, step in logger.rows if "loss_epoch" in row]
    require(epochs == [(3, 0), (7, 1)], f"(step, epoch) of the epoch rows are {epochs}, expected [(3, 0), (7, 1)]")
    validations = [step for row, step in logger.rows if "val_loss" in row]
    require(validations == [3, 7], f"validation rows came at {validations}, expected [3, 7]")
    values = [value for row, _ in logger.rows for value in row.values()]
    require(all(isinstance(value, (int, float)) for value in values), "rows must hold plain numbers")
    saved = [call.hook for call in logger.calls]
    for index, name in enumerate(saved):
        require(name != "log_metrics" or saved[index + 1] == "save", "a row was not followed by `save`")


@CHECKS.add
def loggers_are_told_the_hyperparameters_and_the_end(make_trainer: MakeTrainer) -> None:
    """Hyperparameters come once before training, `finalize("success")` once after it."""
    logger = RecordingLogger()
    make_trainer(logger=logger, max_epochs=1, log_every_n_steps=1).fit(KitModule(lr=0.25), kit_loader(), None)

    require(logger.hyperparams == [{"lr": 0.25}], f"the hyperparameters were {logger.hyperparams}")
    names = [call.hook for call in logger.calls]
    require("log_metrics" in names, "no row was logged")
    require(names.index("log_hyperparams") < names.index("log_metrics"), "hyperparameters came after the first row")
    require(logger.statuses == ["success"], f"`finalize` was called with {logger.statuses}, expected ['success']")


@CHECKS.add
def several_loggers_get_the_same(make_trainer: MakeTrainer) -> None:
    """Each of two loggers gets every row, and the first one is `trainer.logger`."""
    loggers = [RecordingLogger(), RecordingLogger()]
    trainer = make_trainer(logger=loggers, max_epochs=1, log_every_n_steps=1)
    trainer.fit(KitModule(), kit_loader(), kit_loader())

    require(loggers[0].rows and loggers[0].rows == loggers[1].rows, "the loggers got different rows")
    require(trainer.logger is loggers[0], "`trainer.logger` is not the first logger")
    require(trainer.loggers == loggers, "`trainer.loggers` are not the loggers")
