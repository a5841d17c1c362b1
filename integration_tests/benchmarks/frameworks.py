"""The same work in each framework, as its documentation writes it.

lt is Lightning's code with another import: that is its promise, and it keeps the two measurements alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch
from workload import loss_of, network, optimizer

Run = Callable[[Any], None]


def _module(pl: ModuleType, *, log: bool, prog_bar: bool) -> Any:
    class Bare(pl.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return loss_of(self.net, batch)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            loss_of(self.net, batch)

        def configure_optimizers(self) -> Any:
            return optimizer(self.net)

    class Logs(Bare):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = loss_of(self.net, batch)
            self.log("loss", loss, prog_bar=prog_bar)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", loss_of(self.net, batch), prog_bar=prog_bar)

    return (Logs if log else Bare)()


_OFF = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def bare_trainer(pl: ModuleType, **arguments: Any) -> Any:
    """A trainer with everything switched off that can be left out."""
    return pl.Trainer(accelerator="cpu", devices=1, max_epochs=1, **{**_OFF, **arguments})


def _lightning_like(pl: ModuleType) -> dict[str, Run]:
    def fit(batches: Any, *, log: bool = False) -> None:
        bare_trainer(pl).fit(_module(pl, log=log, prog_bar=False), batches)

    def fit_with_defaults(batches: Any) -> None:
        with TemporaryDirectory() as folder:
            logger = pl.loggers.CSVLogger(folder)
            trainer = pl.Trainer(accelerator="cpu", devices=1, max_epochs=1, default_root_dir=folder, logger=logger)
            trainer.fit(_module(pl, log=True, prog_bar=True), batches)

    def evaluate(batches: Any, *, log: bool = False) -> None:
        bare_trainer(pl).validate(_module(pl, log=log, prog_bar=False), batches, verbose=False)

    return {
        "step, bare": fit,
        "step, bare, DataLoader": fit,
        "step, one self.log": lambda batches: fit(batches, log=True),
        "step, all defaults": fit_with_defaults,
        "evaluation, bare": evaluate,
        "evaluation, one self.log": lambda batches: evaluate(batches, log=True),
    }


def lt() -> dict[str, Run]:
    """The framework of this repository."""
    return _lightning_like(importlib.import_module("lt"))


def lightning() -> dict[str, Run]:
    """The framework whose interface lt has."""
    return _lightning_like(importlib.import_module("lightning.pytorch"))


def accelerate() -> dict[str, Run]:
    """Accelerate: the hand-written loop with prepared parts."""
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    def fit(batches: Any) -> None:
        accelerator = Accelerator(cpu=True)
        net = network()
        model, sgd = accelerator.prepare(net, optimizer(net))
        if isinstance(batches, DataLoader):
            batches = accelerator.prepare(batches)
        for batch in batches:
            sgd.zero_grad()
            loss = loss_of(model, batch)
            accelerator.backward(loss)
            sgd.step()

    def evaluate(batches: Any) -> None:
        model = Accelerator(cpu=True).prepare(network()).eval()
        with torch.inference_mode():
            for batch in batches:
                loss_of(model, batch)

    return {"step, bare": fit, "step, bare, DataLoader": fit, "evaluation, bare": evaluate}


def ignite() -> dict[str, Run]:
    """Ignite: an engine around a step of one's own."""
    from ignite.engine import Engine

    def fit(batches: Any) -> None:
        model = network()
        sgd = optimizer(model)

        def update(engine: Any, batch: Any) -> Any:
            sgd.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()
            sgd.step()
            return loss

        Engine(update).run(batches, max_epochs=1)

    def evaluate(batches: Any) -> None:
        model = network().eval()
        with torch.inference_mode():
            Engine(lambda engine, batch: loss_of(model, batch)).run(batches, max_epochs=1)

    return {"step, bare": fit, "step, bare, DataLoader": fit, "evaluation, bare": evaluate}


# What is measured, under the name of the module that has to be importable.
FRAMEWORKS: dict[str, Callable[[], dict[str, Run]]] = {
    "lt": lt,
    "lightning": lightning,
    "accelerate": accelerate,
    "ignite": ignite,
}
DISTRIBUTIONS = {"lt": "lt", "lightning": "lightning", "accelerate": "accelerate", "ignite": "pytorch-ignite"}
