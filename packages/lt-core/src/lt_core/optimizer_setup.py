"""What `configure_optimizers` returned, in whichever form, as one list of optimizers and one of scheduler configs.

Everything that could be wrong with it is found here, before the first batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from lt_core.errors import (
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    did_you_mean,
)
from lt_core.hooks import is_overridden
from lt_core.mock_optimizer import MockOptimizer
from lt_core.module import LightningModule
from lt_core.rank_zero import rank_zero_warn
from lt_core.scheduler_config import LRSchedulerConfig
from lt_core.whole_number import as_whole

if TYPE_CHECKING:
    from torch import nn

__all__ = ["OptimizationSetup", "configure_optimizers"]

_FORMS = """
  * an optimizer
  * a list of optimizers (manual optimisation)
  * ([optimizers], [schedulers or scheduler dicts])
  * {"optimizer": optimizer, "lr_scheduler": scheduler or scheduler dict, "monitor": "val_loss"}
  * a list of such dicts (manual optimisation)
  * None, to train without an optimizer"""
_OPTIMIZER_KEYS = ("optimizer", "lr_scheduler", "monitor")
_SCHEDULER_KEYS = tuple(field.name for field in fields(LRSchedulerConfig))
_AUTOMATIC_KEYS = ("reduce_on_plateau", "monitor", "strict")
_OPTIMIZER_PARTS = ("step", "zero_grad", "state_dict", "load_state_dict", "param_groups")


@dataclass(frozen=True)
class OptimizationSetup:
    """The optimizers of a module and how their schedulers step.

    Attributes:
        optimizers: In the order in which they were returned.
        schedulers: As are these.
    """

    optimizers: list[Optimizer]
    schedulers: list[LRSchedulerConfig]


@dataclass(frozen=True)
class _Returned:
    """The parts of what was returned; each scheduler with the metric named beside it, if any."""

    optimizers: list[Any]
    schedulers: list[tuple[Any, str | None]]


def configure_optimizers(module: LightningModule, *, automatic: bool) -> OptimizationSetup:
    """Ask a module for its optimizers and schedulers.

    Args:
        module: The module, on its device.
        automatic: Whether the trainer steps them; in manual optimisation ``training_step`` does.

    Raises:
        MisconfigurationException: What was returned has no known form, several optimizers were returned for automatic
            optimisation, or a scheduler cannot be stepped as it is configured.

    Example:
        >>> import torch
        >>> class Model(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(2, 1)
        ...     def configure_optimizers(self):
        ...         sgd = torch.optim.SGD(self.parameters(), lr=0.1)
        ...         return {"optimizer": sgd, "lr_scheduler": torch.optim.lr_scheduler.StepLR(sgd, 1)}
        >>> setup = configure_optimizers(Model(), automatic=True)
        >>> len(setup.optimizers), setup.schedulers[0].interval
        (1, 'epoch')
    """
    returned = module.configure_optimizers()
    if returned is None or (automatic and isinstance(returned, (list, tuple)) and not returned):
        rank_zero_warn(
            f"`{type(module).__name__}.configure_optimizers` returned {returned!r}: training runs and changes no"
            " weights. Return an optimizer to train."
        )
        returned = MockOptimizer()
    parts = _take_apart(returned, module)
    if automatic and len(parts.optimizers) > 1:
        raise _several_optimizers(len(parts.optimizers), module)
    configs = [_config(scheduler, monitor, automatic=automatic) for scheduler, monitor in parts.schedulers]
    for config in configs:
        _check_scheduler(config.scheduler, parts.optimizers, module, automatic=automatic)
    return OptimizationSetup(optimizers=parts.optimizers, schedulers=configs)


# -- the forms


def _is_optimizer(candidate: Any) -> bool:
    if isinstance(candidate, type):
        return False
    return isinstance(candidate, Optimizer) or all(hasattr(candidate, part) for part in _OPTIMIZER_PARTS)


def _are_optimizers(candidates: Any) -> bool:
    return isinstance(candidates, (list, tuple)) and all(_is_optimizer(candidate) for candidate in candidates)


def _take_apart(returned: Any, module: nn.Module) -> _Returned:
    if _is_optimizer(returned):
        return _Returned([returned], [])
    if isinstance(returned, Mapping):
        return _of_dicts([returned], module)
    if isinstance(returned, (list, tuple)):
        if all(isinstance(item, Mapping) for item in returned):
            return _of_dicts(returned, module)
        if _are_optimizers(returned):
            return _Returned(list(returned), [])
        if len(returned) == 2 and _are_optimizers(returned[0]):
            return _Returned(list(returned[0]), [(scheduler, None) for scheduler in _listed(returned[1])])
    raise _unknown_form(returned, module)


def _listed(schedulers: Any) -> list[Any]:
    if schedulers is None:
        return []
    return list(schedulers) if isinstance(schedulers, (list, tuple)) else [schedulers]


def _of_dicts(dicts: Sequence[Mapping[str, Any]], module: nn.Module) -> _Returned:
    optimizers = []
    schedulers = []
    for entry in dicts:
        _warn_of_extra_keys(entry, _OPTIMIZER_KEYS, "the dict that `configure_optimizers` returned")
        if "optimizer" not in entry or not _is_optimizer(entry["optimizer"]):
            raise _unknown_form(entry, module)
        optimizers.append(entry["optimizer"])
        if entry.get("lr_scheduler") is not None:
            schedulers.append((entry["lr_scheduler"], entry.get("monitor")))
    return _Returned(optimizers, schedulers)


def _unknown_form(returned: Any, module: nn.Module) -> MisconfigurationException:
    fix = ""
    if isinstance(returned, Mapping) and "optimizer" not in returned:
        near = next((hint for key in returned if (hint := did_you_mean(str(key), ["optimizer"]))), "")
        fix = f' The dict has no key "optimizer".{near}'
    elif isinstance(returned, type) and issubclass(returned, Optimizer):
        fix = f" This is a class: write `{returned.__name__}(self.parameters(), lr=…)`."
    elif isinstance(returned, LRScheduler):
        fix = " This is a scheduler alone: return its optimizer, too, as ([optimizer], [scheduler])."
    return MisconfigurationException(
        f"`{type(module).__name__}.configure_optimizers` returned {returned!r}, which has no known form.{fix} Expected"
        f" one of:{_FORMS}"
    )


def _several_optimizers(number: int, module: nn.Module) -> MisconfigurationException:
    names = ", ".join(f"optimizer_{index + 1}" for index in range(number))
    return MisconfigurationException(
        f"`{type(module).__name__}.configure_optimizers` returned {number} optimizers, and automatic optimisation"
        " cannot know which loss belongs to which. Expected one optimizer (it may have several parameter groups), or"
        f" manual optimisation. Write:\n\n"
        f"    def __init__(self):\n"
        f"        super().__init__()\n"
        f"        self.automatic_optimization = False\n\n"
        f"    def training_step(self, batch, batch_idx):\n"
        f"        {names} = self.optimizers()\n"
        f"        loss_1 = …\n"
        f"        optimizer_1.zero_grad()\n"
        f"        self.manual_backward(loss_1)\n"
        f"        optimizer_1.step()\n"
        f"        …\n"
    )


# -- schedulers


def _warn_of_extra_keys(entry: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    extra = [str(key) for key in entry if key not in known]
    if extra:
        listed = ", ".join(f"`{key}`" for key in extra)
        hints = "".join(did_you_mean(key, known) for key in extra)
        rank_zero_warn(
            f"Unknown keys in {what}: {listed}; they have no effect.{hints} Expected only"
            f" {', '.join(f'`{key}`' for key in known)}.",
            category=RuntimeWarning,
        )


def _config(scheduler: Any, beside: str | None, *, automatic: bool) -> LRSchedulerConfig:
    """Make the config of one scheduler; ``beside`` is the metric named in the dict that holds it."""
    entry = dict(scheduler) if isinstance(scheduler, Mapping) else {"scheduler": scheduler}
    _warn_of_extra_keys(entry, _SCHEDULER_KEYS, "a scheduler dict")
    entry = {key: value for key, value in entry.items() if key in _SCHEDULER_KEYS}
    if "scheduler" not in entry:
        raise MisconfigurationException(
            f"A scheduler dict has the keys {sorted(entry)} and not `scheduler`. Expected the scheduler itself under"
            ' that key. Write {"scheduler": scheduler, "interval": "epoch"}.'
        )
    _check_interval(entry)
    if not automatic:
        return _manual_config(entry)
    plateau = entry.setdefault("reduce_on_plateau", isinstance(entry["scheduler"], ReduceLROnPlateau))
    if plateau and entry.get("monitor") is None:
        entry["monitor"] = beside
        if beside is None:
            raise MisconfigurationException(
                f"`{type(entry['scheduler']).__name__}` steps with a metric, and no `monitor` names one. Expected the"
                ' name of a logged value. Write {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler,'
                ' "monitor": "val_loss"}}.'
            )
    if isinstance(entry["scheduler"], OneCycleLR) and entry.get("interval", "epoch") == "epoch":
        rank_zero_warn(
            "`OneCycleLR` is stepped once per epoch, but its cycle is usually given in optimizer steps. Write"
            ' {"scheduler": scheduler, "interval": "step"} unless epochs are meant.',
            category=RuntimeWarning,
        )
    return LRSchedulerConfig(**entry)


def _manual_config(entry: dict[str, Any]) -> LRSchedulerConfig:
    ignored = [key for key in _AUTOMATIC_KEYS if key in entry]
    if ignored:
        rank_zero_warn(
            f"The keys {ignored} of a scheduler dict have no effect in manual optimisation: nobody but `training_step`"
            " steps the scheduler. Remove them and call `self.lr_schedulers().step()`, with the metric where it needs"
            " one.",
            category=RuntimeWarning,
        )
    return LRSchedulerConfig(**{key: value for key, value in entry.items() if key not in _AUTOMATIC_KEYS})


def _check_interval(entry: Mapping[str, Any]) -> None:
    interval = entry.get("interval", "epoch")
    if interval not in ("epoch", "step"):
        raise MisconfigurationValueError(
            f'The scheduler dict has "interval": {interval!r}. Expected "epoch" or "step".'
            f'{did_you_mean(str(interval), ("epoch", "step"))} Write "interval": "step" for each optimizer step.'
        )
    frequency = as_whole(entry.get("frequency", 1))
    if frequency is None or frequency < 1:
        raise MisconfigurationValueError(
            f'The scheduler dict has "frequency": {entry["frequency"]!r}. Expected a whole number of at least 1. Write'
            ' "frequency": 1 to step each time.'
        )


def _check_scheduler(scheduler: Any, optimizers: list[Any], module: LightningModule, *, automatic: bool) -> None:
    name = scheduler.__name__ if isinstance(scheduler, type) else type(scheduler).__name__
    stateful = all(callable(getattr(scheduler, part, None)) for part in ("state_dict", "load_state_dict"))
    if isinstance(scheduler, type) or not stateful:
        raise MisconfigurationTypeError(
            f"The scheduler {scheduler!r} cannot be saved. Expected an instance with `state_dict` and"
            f" `load_state_dict`. Write `{name}(optimizer, …)`, or give the class these methods."
        )
    mine = getattr(scheduler, "optimizer", None)
    if mine is not None and not any(mine is optimizer for optimizer in optimizers):
        raise MisconfigurationException(
            f"The scheduler `{name}` belongs to an optimizer that `configure_optimizers` did not return:"
            f" {type(mine).__name__}. Expected the optimizer of each scheduler among those returned. Return it, too, or"
            " construct the scheduler with the one that is returned."
        )
    overridden = is_overridden("lr_scheduler_step", module, LightningModule)
    if automatic and not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)) and not overridden:
        raise MisconfigurationException(
            f"The scheduler `{name}` is not one of torch's, so it is not known how it steps. Expected a subclass of"
            " `torch.optim.lr_scheduler.LRScheduler`, or a module that says how. Write\n\n"
            "    def lr_scheduler_step(self, scheduler, metric):\n"
            "        scheduler.step(epoch=self.current_epoch)\n"
        )
