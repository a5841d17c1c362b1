"""The order of all hooks, for each entry point and for each kind of optimisation and validation."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from oracle.rig import crowded_trainer, finish, traced_trainer, trainer
from oracle.scenario import Facts, scenario
from oracle.trace import Trace, data_module, loader, recorded_callback, recorded_data, recorded_module, tiny

# ------------------------------------------------------------------------------------------- the entry points


@scenario("hooks")
def hooks_fit(pl: ModuleType, folder: Path) -> Facts:
    """Fit two epochs with a sanity check, validation, a checkpoint callback and early stopping."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = crowded_trainer(pl, folder, trace, monitor="val_loss", max_epochs=2)
    run.fit(module, datamodule=data)
    return finish(trace, run)


@scenario("hooks")
def hooks_fit_without_validation(pl: ModuleType, folder: Path) -> Facts:
    """Fit one epoch where there is no validation loader."""
    trace = Trace()
    module = recorded_module(pl, trace)
    run = crowded_trainer(pl, folder, trace, monitor="loss")
    run.fit(module, loader(2))
    return finish(trace, run)


@scenario("hooks")
def hooks_fit_hyperparameters(pl: ModuleType, folder: Path) -> Facts:
    """Hyper-parameters of a module reach the logger once the fit has started."""

    class WithHyperparameters(tiny(pl)):  # type: ignore[misc]
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()

    trace = Trace()
    module = recorded_module(pl, trace, WithHyperparameters)
    run = traced_trainer(pl, folder, trace, limit_val_batches=0)
    run.fit(module, loader(1))
    return finish(trace, run)


@scenario("hooks")
def hooks_fit_data_on_module(pl: ModuleType, folder: Path) -> Facts:
    """The loaders and the transfer hooks are the module's own."""

    class WithLoaders(tiny(pl)):  # type: ignore[misc]
        def train_dataloader(self) -> Any:
            return loader(2)

        val_dataloader = test_dataloader = predict_dataloader = train_dataloader

    trace = Trace()
    module = recorded_module(pl, trace, WithLoaders, own_data=True)
    run = traced_trainer(pl, folder, trace, limit_val_batches=1)
    run.fit(module)
    return finish(trace, run)


@scenario("hooks")
def hooks_validate(pl: ModuleType, folder: Path) -> Facts:
    """Validate on its own."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = crowded_trainer(pl, folder, trace, monitor="val_loss")
    run.validate(module, datamodule=data, verbose=False)
    return finish(trace, run)


@scenario("hooks")
def hooks_test(pl: ModuleType, folder: Path) -> Facts:
    """Test on its own."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = crowded_trainer(pl, folder, trace, monitor="val_loss")
    run.test(module, datamodule=data, verbose=False)
    return finish(trace, run)


@scenario("hooks")
def hooks_predict(pl: ModuleType, folder: Path) -> Facts:
    """Predict on its own; the outputs come back in order."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = crowded_trainer(pl, folder, trace, monitor="val_loss")
    outputs = run.predict(module, datamodule=data)
    return {**finish(trace, run), "outputs": [batch.flatten().tolist() for batch in outputs]}


@scenario("hooks")
def hooks_fit_then_test(pl: ModuleType, folder: Path) -> Facts:
    """Test after fit with the same trainer: the counters stay, the stages follow each other."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = traced_trainer(pl, folder, trace)
    run.fit(module, datamodule=data)
    run.test(module, datamodule=data, verbose=False)
    return finish(trace, run)


@scenario("hooks")
def hooks_fit_twice(pl: ModuleType, folder: Path) -> Facts:
    """A second fit of the same module with the same trainer finds max_epochs reached."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = traced_trainer(pl, folder, trace, limit_val_batches=0)
    run.fit(module, datamodule=data)
    run.fit(module, datamodule=data)
    return finish(trace, run)


# ------------------------------------------------------------------------------------- several evaluation loaders


@scenario("hooks")
def hooks_fit_two_validation_loaders(pl: ModuleType, folder: Path) -> Facts:
    """Two validation loaders of unequal length, run one after the other with their index."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace, train=1, other=(2, 1))
    run = traced_trainer(pl, folder, trace, num_sanity_val_steps=1)
    run.fit(module, datamodule=data)
    return finish(trace, run)


