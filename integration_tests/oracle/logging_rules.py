"""What is logged where: the three dictionaries of a trainer at several moments, and every row of a logger.

The logged values are small whole numbers and their means, so that the comparison is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from oracle.rig import trainer
from oracle.scenario import Facts, scenario
from oracle.trace import Trace, loader, numbers, recorded_logger, tiny

_DICTIONARIES = ("callback_metrics", "logged_metrics", "progress_bar_metrics")
# `v_num` is what the bar shows of a logger's version; it is set by who draws the bar.
_SKIPPED = {"v_num"}


def _moment(trainer: Any) -> list[dict[str, Any]]:
    kept = ({k: v for k, v in getattr(trainer, name).items() if k not in _SKIPPED} for name in _DICTIONARIES)
    return [numbers(each) for each in kept]


def _watcher(pl: ModuleType, moments: dict[str, Any], hooks: tuple[str, ...]) -> Any:
    """A callback, last in the list, that keeps the dictionaries each time one of `hooks` is called."""

    def looker(hook: str) -> Callable[..., None]:
        def look(self: Any, trainer: Any, pl_module: Any, *args: Any) -> None:
            index = f"#{args[-1]}" if "_batch_" in hook else ""
            name = f"{hook}{index} epoch {trainer.current_epoch}"
            while name in moments:
                name += "'"
            moments[name] = _moment(trainer)

        return look

    return type("Watcher", (pl.Callback,), {hook: looker(hook) for hook in hooks})()


_LOOKS = (
    "on_train_batch_end",
    "on_validation_epoch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_epoch_start",
    "on_train_end",
)


def run_logging(
    pl: ModuleType, folder: Path, module: Any, *loaders: Any, looks: tuple[str, ...] = _LOOKS, **kw: Any
) -> Facts:
    table: list[list[Any]] = []
    moments: dict[str, Any] = {}
    logger = recorded_logger(pl, Trace(), table)
    run = trainer(pl, folder, logger=logger, callbacks=[_watcher(pl, moments, looks)], **kw)
    run.fit(module, *loaders)
    return {"moments": moments, "after": _moment(run), "rows": table, "order": list(_DICTIONARIES)}


def logs_in_training(pl: ModuleType, *calls: tuple[str, dict[str, Any]]) -> type:
    """A module whose training step logs `batch_idx + 1 + 10 * epoch` with each of `calls`."""

    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            for name, arguments in calls:
                self.log(name, float(batch_idx + 1 + 10 * self.current_epoch), **arguments)
            return self.loss(batch)

    return Logs


@scenario("logging")
def log_training_on_step(pl: ModuleType, folder: Path) -> Facts:
    """The default of a training step: each step, no mean."""
    return run_logging(pl, folder, logs_in_training(pl, ("a", {}))(), loader(2), max_epochs=2)


@scenario("logging")
def log_training_on_epoch(pl: ModuleType, folder: Path) -> Facts:
    """on_epoch only: the mean weighs a short last batch by its size."""
    module = logs_in_training(pl, ("a", {"on_step": False, "on_epoch": True}))()
    return run_logging(pl, folder, module, loader(3, short_by=1), max_epochs=2)


@scenario("logging")
def log_training_on_both(pl: ModuleType, folder: Path) -> Facts:
    """on_step and on_epoch: three names in callback_metrics, two in the others."""
    module = logs_in_training(pl, ("a", {"on_step": True, "on_epoch": True, "prog_bar": True}))()
    return run_logging(pl, folder, module, loader(3, short_by=1), max_epochs=2)


@scenario("logging")
def log_training_places(pl: ModuleType, folder: Path) -> Facts:
    """prog_bar and logger decide where a value goes; callback_metrics has all of them."""
    module = logs_in_training(
        pl,
        ("bar", {"prog_bar": True, "logger": False}),
        ("row", {}),
        ("neither", {"logger": False}),
        ("bar_mean", {"prog_bar": True, "on_step": False, "on_epoch": True}),
    )()
    return run_logging(pl, folder, module, loader(2))


@scenario("logging")
def log_training_reductions(pl: ModuleType, folder: Path) -> Facts:
    """reduce_fx: the sum, the least, the greatest, and a mean with a batch size that is given."""
    epoch = {"on_step": False, "on_epoch": True}
    module = logs_in_training(
        pl,
        ("sum", {**epoch, "reduce_fx": "sum"}),
        ("least", {**epoch, "reduce_fx": "min"}),
        ("greatest", {**epoch, "reduce_fx": torch.max}),
        ("weighed", {**epoch, "batch_size": 3}),
    )()
    return run_logging(pl, folder, module, loader(3, short_by=1), max_epochs=2)


@scenario("logging")
def log_dictionary(pl: ModuleType, folder: Path) -> Facts:
    """log_dict gives every entry the same arguments; values may be numbers or tensors of one element."""

    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            values = {"whole": batch_idx, "real": 0.5, "yes": True, "one": torch.tensor([2.0])}
            self.log_dict(values, on_epoch=True, prog_bar=True)
            return self.loss(batch)

    return run_logging(pl, folder, Logs(), loader(2))


@scenario("logging")
def log_several_times_in_one_step(pl: ModuleType, folder: Path) -> Facts:
    """The same name twice in one step: the last value is the step's, both are in the mean."""

    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("a", 1.0, on_epoch=True)
            self.log("a", 4.0, on_epoch=True)
            return self.loss(batch)

    return run_logging(pl, folder, Logs(), loader(2))


