"""A module, a callback and a logger that note every call in one list, in order: to compare what a trainer does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from lt_core.callback import Callback
from lt_core.hooks.table import hook_names
from lt_core.logger import Logger
from lt_core.logger_params import convert_params
from lt_core.testing.boring import BoringModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Call", "RecordingCallback", "RecordingLogger", "RecordingModule"]


class Call(NamedTuple):
    """One recorded call.

    Attributes:
        who: ``module``, ``callback`` or ``logger``, or the name that the recorder was given.
        hook: The method's name.
        arguments: What it was called with.
        training: Whether the module was in training mode, None for loggers.
        grad: Whether gradients were recorded.
    """

    who: str
    hook: str
    arguments: tuple[Any, ...]
    training: bool | None
    grad: bool


_UNRECORDED = ("configure_sharded_model",)  # the old name of a hook that is recorded


def _module_hook(name: str) -> Callable[..., Any]:
    original = getattr(BoringModel, name)

    def record(self: RecordingModule, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(Call("module", name, (*args, *kwargs.values()), self.training, torch.is_grad_enabled()))
        return original(self, *args, **kwargs)

    record.__name__, record.__doc__ = name, original.__doc__
    return record


def _callback_hook(name: str) -> Callable[..., Any]:
    def record(self: RecordingCallback, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        arguments = (trainer, pl_module, *args, *kwargs.values())
        self.calls.append(Call(self.who, name, arguments, pl_module.training, torch.is_grad_enabled()))

    record.__name__, record.__doc__ = name, getattr(Callback, name).__doc__
    return record


class RecordingModule(BoringModel):
    """A `BoringModel` that notes each of its hooks and steps.

    Args:
        calls: The list to note in; by default a new one.

    Example:
        >>> from lt_core.testing import MiniTrainer
        >>> module = RecordingModule()
        >>> MiniTrainer(limit_train_batches=1, limit_val_batches=0).fit(module)
        >>> [call.hook for call in module.calls if call.hook.startswith("on_fit")]
        ['on_fit_start', 'on_fit_end']
    """

    def __init__(self, calls: list[Call] | None = None) -> None:
        super().__init__()
        self.calls: list[Call] = [] if calls is None else calls

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the loss under ``x``."""
        return super().validation_step(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the loss under ``y``."""
        return super().test_step(batch, batch_idx)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the outputs ``[B, 2]``."""
        return super().predict_step(batch, batch_idx)


_STEPS = ("training_step", "validation_step", "test_step", "predict_step")


def _step(name: str) -> Callable[..., Any]:
    original = getattr(RecordingModule, name)

    def record(self: RecordingModule, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        arguments = (batch, batch_idx, dataloader_idx)
        self.calls.append(Call("module", name, arguments, self.training, torch.is_grad_enabled()))
        return original(self, *arguments[: 2 if name == "training_step" else 3])

    record.__name__, record.__doc__ = name, original.__doc__
    return record


for _name in hook_names("module"):
    if _name not in _UNRECORDED:
        setattr(RecordingModule, _name, _step(_name) if _name in _STEPS else _module_hook(_name))


class RecordingCallback(Callback):
    """A callback that notes each of its hooks.

    Args:
        calls: The list to note in, for example that of a `RecordingModule`; by default a new one.
        who: How it calls itself there.

    Example:
        >>> from lt_core.testing import BoringModel, MiniTrainer
        >>> recorder = RecordingCallback()
        >>> MiniTrainer(callbacks=[recorder], limit_train_batches=2, limit_val_batches=0).fit(BoringModel())
        >>> sum(call.hook == "on_train_batch_end" for call in recorder.calls)
        2
    """

    def __init__(self, calls: list[Call] | None = None, who: str = "callback") -> None:
        self.calls: list[Call] = [] if calls is None else calls
        self.who = who


for _name in hook_names("callback"):
    setattr(RecordingCallback, _name, _callback_hook(_name))


class RecordingLogger(Logger):
    """A logger that notes each call and keeps what it was given.

    Args:
        calls: The list to note in; by default a new one.

    Attributes:
        rows: The metrics and the step of each row.
        hyperparams: The hyperparameters as they were given.
        statuses: What `finalize` was told.

    Example:
        >>> logger = RecordingLogger()
        >>> logger.log_metrics({"loss": 0.5}, step=3)
        >>> logger.rows
        [({'loss': 0.5}, 3)]
    """

    def __init__(self, calls: list[Call] | None = None) -> None:
        self.calls: list[Call] = [] if calls is None else calls
        self.rows: list[tuple[dict[str, float], int | None]] = []
        self.hyperparams: list[dict[str, Any]] = []
        self.statuses: list[str] = []

    @property
    def name(self) -> str:
        """Always ``recording``."""
        return "recording"

    @property
    def version(self) -> int:
        """Always 0."""
        return 0

    def _note(self, method: str, *arguments: Any) -> None:
        self.calls.append(Call("logger", method, arguments, None, torch.is_grad_enabled()))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._note("log_metrics", dict(metrics), step)
        self.rows.append((dict(metrics), step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._note("log_hyperparams", params)
        self.hyperparams.append(convert_params(params))

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        self._note("log_graph", model)

    def save(self) -> None:
        self._note("save")

    def finalize(self, status: str) -> None:
        self._note("finalize", status)
        self.statuses.append(status)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._note("after_save_checkpoint", checkpoint_callback)

    def values(self, name: str) -> list[float]:
        """Return the values of one metric in the order in which they came."""
        return [row[name] for row, _ in self.rows if name in row]