@scenario("hooks")
def hooks_test_two_loaders(pl: ModuleType, folder: Path) -> Facts:
    """Two test loaders."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace, other=(2, 1))
    run = traced_trainer(pl, folder, trace)
    run.test(module, datamodule=data, verbose=False)
    return finish(trace, run)


@scenario("hooks")
def hooks_predict_two_loaders(pl: ModuleType, folder: Path) -> Facts:
    """Two predict loaders give one list of outputs each."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace, other=(2, 1))
    run = traced_trainer(pl, folder, trace)
    outputs = run.predict(module, datamodule=data)
    return {**finish(trace, run), "lengths": [len(each) for each in outputs]}


# -------------------------------------------------------------------------------------------------- optimisation


@scenario("hooks")
def hooks_accumulation(pl: ModuleType, folder: Path) -> Facts:
    """Accumulate two batches in an epoch of three: the last window is short and still steps."""
    trace = Trace()
    module = recorded_module(pl, trace)
    run = traced_trainer(pl, folder, trace, accumulate_grad_batches=2, gradient_clip_val=1.0)
    run.fit(module, loader(3), loader(1))
    return finish(trace, run)


@scenario("hooks")
def hooks_manual_optimisation(pl: ModuleType, folder: Path) -> Facts:
    """Two optimizers stepped by hand, one of them with a closure."""

    class Manual(tiny(pl)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.other = nn.Linear(1, 1)

        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
            first, second = self.optimizers()
            loss = self.loss(batch)
            first.zero_grad()
            self.manual_backward(loss)
            first.step()

            def closure() -> torch.Tensor:
                second.zero_grad()
                again = self.other(batch[0]).pow(2).mean()
                self.manual_backward(again)
                return again

            second.step(closure=closure)
            self.lr_schedulers().step()
            self.log("loss", loss)

        def configure_optimizers(self) -> Any:
            first = torch.optim.SGD(self.layer.parameters(), lr=0.125)
            second = torch.optim.SGD(self.other.parameters(), lr=0.125)
            return [first, second], [torch.optim.lr_scheduler.StepLR(first, 1)]

    trace = Trace()
    module = recorded_module(pl, trace, Manual)
    run = traced_trainer(pl, folder, trace)
    run.fit(module, loader(2), loader(1))
    return finish(trace, run)


@scenario("hooks")
def hooks_lbfgs(pl: ModuleType, folder: Path) -> Facts:
    """An optimizer that evaluates its closure several times."""

    class Several(tiny(pl)):  # type: ignore[misc]
        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters(), lr=0.01, max_iter=2)

    trace = Trace()
    module = recorded_module(pl, trace, Several)
    run = traced_trainer(pl, folder, trace)
    run.fit(module, loader(2))
    return finish(trace, run)