def _logs_around_batches(pl: ModuleType) -> type:
    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            return self.loss(batch)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("in_step", float(batch_idx))

        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.log("batch_start", 7.0)

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.log("batch_end", 8.0 + batch_idx)

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.log("before_step", 9.0)

    return Logs


@scenario("logging")
def log_in_epoch_hooks(pl: ModuleType, folder: Path) -> Facts:
    """Values logged where an epoch starts and ends, and around the batches."""

    class Logs(_logs_around_batches(pl)):  # type: ignore[misc]
        def on_train_start(self) -> None:
            self.log("train_start", 1.0)

        def on_train_epoch_start(self) -> None:
            self.log("train_epoch_start", 2.0)

        def on_train_epoch_end(self) -> None:
            self.log("train_epoch_end", 3.0 + self.current_epoch, prog_bar=True)

        def on_validation_epoch_start(self) -> None:
            self.log("validation_epoch_start", 5.0)

        def on_validation_epoch_end(self) -> None:
            self.log("validation_epoch_end", 6.0 + self.current_epoch)

    return run_logging(pl, folder, Logs(), loader(2), loader(2), max_epochs=2)


@scenario("logging")
def log_from_callback(pl: ModuleType, folder: Path) -> Facts:
    """A callback logs through the module or through itself."""

    class Logs(pl.Callback):  # type: ignore[name-defined, misc]
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            pl_module.log("through_module", float(batch_idx), on_step=True, on_epoch=True)
            self.log("through_itself", float(2 * batch_idx))

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.log("at_end", 5.0)

    table: list[list[Any]] = []
    moments: dict[str, Any] = {}
    callbacks = [Logs(), _watcher(pl, moments, ("on_train_batch_end", "on_train_epoch_end"))]
    run = trainer(pl, folder, logger=recorded_logger(pl, Trace(), table), callbacks=callbacks)
    run.fit(logs_in_training(pl)(), loader(2))
    return {"moments": moments, "after": _moment(run), "rows": table}


def _validates(pl: ModuleType, **arguments: Any) -> type:
    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("a", float(batch_idx))
            return self.loss(batch)

        def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log("v", float(batch_idx + 1 + 10 * dataloader_idx), **arguments)

        test_step = validation_step

    return Logs


@scenario("logging")
def log_validation(pl: ModuleType, folder: Path) -> Facts:
    """The default of a validation step: the mean over the epoch."""
    return run_logging(pl, folder, _validates(pl)(), loader(2), loader(3, short_by=1), max_epochs=2)


