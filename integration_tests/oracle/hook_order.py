"""The order of all hooks, for each entry point and for each kind of optimisation and validation."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from oracle.rig import crowded_trainer, finish, traced_trainer
from oracle.scenario import Facts, scenario
from oracle.trace import Trace, loader, recorded_data, recorded_module, tiny

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
