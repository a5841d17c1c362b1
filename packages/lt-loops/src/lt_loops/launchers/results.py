"""What rank 0 brings back to the process that called the trainer, so that it goes on as if it had run there."""

from __future__ import annotations

import inspect
import pickle
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lt_core.rank_zero import rank_zero_warn
from lt_core.state import TrainerFn
from lt_loops.compiled import from_compiled
from lt_loops.launchers.payload import UnpicklableError, dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lt_core.module import LightningModule
    from lt_loops.launchers.call import Call
    from lt_loops.trainer import Trainer

__all__ = ["Known", "bring_back", "collect_results"]

_TRAINER = (
    "state",
    "should_stop",
    "is_last_batch",
    "assigned_ckpt_path",
    "loaded_ckpt_path",
    "num_training_batches",
    "num_val_batches",
    "num_sanity_val_batches",
    "num_test_batches",
    "num_predict_batches",
    "val_check_batch",
)
_FIT_LOOP = ("progress", "max_epochs", "min_epochs", "max_steps", "min_steps")
_LOOPS = ("validate_loop", "test_loop", "predict_loop")
_COUNTERS = ("seen", "last_batches")
_NOT_PICKLABLE = (pickle.PicklingError, TypeError, AttributeError, RuntimeError, ValueError, NotImplementedError)


class Known:
    """Objects that both processes have: they travel by name, so that who held them before still does.

    Args:
        trainer: The trainer, before the call.
        call: The call.
    """

    def __init__(self, trainer: Trainer, call: Call) -> None:
        self._objects: dict[Any, Any] = {
            "trainer": trainer,
            "strategy": trainer.strategy,
            "module": _module(trainer, call),
        }
        self._objects |= {("callback", index): callback for index, callback in enumerate(trainer.callbacks)}
        self._objects |= {("logger", index): logger for index, logger in enumerate(trainer.loggers)}
        for name, value in call.arguments.items():
            if value is not None and name not in (
                "model",
                "verbose",
                "weights_only",
                "return_predictions",
                "ckpt_path",
            ):
                self._objects["argument", name] = value
        self._objects |= {("submodule", name): part for name, part in self.module.named_modules() if name}
        self._objects |= {("parameter", name): part for name, part in self.module.named_parameters()}
        self._objects |= {("buffer", name): part for name, part in self.module.named_buffers()}
        self._names = {id(value): name for name, value in self._objects.items()}

    @property
    def module(self) -> LightningModule:
        """The module of the call."""
        module: LightningModule = self._objects["module"]
        return module

    def kept(self) -> Iterator[tuple[Any, Any]]:
        """Return the callbacks and loggers by name."""
        return ((name, value) for name, value in self._objects.items() if name[0] in ("callback", "logger"))

    def name_of(self, value: Any) -> Any:
        """Return the name of an object, None for one that has none."""
        return self._names.get(id(value))

    def object_of(self, name: Any) -> Any:
        """Return the object of a name."""
        return self._objects[name]


def _module(trainer: Trainer, call: Call) -> Any:
    model = call.arguments["model"]
    if model is None:
        return trainer.lightning_module
    return from_compiled(model) if isinstance(model, torch._dynamo.OptimizedModule) else model  # noqa: SLF001


def _attributes(value: Any, known: Known) -> dict[str, bytes]:
    """Return the attributes that can travel, each pickled on its own."""
    keeps: Any = getattr(type(value), "__getstate__", None)
    own = keeps is not None and keeps is not getattr(object, "__getstate__", None)
    state = value.__getstate__() if own else vars(value)
    travelling = {}
    for name, part in (state if isinstance(state, dict) else {}).items():
        with suppress(*_NOT_PICKLABLE):  # an open file, a lock: the receiver's own stays
            travelling[name] = dumps(_on_cpu(part), known.name_of)
    return travelling


def _on_cpu(value: Any) -> Any:
    """Return a value with its tensors on the CPU: the receiver must not wake a device for them."""
    if isinstance(value, Tensor):
        return value if value.device.type == "cpu" else value.detach().cpu()
    if type(value) is dict:
        return {name: _on_cpu(part) for name, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_on_cpu(part) for part in value)
    return value


