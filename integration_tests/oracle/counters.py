"""Counters and flags at each hook, files of checkpoints, schedulers, and the CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from oracle.rig import trainer
from oracle.scenario import Difference, Facts, scenario
from oracle.trace import CALLBACK_HOOKS, data_module, loader, number, tiny

_FLAGS = ("training", "sanity_checking", "validating", "testing", "predicting", "evaluating")


def _counter(pl: ModuleType, lines: list[str]) -> Any:
    """A callback that writes the counters down in every hook."""

    def teller(hook: str) -> Callable[..., Any]:
        def tell(self: Any, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
            flags = "+".join(flag for flag in _FLAGS if getattr(trainer, flag))
            lines.append(
                f"{hook}: step {trainer.global_step} epoch {trainer.current_epoch} "
                f"last {int(trainer.is_last_batch)} of {trainer.num_training_batches} {flags} "
                f"{trainer.state.fn.value} {trainer.state.status.value}"
            )

        return tell

    hooks = {name: teller(name) for name in CALLBACK_HOOKS if "state_dict" not in name and "checkpoint" not in name}
    return type("Counter", (pl.Callback,), hooks)()


@scenario("counters")
def counters_fit(pl: ModuleType, folder: Path) -> Facts:
    """global_step, current_epoch, is_last_batch and the stage flags in every hook of a fit of two epochs."""
    lines: list[str] = []
    run = trainer(pl, folder, max_epochs=2, num_sanity_val_steps=1, callbacks=[_counter(pl, lines)])
    run.fit(tiny(pl)(), loader(2), loader(1))
    return {"lines": lines, "after": [run.global_step, run.current_epoch, run.num_val_batches, run.max_steps]}


@scenario("counters")
def counters_accumulation(pl: ModuleType, folder: Path) -> Facts:
    """The same while two batches make a step."""
    lines: list[str] = []
    run = trainer(pl, folder, max_epochs=2, accumulate_grad_batches=2, callbacks=[_counter(pl, lines)])
    run.fit(tiny(pl)(), loader(3))
    return {"lines": [line for line in lines if "batch" in line or "epoch_" in line], "steps": run.global_step}


@scenario("counters")
def counters_evaluation(pl: ModuleType, folder: Path) -> Facts:
    """The same in validate, test and predict."""
    lines: list[str] = []
    run = trainer(pl, folder, callbacks=[_counter(pl, lines)])
    module = tiny(pl)()
    run.validate(module, loader(1), verbose=False)
    run.test(module, loader(1), verbose=False)
    run.predict(module, loader(1))
    return {"lines": lines}


@scenario("counters")
def counters_limits(pl: ModuleType, folder: Path) -> Facts:
    """Numbers of batches under limits given as counts and as fractions."""
    facts: Facts = {}
    cases = {
        "counts": {"limit_train_batches": 3, "limit_val_batches": 2},
        "fractions": {"limit_train_batches": 0.5, "limit_val_batches": 0.3},
        "one": {"limit_train_batches": 1, "limit_val_batches": 1.0},
        "overfit": {"overfit_batches": 2},
        "none": {"limit_val_batches": 0},
        "interval": {"val_check_interval": 0.3},
    }
    for name, arguments in cases.items():
        run = trainer(pl, folder, **arguments)
        run.fit(tiny(pl)(), loader(10), loader(10))
        facts[name] = [run.num_training_batches, run.num_val_batches, run.num_sanity_val_batches, run.global_step]
    return facts


@scenario("counters")
def counters_estimated_steps(pl: ModuleType, folder: Path) -> Facts:
    """estimated_stepping_batches as configure_optimizers sees it."""
    facts: Facts = {}
    cases = {
        "epochs": {"max_epochs": 3},
        "accumulation": {"max_epochs": 3, "accumulate_grad_batches": 2},
        "steps": {"max_epochs": 3, "max_steps": 4},
        "steps_only": {"max_epochs": -1, "max_steps": 4},
        "limited": {"max_epochs": 2, "limit_train_batches": 2},
    }
    for name, arguments in cases.items():

        class Asks(tiny(pl)):  # type: ignore[misc]
            def configure_optimizers(self, name: str = name) -> Any:
                facts[name] = number(self.trainer.estimated_stepping_batches)
                return super().configure_optimizers()

        trainer(pl, folder, **arguments).fit(Asks(), loader(5))
    return facts


# --------------------------------------------------------------------------------------------------- checkpoints


def _files(pl: ModuleType, folder: Path, *, epochs: int = 2, batches: int = 3, **arguments: Any) -> Facts:
    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("train/a", float(batch_idx))
            return self.loss(batch)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("val_acc", [0.5, 0.25, 0.75, 0.625][self.current_epoch])

    saver = pl.callbacks.ModelCheckpoint(dirpath=folder / "saved", **arguments)
    run = trainer(pl, folder, enable_checkpointing=True, callbacks=[saver], max_epochs=epochs)
    run.fit(Logs(), loader(batches), loader(1))
    written = sorted(str(each.relative_to(folder / "saved")) for each in (folder / "saved").rglob("*.ckpt"))
    best = {Path(path).name: number(score) for path, score in saver.best_k_models.items()}
    return {
        "files": written,
        "best": Path(saver.best_model_path).name,
        "last": Path(saver.last_model_path).name,
        "score": None if saver.best_model_score is None else number(saver.best_model_score),
        "best_k": best,
        "state_key": saver.state_key,
    }


@scenario("counters")
def checkpoint_default_name(pl: ModuleType, folder: Path) -> Facts:
    """The name when none is given, the last epoch's file only."""
    return _files(pl, folder)