@scenario("logging")
def log_validation_on_step(pl: ModuleType, folder: Path) -> Facts:
    """on_step in validation: a row a batch, counted across the run."""
    module = _validates(pl, on_step=True, on_epoch=True, prog_bar=True)()
    return run_logging(
        pl, folder, module, loader(2), loader(2), max_epochs=2, log_every_n_steps=2, num_sanity_val_steps=0
    )


@scenario("logging")
def log_validation_two_loaders(pl: ModuleType, folder: Path) -> Facts:
    """Two validation loaders: every name carries the loader's index."""
    loaders = [loader(2, short_by=1), loader(1)]
    module = _validates(pl, on_step=True, on_epoch=True, prog_bar=True)()
    return run_logging(pl, folder, module, loader(1), loaders, num_sanity_val_steps=0)


@scenario("logging")
def log_validation_two_loaders_one_name(pl: ModuleType, folder: Path) -> Facts:
    """add_dataloader_idx=False with a name of its own for each loader."""

    class Logs(tiny(pl)):  # type: ignore[misc]
        def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log(f"v{dataloader_idx}", float(batch_idx + 1), add_dataloader_idx=False)

    return run_logging(pl, folder, Logs(), loader(1), [loader(2), loader(1)], num_sanity_val_steps=0)


@scenario("logging")
def log_validation_inside_epoch(pl: ModuleType, folder: Path) -> Facts:
    """Validation in the middle of an epoch leaves what training has gathered as it is."""

    class Logs(tiny(pl)):  # type: ignore[misc]
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.log("a", float(batch_idx + 1), on_step=True, on_epoch=True)
            return self.loss(batch)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.log("v", float(self.global_step))

    return run_logging(pl, folder, Logs(), loader(4), loader(1), val_check_interval=0.5)


@scenario("logging")
def log_returns_of_evaluation(pl: ModuleType, folder: Path) -> Facts:
    """What validate and test return, with one loader and with two, with and without a logger."""

    class Logs(_validates(pl)):  # type: ignore[misc]
        def on_validation_epoch_end(self) -> None:
            self.log("whole", 1.5)
            self.log("hidden", 2.5, logger=False)

        on_test_epoch_end = on_validation_epoch_end

    facts: Facts = {}
    for name, data in {"one": loader(2, short_by=1), "two": [loader(2), loader(1)]}.items():
        table: list[list[Any]] = []
        run = trainer(pl, folder, logger=recorded_logger(pl, Trace(), table))
        returned = run.validate(Logs(), data, verbose=False)
        facts[f"validate {name}"] = [numbers(each) for each in returned]
        facts[f"validate {name} after"] = _moment(run)
        facts[f"validate {name} rows"] = table
        bare = trainer(pl, folder)
        facts[f"test {name} no logger"] = [numbers(each) for each in bare.test(Logs(), data, verbose=False)]
    return facts


@scenario("logging")
def log_returns_of_evaluation_on_step(pl: ModuleType, folder: Path) -> Facts:
    """on_step and on_epoch in a test: the mean is returned, the steps are rows."""
    table: list[list[Any]] = []
    run = trainer(pl, folder, logger=recorded_logger(pl, Trace(), table))
    module = _validates(pl, on_step=True, on_epoch=True)()
    returned = run.test(module, loader(3, short_by=1), verbose=False)
    return {"returned": [numbers(each) for each in returned], "rows": table, "after": _moment(run)}


@scenario("logging")
def log_metric_objects(pl: ModuleType, folder: Path) -> Facts:
    """A torchmetrics object: the step's value, the epoch's value, and its reset between epochs."""
    from torchmetrics import MeanMetric, MetricCollection, SumMetric

    class Logs(tiny(pl)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.mean = MeanMetric()
            self.both = MetricCollection({"m": MeanMetric(), "s": SumMetric()})

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            self.mean(float(batch_idx + 1))
            self.log("mean", self.mean, on_step=True, on_epoch=True)
            return self.loss(batch)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            self.both.update(float(batch_idx + 2))
            self.log_dict(self.both, on_step=False, on_epoch=True)

    return run_logging(
        pl, folder, Logs(), loader(3), loader(2), max_epochs=2, looks=("on_train_batch_end", "on_train_end")
    )
