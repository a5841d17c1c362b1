"""Modules, callbacks, data modules and loggers that write down every call they get.

Each recorded class overrides every hook of its kind and passes the call on, so that what is written is the order in
which a trainer calls, with the mode (T training, E evaluation) and the gradient mode (g on, n off, i inference).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from itertools import groupby
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

_STAGES = ("validation", "test", "predict")
_EVERY_STAGE = ("train", *_STAGES)

CALLBACK_HOOKS = (
    "setup",
    "teardown",
    "on_fit_start",
    "on_fit_end",
    "on_sanity_check_start",
    "on_sanity_check_end",
    *(f"on_{stage}_{edge}" for stage in _EVERY_STAGE for edge in ("start", "end")),
    *(f"on_{stage}_epoch_{edge}" for stage in _EVERY_STAGE for edge in ("start", "end")),
    *(f"on_{stage}_batch_{edge}" for stage in _EVERY_STAGE for edge in ("start", "end")),
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_exception",
    "on_save_checkpoint",
    "on_load_checkpoint",
    "state_dict",
    "load_state_dict",
)
TRANSFER_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
LOADER_HOOKS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")
MODULE_HOOKS = (
    "prepare_data",
    "configure_callbacks",
    "configure_model",
    "configure_optimizers",
    *(name for name in CALLBACK_HOOKS if name != "on_exception" and "sanity" not in name),
    "training_step",
    "validation_step",
    "test_step",
    "predict_step",
    "on_validation_model_zero_grad",
    "on_validation_model_eval",
    "on_test_model_eval",
    "on_predict_model_eval",
    "optimizer_step",
    "optimizer_zero_grad",
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
)
DATA_HOOKS = (
    "prepare_data",
    "setup",
    "teardown",
    *LOADER_HOOKS,
    *TRANSFER_HOOKS,
    "on_exception",
    "state_dict",
    "load_state_dict",
)


class Trace:
    """The calls, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.module: nn.Module | None = None

    def add(self, who: str, what: str) -> None:
        """Note that `who` was asked for `what`, and in which mode."""
        training = self.module is not None and self.module.training
        grad = "i" if torch.is_inference_mode_enabled() else "g" if torch.is_grad_enabled() else "n"
        self.events.append((who, f"{what} {'T' if training else 'E'}{grad}"))

    def add_once(self, who: str, what: str) -> None:
        """As `add`, unless it is what `who` was asked for last: saving what is saved already is no event."""
        last = next((event.rpartition(" ")[0] for each, event in reversed(self.events) if each == who), "")
        if last != what:
            self.add(who, what)

    def lines(self) -> list[str]:
        """One line for neighbours that got the same call: `cb,mc,lm.on_train_start Tg`."""
        runs = groupby(self.events, key=lambda event: event[1])
        return [f"{','.join(who for who, _ in run)}.{what}" for what, run in runs]


def _detail(arguments: Mapping[str, Any]) -> str:
    """What of a call's arguments tells it from its neighbours: `#batch/loader`, or the stage."""
    text = f"#{arguments['batch_idx']}" if "batch_idx" in arguments else ""
    if "dataloader_idx" in arguments:
        text += f"/{arguments['dataloader_idx']}"
    stage = arguments.get("stage", "")
    return text + (f"({stage.value if isinstance(stage, Enum) else stage})" if stage else "")