@scenario(
    "counters",
    *(
        Difference(
            ("keys",),
            [before, after],
            [before, *added, after],
            "What a resumed run needs to save as an unbroken one would.",
        )
        for before, added, after in (
            ("current_score", ["defer_save_until_validation"], "dirpath"),
            ("kth_value", ["last_checkpoint_saved", "last_global_step_saved"], "last_model_path"),
        )
    ),
    Difference(("keys",), ["monitor"], ["monitor", "seconds_since_last_save"], "As above."),
)
def checkpoint_callback_state(pl: ModuleType, folder: Path) -> Facts:
    """What the checkpoint callback keeps in a file."""
    return {"keys": sorted(pl.callbacks.ModelCheckpoint(dirpath=folder).state_dict())}


@scenario("counters")
def checkpoint_templates(pl: ModuleType, folder: Path) -> Facts:
    """Templates with epochs, formats, names with a slash, and without the names."""
    templates = {
        "format": {"filename": "x-{epoch:02d}-{val_acc:.2f}"},
        "slash": {"filename": "x-{train/a:.1f}-{step}"},
        "plain": {"filename": "x-{epoch}-{val_acc:.3f}", "auto_insert_metric_name": False},
        "unknown": {"filename": "x-{nothing:.1f}"},
        "constant": {"filename": "x"},
    }
    return {name: _files(pl, folder / name, **arguments) for name, arguments in templates.items()}


@scenario("counters")
def checkpoint_best(pl: ModuleType, folder: Path) -> Facts:
    """The best one, two and all by a monitored value."""
    cases = {
        "one": {"monitor": "val_acc", "mode": "max"},
        "two": {"monitor": "val_acc", "mode": "max", "save_top_k": 2},
        "least": {"monitor": "val_acc", "save_top_k": 2, "filename": "{val_acc:.3f}"},
        "all": {"monitor": "val_acc", "save_top_k": -1},
        "none": {"monitor": "val_acc", "save_top_k": 0},
    }
    return {name: _files(pl, folder / name, epochs=4, **arguments) for name, arguments in cases.items()}


@scenario("counters")
def checkpoint_last(pl: ModuleType, folder: Path) -> Facts:
    """save_last beside the best, on its own, and as a link."""
    cases = {
        "beside": {"monitor": "val_acc", "mode": "min", "save_last": True},
        "alone": {"save_top_k": 0, "save_last": True},
        "link": {"save_last": "link"},
    }
    return {name: _files(pl, folder / name, epochs=3, **arguments) for name, arguments in cases.items()}


@scenario("counters")
def checkpoint_every(pl: ModuleType, folder: Path) -> Facts:
    """Every so many steps or epochs."""
    cases = {
        "steps": {"every_n_train_steps": 2, "save_top_k": -1},
        "epochs": {"every_n_epochs": 2, "save_top_k": -1},
        "weights": {"save_weights_only": True},
        "all": {"save_top_k": -1},
    }
    return {name: _files(pl, folder / name, epochs=3, **arguments) for name, arguments in cases.items()}