def collect_results(trainer: Trainer, call: Call, known: Known, value: Any) -> bytes:
    """Return everything that goes back, pickled; called on rank 0 when the call is over.

    Raises:
        UnpicklableError: What the call returned cannot be sent.
    """
    board = trainer.metrics_board
    try:
        returned = dumps(_on_cpu(value), known.name_of)
    except _NOT_PICKLABLE as error:
        raise UnpicklableError(
            f"`Trainer.{call.name}` returned what cannot be sent to the process that called it ({error}). Expected "
            "values that can be pickled: return tensors, numbers, strings, lists and dicts."
        ) from error
    results = {
        "returned": returned,
        "weights": {name: _on_cpu(part) for name, part in trainer.strategy.lightning_module_state_dict().items()},
        "trainer": {name: getattr(trainer, name) for name in _TRAINER},
        "fit_loop": {name: getattr(trainer.fit_loop, name) for name in _FIT_LOOP},
        "loops": {loop: _counters(getattr(trainer, loop)) for loop in _LOOPS},
        "metrics": (dict(board.callback_metrics), dict(board.logged_metrics), dict(board.progress_bar_metrics)),
        "parts": {name: _attributes(part, known) for name, part in known.kept()},
        "module": _module_attributes(known),
        "callbacks": dumps(list(trainer.callbacks), known.name_of),
    }
    return dumps(results)


def _counters(loop: Any) -> dict[str, Any]:
    return {name: getattr(loop, name) for name in _COUNTERS if name in vars(loop)}


def _module_attributes(known: Known) -> dict[str, bytes]:
    """Return the module's plain attributes, such as a list in which it collects outputs."""
    plain = {name: part for name, part in vars(known.module).items() if not name.startswith("_") and name != "training"}
    return _attributes(_Plain(plain), known)


class _Plain:
    def __init__(self, attributes: dict[str, Any]) -> None:
        vars(self).update(attributes)


def bring_back(trainer: Trainer, call: Call, known: Known, data: bytes) -> Any:
    """Put what `collect_results` collected into the objects of this process.

    Returns:
        What the call returned on rank 0.
    """
    results = loads(data)
    module = known.module
    _load_weights(module, results["weights"])
    for name, value in results["trainer"].items():
        setattr(trainer, name, value)
    for name, value in results["fit_loop"].items():
        setattr(trainer.fit_loop, name, value)
    for loop, counters in results["loops"].items():
        for name, value in counters.items():
            setattr(getattr(trainer, loop), name, value)
    for name, attributes in results["parts"].items():
        _take(known.object_of(name), attributes, known.object_of)
    _take(module, results["module"], known.object_of)
    trainer.callbacks[:] = loads(results["callbacks"], known.object_of)
    trainer.strategy.connect(module)
    trainer.attach(module)
    if call.name == str(TrainerFn.FITTING):
        trainer.fitted = module
    trainer.metrics_board.restore_published(*results["metrics"])
    return loads(results["returned"], known.object_of)


def _take(part: Any, attributes: dict[str, bytes], object_of: Callable[[Any], Any]) -> None:
    for name, data in attributes.items():
        if name in ("trainer", "log", "log_dict") or isinstance(
            inspect.getattr_static(type(part), name, None), property
        ):
            continue
        vars(part)[name] = loads(data, object_of)


def _load_weights(module: LightningModule, weights: dict[str, Tensor]) -> None:
    """Load the trained weights; layers that only ``configure_model`` makes are made here as well."""
    here = module.state_dict()
    if weights.keys() - here.keys():
        module.configure_model()
        here = module.state_dict()
    for name, value in weights.items():
        if name in here and isinstance(value, Tensor) and here[name].shape != value.shape:
            rank_zero_warn(
                f"The weight `{name}` has the shape {tuple(value.shape)} on the ranks and {tuple(here[name].shape)} in "
                "the process that called the trainer, where it stays as it was. Expected modules that keep their "
                "shapes: load the checkpoint instead."
            )
    fitting = {name: value for name, value in weights.items() if name in here and here[name].shape == value.shape}
    nn.Module.load_state_dict(module, fitting, strict=False)