@scenario("hooks")
def hooks_skipped_step(pl: ModuleType, folder: Path) -> Facts:
    """A training step that returns None for one batch."""

    class Skips(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
            return self.loss(batch) if batch_idx != 1 else None

    trace = Trace()
    module = recorded_module(pl, trace, Skips)
    run = traced_trainer(pl, folder, trace)
    run.fit(module, loader(3))
    return finish(trace, run)


@scenario("hooks")
def hooks_no_optimizer(pl: ModuleType, folder: Path) -> Facts:
    """A module without optimizer still runs its steps."""

    class Without(tiny(pl)):  # type: ignore[misc]
        def configure_optimizers(self) -> Any:
            return None

    trace = Trace()
    module = recorded_module(pl, trace, Without)
    run = traced_trainer(pl, folder, trace)
    run.fit(module, loader(2))
    return finish(trace, run)


# ----------------------------------------------------------------------------------------------- when to validate


def _validation_runs(pl: ModuleType, folder: Path, batches: int, **arguments: Any) -> Facts:
    trace = Trace()
    module = recorded_module(pl, trace)
    run = traced_trainer(pl, folder, trace, num_sanity_val_steps=0, **arguments)
    run.fit(module, loader(batches), loader(1))
    kept = ("on_train_batch_end", "on_train_epoch_end", "on_validation_start", "log_metrics", "zero_grad")
    facts = finish(trace, run)
    facts["hooks"] = [line for line in facts["hooks"] if any(part in line for part in kept)]
    return facts


@scenario("hooks")
def hooks_validation_half_epoch(pl: ModuleType, folder: Path) -> Facts:
    """val_check_interval=0.5 in an epoch of five batches."""
    return _validation_runs(pl, folder, 5, val_check_interval=0.5)


@scenario("hooks")
def hooks_validation_every_batches(pl: ModuleType, folder: Path) -> Facts:
    """val_check_interval=2 starts to count anew in each epoch of three batches."""
    return _validation_runs(pl, folder, 3, val_check_interval=2, max_epochs=2)


@scenario("hooks")
def hooks_validation_across_epochs(pl: ModuleType, folder: Path) -> Facts:
    """check_val_every_n_epoch=None counts batches across epochs."""
    return _validation_runs(pl, folder, 2, val_check_interval=3, check_val_every_n_epoch=None, max_epochs=3)


@scenario("hooks")
def hooks_validation_every_second_epoch(pl: ModuleType, folder: Path) -> Facts:
    """check_val_every_n_epoch=2."""
    return _validation_runs(pl, folder, 2, check_val_every_n_epoch=2, max_epochs=4)


@scenario("hooks")
def hooks_validation_inside_window(pl: ModuleType, folder: Path) -> Facts:
    """A validation in the middle of an accumulation window keeps the gradients."""
    return _validation_runs(pl, folder, 4, val_check_interval=1, accumulate_grad_batches=2)


# ---------------------------------------------------------------------------------------------- limits and modes


@scenario("hooks")
def hooks_fast_dev_run(pl: ModuleType, folder: Path) -> Facts:
    """fast_dev_run=True runs one batch of each and calls no logger."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = crowded_trainer(pl, folder, trace, monitor="val_loss", fast_dev_run=True)
    run.fit(module, datamodule=data)
    run.test(module, datamodule=data, verbose=False)
    return {**finish(trace, run), "loggers": len(run.loggers), "max_steps": run.max_steps, "epochs": run.max_epochs}


@scenario("hooks")
def hooks_fast_dev_run_two(pl: ModuleType, folder: Path) -> Facts:
    """fast_dev_run=2 runs two batches."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace, train=3)
    run = traced_trainer(pl, folder, trace, fast_dev_run=2)
    run.fit(module, datamodule=data)
    return finish(trace, run)


@scenario("hooks")
def hooks_no_training_batches(pl: ModuleType, folder: Path) -> Facts:
    """limit_train_batches=0 leaves out every training hook."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = traced_trainer(pl, folder, trace, limit_train_batches=0)
    run.fit(module, datamodule=data)
    return finish(trace, run)


@scenario("hooks")
def hooks_no_validation_batches(pl: ModuleType, folder: Path) -> Facts:
    """limit_val_batches=0 leaves out validation and its loader."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = traced_trainer(pl, folder, trace, limit_val_batches=0)
    run.fit(module, datamodule=data)
    return finish(trace, run)


@scenario("hooks")
def hooks_reload_loaders(pl: ModuleType, folder: Path) -> Facts:
    """reload_dataloaders_every_n_epochs=1 asks for the loaders again."""
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = traced_trainer(pl, folder, trace, reload_dataloaders_every_n_epochs=1, max_epochs=2)
    run.fit(module, datamodule=data)
    facts = finish(trace, run)
    facts["hooks"] = [line for line in facts["hooks"] if "dataloader" in line or "epoch_" in line or "sanity" in line]
    return facts


@scenario("hooks")
def hooks_frozen_part_stays_in_evaluation_mode(pl: ModuleType, folder: Path) -> Facts:
    """A part in evaluation mode before fit is in evaluation mode in every training step, also after validation."""
    modes: list[list[bool]] = []

    class Frozen(tiny(pl)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Dropout(0.5).eval()

        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
            modes.append([self.training, self.layer.training, self.frozen.training])
            return self.loss(batch)

        def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
            modes.append([self.training, self.layer.training, self.frozen.training])

    module = Frozen()
    trainer(pl, folder, max_epochs=2).fit(module, loader(1), loader(1))
    return {"modes": modes, "after": [module.training, module.layer.training, module.frozen.training]}


@scenario("hooks")
def hooks_own_train_mode_hook(pl: ModuleType, folder: Path) -> Facts:
    """An overridden on_validation_model_train is called instead of the modes being put back."""

    class Own(tiny(pl)):  # type: ignore[misc]
        def on_validation_model_train(self) -> None:
            trace.add("lm", "on_validation_model_train")
            self.train()

        def on_test_model_train(self) -> None:
            trace.add("lm", "on_test_model_train")

    trace = Trace()
    module = recorded_module(pl, trace, Own)
    run = trainer(pl, folder)
    run.fit(module, loader(1), loader(1))
    run.test(module, loader(1), verbose=False)
    kept = ("model_train", "model_eval", "on_train_epoch_end", "on_validation_end", "on_test_end")
    return {"hooks": [line for line in trace.lines() if any(part in line for part in kept)]}


@scenario("hooks")
def hooks_callbacks_of_the_module(pl: ModuleType, folder: Path) -> Facts:
    """What configure_callbacks gives joins the trainer's callbacks, and replaces one of the same class."""

    class Mine(pl.Callback):  # type: ignore[name-defined, misc]
        pass

    class Gives(tiny(pl)):  # type: ignore[misc]
        def configure_callbacks(self) -> Any:
            return [Mine(), pl.callbacks.EarlyStopping("loss", patience=7)]

    run = trainer(
        pl,
        folder,
        enable_checkpointing=True,
        callbacks=[pl.callbacks.EarlyStopping("other", patience=1), recorded_callback(pl, Trace(), "cb")],
    )
    run.fit(Gives(), loader(1))
    names = [type(each).__name__ for each in run.callbacks]
    return {"callbacks": names, "patience": run.early_stopping_callback.patience}


# ------------------------------------------------------------------------------------------ saving and resuming


@scenario("hooks")
def hooks_save_and_resume(pl: ModuleType, folder: Path) -> Facts:
    """A file written at the end of the first epoch is resumed for a second; then it is used for a test."""
    first = crowded_trainer(pl, folder, Trace(), monitor="val_loss", max_epochs=1)
    first.fit(recorded_module(pl, Trace()), datamodule=recorded_data(pl, Trace()))
    path = first.checkpoint_callback.best_model_path
    trace = Trace()
    module, data = recorded_module(pl, trace), recorded_data(pl, trace)
    run = crowded_trainer(pl, folder, trace, monitor="val_loss", max_epochs=2)
    run.fit(module, datamodule=data, ckpt_path=path, weights_only=False)
    facts = finish(trace, run)
    again = Trace()
    module, data = recorded_module(pl, again), recorded_data(pl, again)
    run = traced_trainer(pl, folder, again)
    run.test(module, datamodule=data, ckpt_path=path, verbose=False, weights_only=False)
    return {**facts, "file": Path(path).name, "test": again.lines()}


@scenario("hooks")
def hooks_resume_inside_epoch(pl: ModuleType, folder: Path) -> Facts:
    """A file written after the second of four batches is resumed at the third."""
    first = trainer(pl, folder, max_steps=2, max_epochs=-1)
    first.fit(tiny(pl)(), loader(4))
    path = folder / "inside.ckpt"
    first.save_checkpoint(path)
    trace = Trace()
    module = recorded_module(pl, trace)
    run = traced_trainer(pl, folder, trace, max_epochs=2)
    run.fit(module, loader(4), ckpt_path=path, weights_only=False)
    return finish(trace, run)


@scenario("hooks")
def hooks_save_checkpoint_by_hand(pl: ModuleType, folder: Path) -> Facts:
    """save_checkpoint inside a training batch, with all state and with the weights only."""

    class Saves(tiny(pl)):  # type: ignore[misc]
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.trainer.save_checkpoint(folder / "all.ckpt")
            self.trainer.save_checkpoint(folder / "weights.ckpt", weights_only=True)

    trace = Trace()
    module, data = recorded_module(pl, trace, Saves), data_module(pl, train=1)()
    run = crowded_trainer(pl, folder, trace, monitor="loss", limit_val_batches=0)
    run.fit(module, datamodule=data)
    return finish(trace, run)