@scenario("counters")
def checkpoint_default_folder(pl: ModuleType, folder: Path) -> Facts:
    """Where files go when nothing is said: with a CSV logger, and without one."""
    for name, logger in {"csv": pl.loggers.CSVLogger(folder / "csv"), "none": False}.items():
        run = trainer(pl, folder / name, logger=logger, enable_checkpointing=True)
        run.fit(tiny(pl)(), loader(2))
    return {"files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())}


_LOOP_STATE = (
    "epoch_progress",
    "epoch_loop.state_dict",
    "epoch_loop.batch_progress",
    "epoch_loop.scheduler_progress",
    "epoch_loop.automatic_optimization.optim_progress",
    "epoch_loop.manual_optimization.optim_step_progress",
    "epoch_loop.val_loop.batch_progress",
)


def _content(path: Path) -> Facts:
    content = torch.load(path, weights_only=False)
    loops = content["loops"]["fit_loop"]
    return {
        "keys": sorted(content),
        "epoch": content["epoch"],
        "global_step": content["global_step"],
        "loops": sorted(content["loops"]),
        "fit_loop": {name: loops[name] for name in _LOOP_STATE},
        "state_dict": sorted(content["state_dict"]),
        "optimizers": [sorted(each) for each in content.get("optimizer_states", [])],
        "schedulers": [each["last_epoch"] for each in content.get("lr_schedulers", [])],
        "callbacks": sorted(content.get("callbacks", {})),
        "hyper_parameters": content.get("hyper_parameters"),
    }


@scenario(
    "counters",
    *(
        Difference(
            (name, "keys"),
            ["lr_schedulers", "optimizer_states"],
            ["lr_schedulers", "lt", "optimizer_states"],
            "Checkpoints hold the random states and what else an exact resume needs, under one key.",
        )
        for name in ("epoch-end", "batch", "validation", "after")
    ),
)
def checkpoint_content(pl: ModuleType, folder: Path) -> Facts:
    """The keys of a file and the progress in it: at an epoch's end, in a batch, after a fit, of weights only."""

    class Saves(tiny(pl)):  # type: ignore[misc]
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if (self.current_epoch, batch_idx) == (1, 1):
                self.trainer.save_checkpoint(folder / "batch.ckpt")

        def on_validation_end(self) -> None:
            if self.current_epoch == 1:
                self.trainer.save_checkpoint(folder / "validation.ckpt")

    saver = pl.callbacks.ModelCheckpoint(dirpath=folder, filename="epoch-end", save_top_k=1)
    run = trainer(pl, folder, enable_checkpointing=True, callbacks=[saver], max_epochs=2, accumulate_grad_batches=2)
    run.fit(Saves(), datamodule=data_module(pl, train=3)())
    run.save_checkpoint(folder / "after.ckpt")
    run.save_checkpoint(folder / "weights.ckpt", weights_only=True)
    return {
        name: _content(folder / f"{name}.ckpt") for name in ("epoch-end", "batch", "validation", "after", "weights")
    }


# ----------------------------------------------------------------------------------------------------- schedulers


def _rates(pl: ModuleType, folder: Path, configure: Callable[[Any], Any], batches: int = 4, **arguments: Any) -> Any:
    rates: list[list[float]] = []

    class Scheduled(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("flat", 1.0, on_step=True, on_epoch=True)
            return self.loss(batch)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("val_flat", 1.0)

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            rates.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])

        def configure_optimizers(self) -> Any:
            return configure(torch.optim.SGD(self.parameters(), lr=1.0))

    run = trainer(pl, folder, max_epochs=3, **arguments)
    run.fit(Scheduled(), loader(batches), loader(1))
    return [rate for each in rates for rate in each]


@scenario("counters")
def schedulers(pl: ModuleType, folder: Path) -> Facts:
    """The learning rate after each batch for every way a scheduler is given."""
    halve = torch.optim.lr_scheduler.StepLR
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau

    def config(**more: Any) -> Callable[[Any], Any]:
        return lambda optimizer: {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": halve(optimizer, 1, gamma=0.5), **more},
        }

    def on_plateau(**more: Any) -> Callable[[Any], Any]:
        return lambda optimizer: {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau(optimizer, factor=0.5, patience=0), **more},
        }

    step = {"interval": "step"}
    return {
        "lists": _rates(pl, folder, lambda optimizer: ([optimizer], [halve(optimizer, 1, gamma=0.5)])),
        "epoch": _rates(pl, folder, config()),
        "epoch every 2": _rates(pl, folder, config(frequency=2)),
        "step": _rates(pl, folder, config(**step)),
        "step every 2": _rates(pl, folder, config(**step, frequency=2)),
        "step every 3": _rates(pl, folder, config(**step, frequency=3)),
        "step, accumulating": _rates(pl, folder, config(**step), batches=5, accumulate_grad_batches=2),
        "plateau epoch": _rates(pl, folder, on_plateau(monitor="flat_epoch")),
        "plateau validation": _rates(pl, folder, on_plateau(monitor="val_flat")),
        "plateau step": _rates(pl, folder, on_plateau(monitor="flat", **step)),
        "plateau step every 2": _rates(pl, folder, on_plateau(monitor="flat", frequency=2, **step)),
    }


# ------------------------------------------------------------------------------------------------------- CSV file


def _csv(pl: ModuleType, folder: Path, steps: int, **arguments: Any) -> list[dict[str, str]]:
    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("tl", float(batch_idx + 1), on_step=True, on_epoch=True)
            return self.loss(batch)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("vl", float(self.current_epoch))

        def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("test", 2.5)

    run = trainer(pl, folder, logger=pl.loggers.CSVLogger(folder), log_every_n_steps=steps, max_epochs=2, **arguments)
    module = Logs()
    run.fit(module, loader(4), loader(1))
    run.test(module, loader(1), verbose=False)
    with (Path(run.logger.log_dir) / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(file)]


@scenario("counters")
def csv_file(pl: ModuleType, folder: Path) -> Facts:
    """The rows of metrics.csv after fit and test, written every step and every second step."""
    return {
        "every": _csv(pl, folder / "one", 1),
        "second": _csv(pl, folder / "two", 2),
        "accumulating": _csv(pl, folder / "three", 1, accumulate_grad_batches=2),
    }