def _recorded_hook(trace: Trace, who: str, name: str, inherited: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(inherited)

    def hook(self: Any, *args: Any, **kwargs: Any) -> Any:
        trace.add(who, name + _detail(signature.bind(self, *args, **kwargs).arguments))
        return inherited(self, *args, **kwargs)

    # Not functools.wraps: a trainer that follows `__wrapped__` would take the hook for the one it wraps.
    hook.__name__ = name
    hook.__qualname__ = f"Recorded.{name}"
    hook.__signature__ = signature  # type: ignore[attr-defined]
    return hook


def recorded(base: type, trace: Trace, who: str, hooks: tuple[str, ...]) -> type:
    """A subclass of `base` whose `hooks` are written to `trace` under the name `who`."""
    return type(f"Recorded_{who}", (base,), {n: _recorded_hook(trace, who, n, getattr(base, n)) for n in hooks})


def rows(count: int) -> TensorDataset:
    """`count` samples of two small numbers each, x = 1, 2, … and y = 2x."""
    x = torch.arange(1, count + 1, dtype=torch.float32).unsqueeze(1) / 8
    return TensorDataset(x, 2 * x)


def loader(batches: int, batch_size: int = 2, *, short_by: int = 0) -> DataLoader[Any]:
    """A loader of so many batches; the last one lacks `short_by` samples."""
    return DataLoader(rows(batches * batch_size - short_by), batch_size=batch_size)


def tiny(pl: ModuleType) -> type:
    """A linear module with every step, an SGD optimizer and a scheduler stepped each epoch."""

    class Tiny(pl.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)
            nn.init.constant_(self.layer.weight, 0.5)
            nn.init.constant_(self.layer.bias, 0.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

        def loss(self, batch: list[Tensor]) -> Tensor:
            return (self(batch[0]) - batch[1]).pow(2).mean()

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            loss = self.loss(batch)
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> Any:
            self.log("val_loss", self.loss(batch))

        def test_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> Any:
            self.log("test_loss", self.loss(batch))

        def predict_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> Any:
            return self(batch[0])

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.125)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]

    return Tiny


def recorded_module(pl: ModuleType, trace: Trace, base: type | None = None, *, own_data: bool = False) -> Any:
    """An instance of `base` (default: `tiny`) that writes down its hooks, with `own_data` also those of data."""
    extra = (*LOADER_HOOKS, *TRANSFER_HOOKS) if own_data else ()
    module = recorded(base or tiny(pl), trace, "lm", MODULE_HOOKS + extra)()
    trace.module = module
    return module


def recorded_callback(pl: ModuleType, trace: Trace, who: str, base: type | None = None, **arguments: Any) -> Any:
    """An instance of `base` (default: a callback that does nothing) that writes down its hooks."""
    return recorded(base or pl.Callback, trace, who, CALLBACK_HOOKS)(**arguments)


def data_module(pl: ModuleType, train: int = 2, other: tuple[int, ...] = (2,)) -> type:
    """A data module with `train` training batches and one evaluation loader for each number in `other`."""

    class Data(pl.LightningDataModule):  # type: ignore[name-defined, misc]
        def train_dataloader(self) -> Any:
            return loader(train)

        def val_dataloader(self) -> Any:
            loaders = [loader(count) for count in other]
            return loaders if len(loaders) > 1 else loaders[0]

        test_dataloader = predict_dataloader = val_dataloader

        def state_dict(self) -> dict[str, Any]:
            return {"seen": 1}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            assert state_dict == {"seen": 1}

    return Data


def recorded_data(pl: ModuleType, trace: Trace, train: int = 2, other: tuple[int, ...] = (2,)) -> Any:
    """A data module that writes down its hooks."""
    return recorded(data_module(pl, train, other), trace, "dm", DATA_HOOKS)()


def recorded_logger(pl: ModuleType, trace: Trace, table: list[list[Any]] | None = None) -> Any:
    """A logger that writes down its calls, and every row as `[step, metrics]` into `table` where one is given."""

    class Recorded(pl.loggers.Logger):  # type: ignore[name-defined, misc]
        name = "recorded"
        version = 0

        @property
        def experiment(self) -> None:
            trace.add_once("log", "experiment")

        def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
            trace.add("log", f"log_metrics {step} {','.join(sorted(metrics))}")
            if table is not None:
                table.append([step, numbers(metrics)])

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            trace.add("log", f"log_hyperparams {','.join(sorted(params))}")

        def log_graph(self, model: Any, input_array: Any = None) -> None:
            trace.add("log", "log_graph")

        def save(self) -> None:
            trace.add_once("log", "save")

        def finalize(self, status: str) -> None:
            trace.add("log", f"finalize {status}")

        def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
            trace.add("log", "after_save_checkpoint")

    return Recorded()


def numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metric values as short numbers: whole ones as they are, others to six significant digits."""
    return {name: number(value) for name, value in sorted(metrics.items())}


def number(value: Any) -> float | str:
    """A value that JSON holds: rounded, because two right ways of summing may differ in the last bit."""
    if isinstance(value, dict):
        return str(numbers(value))
    return float(f"{float(value):.6g}")
