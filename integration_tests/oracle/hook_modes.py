"""The order of hooks under limits, with parts in evaluation mode, and where a run is saved and resumed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from oracle.rig import crowded_trainer, finish, traced_trainer, trainer
from oracle.scenario import Facts, scenario
from oracle.trace import Trace, data_module, loader, recorded_callback, recorded_data, recorded_module, tiny

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
