"""Stochastic weight averaging: a high learning rate at the end of training, and the average of what it visits.

The method and its schedule are those of Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
Generalization", arXiv:1803.05407, as in `torch.optim.swa_utils`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import SWALR, AveragedModel

from lt_callbacks.averaged_copy import parse_device, refuse_sharded, update_average
from lt_callbacks.batch_norm_refresh import normalisations, refresh_batch_norm
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.rank_zero import rank_zero_info, rank_zero_warn
from lt_core.scheduler_config import LRSchedulerConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

    AverageFunction = Callable[[Tensor, Tensor, Tensor], Tensor]

__all__ = ["StochasticWeightAveraging"]

_STRATEGIES = ("cos", "linear")


class StochasticWeightAveraging(Callback):
    """Average the weights at the start of each of the last epochs, under a learning rate schedule of its own.

    From its first epoch on the schedule anneals the learning rate to ``swa_lrs``, in place of the module's own
    scheduler. When training ends, the module gets the average, and the statistics of batch normalisation are measured
    anew in one pass over the training data.

    Args:
        swa_lrs: The learning rate to anneal to: one positive float, or one for each parameter group.
        swa_epoch_start: When to begin: a number of epochs, counted from 1, or as a float the part of ``max_epochs``.
        annealing_epochs: Over how many epochs the rate is annealed; 0 for at once.
        annealing_strategy: ``"cos"`` or ``"linear"``.
        avg_fn: Takes the average, the present weights and how many were averaged, and returns the new average. By
            default all count alike.
        device: Where the average is kept: the CPU by default, None for where the module is.

    Attributes:
        swa_start: The first epoch of averaging, counted from 0.
        swa_end: The last one.
        n_averaged: How often was averaged ``[]``; None before the start.

    Raises:
        MisconfigurationException: An argument is out of its range; or, when fit starts, there are several optimizers or
            schedulers, the numbers of rates and parameter groups differ, the parameters are sharded, or the start is a
            part of a training without end.

    Example:
        >>> StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=5).swa_start
        4
    """

    def __init__(
        self,
        swa_lrs: float | list[float],
        swa_epoch_start: int | float = 0.8,
        annealing_epochs: int = 10,
        annealing_strategy: Literal["cos", "linear"] = "cos",
        avg_fn: AverageFunction | None = None,
        device: torch.device | str | None = torch.device("cpu"),
    ) -> None:
        super().__init__()
        _check_start(swa_epoch_start)
        _check_rates(swa_lrs)
        _check_annealing(annealing_epochs, annealing_strategy)
        if avg_fn is not None and not callable(avg_fn):
            raise MisconfigurationTypeError(
                f"StochasticWeightAveraging got avg_fn={avg_fn!r}; expected a function, as `avg_fn` should be callable."
                " Write for example `avg_fn=lambda average, current, n: average + (current - average) / (n + 1)`."
            )
        self._swa_lrs = swa_lrs
        self._swa_epoch_start = swa_epoch_start
        self._annealing_epochs = annealing_epochs
        self._annealing_strategy: Literal["cos", "linear"] = annealing_strategy
        self._avg_fn = avg_fn if avg_fn is not None else self.avg_fn
        self._device = parse_device(device, "StochasticWeightAveraging")
        self._max_epochs = -1
        self._average_model: AveragedModel | None = None
        self._scheduler: _OwnPace | None = None
        self._latest_update_epoch = -1
        self._restored: dict[str, Any] | None = None
        self._checkpoint: dict[str, Any] | None = None

    @property
    def swa_start(self) -> int:
        """The first epoch of averaging, counted from 0; before fit, of an unknown ``max_epochs`` it is 0."""
        start = self._swa_epoch_start
        epochs = int(max(self._max_epochs, 0) * start) if isinstance(start, float) else start
        return max(epochs - 1, 0)

    @property
    def swa_end(self) -> float:
        """The last epoch of averaging, counted from 0; infinite where training has no end."""
        return float("inf") if self._max_epochs == -1 else self._max_epochs - 1

    @property
    def n_averaged(self) -> Tensor | None:
        """How often was averaged ``[]``; None before the start."""
        return None if self._average_model is None else self._average_model.n_averaged

    # -- a run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin anew with each fit."""
        if stage == "fit":
            self._average_model = self._scheduler = self._restored = self._checkpoint = None
            self._latest_update_epoch = -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what the run has, and find the first epoch."""
        refuse_sharded(pl_module, "StochasticWeightAveraging")
        self._check_optimizers(trainer)
        self._max_epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
        if self._max_epochs == -1 and isinstance(self._swa_epoch_start, float):
            raise MisconfigurationException(
                f"StochasticWeightAveraging(swa_epoch_start={self._swa_epoch_start!r}) begins at a part of the"
                " training, which has no end (`max_epochs=-1`); expected an epoch. Write for example"
                " `swa_epoch_start=10`, or give `max_epochs`."
            )
        if self.swa_start > self.swa_end:
            rank_zero_warn(
                f"StochasticWeightAveraging(swa_epoch_start={self._swa_epoch_start!r}) begins in epoch"
                f" {self.swa_start}, counted from 0, and training is expected to end before, with"
                f" `max_epochs={self._max_epochs}`: nothing is averaged. Write `swa_epoch_start=0.8`."
            )
        if self._restored is not None and self._restored["scheduler_state"] is not None and self._checkpoint:
            # The file has our schedule in the place of the module's, which this run has not replaced yet.
            states = [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]
            self._checkpoint["lr_schedulers"] = states
        self._checkpoint = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on averaging where a resumed run was."""
        if self._restored is not None and self._restored["scheduler_state"] is not None:
            self._start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the first epoch of averaging, and average once in each."""
        epoch = trainer.current_epoch
        if not self.swa_start <= epoch <= self.swa_end:
            return
        if self._average_model is None:
            if epoch != self.swa_start:
                rank_zero_warn(
                    f"StochasticWeightAveraging begins in epoch {epoch}, and was expected to in epoch"
                    f" {self.swa_start}: the run goes on from a checkpoint that was written without it. Nothing before"
                    " this epoch is in the average."
                )
            self._start(trainer, pl_module)
        if self._average_model is not None and epoch > self._latest_update_epoch:
            update_average(self._average_model, pl_module)
            self._latest_update_epoch = epoch

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        """Step the schedule after each epoch."""
        if self._scheduler is not None:
            self._scheduler.advance()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the module the average."""
        if self._average_model is None or not int(self._average_model.n_averaged):
            return
        self.transfer_weights(self._average_model.module, pl_module)
        if normalisations(pl_module):
            rank_zero_info("The statistics of batch normalisation are measured for the averaged weights.")
            refresh_batch_norm(trainer, pl_module)

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """Return the average, the schedule, and how far they are."""
        if self._restored is not None:
            return self._restored
        averaged = self._average_model
        return {
            "n_averaged": 0 if averaged is None else int(averaged.n_averaged),
            "latest_update_epoch": self._latest_update_epoch,
            "scheduler_state": None if self._scheduler is None else self._scheduler.state_dict(),
            "average_model_state": None if averaged is None else averaged.module.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned; it comes into effect when training starts."""
        self._restored = dict(state_dict)
        self._latest_update_epoch = state_dict["latest_update_epoch"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the file, whose schedulers are ours where averaging had begun."""
        self._checkpoint = checkpoint

    # -- the parts

    @staticmethod
    def pl_module_contains_batch_norm(pl_module: nn.Module) -> bool:
        """Tell whether a module has batch normalisation."""
        return any(isinstance(layer, _BatchNorm) for layer in pl_module.modules())

    @staticmethod
    @torch.no_grad()
    def transfer_weights(src_pl_module: nn.Module, dst_pl_module: nn.Module) -> None:
        """Copy the parameters of one module to another of the same architecture."""
        for source, target in zip(src_pl_module.parameters(), dst_pl_module.parameters(), strict=True):
            target.detach().copy_(source)

    @staticmethod
    def avg_fn(averaged_model_parameter: Tensor, model_parameter: Tensor, num_averaged: Tensor) -> Tensor:
        """Return the average ``[…]`` of all parameters ``[…]`` so far, each counted alike."""
        return averaged_model_parameter + (model_parameter - averaged_model_parameter) / (num_averaged + 1)

    def _start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the copy and put the schedule in the place of the module's."""
        restored, self._restored = self._restored, None
        device = pl_module.device if self._device is None else self._device
        self._average_model = AveragedModel(pl_module, device=device, avg_fn=self._avg_fn)  # type: ignore[arg-type]
        if restored is not None and restored["scheduler_state"] is None:
            restored = None  # averaging had not begun
        if restored is not None and restored["average_model_state"] is not None:
            self._average_model.module.load_state_dict(restored["average_model_state"])
            self._average_model.n_averaged.fill_(restored["n_averaged"])
        optimizer = trainer.optimizers[0]
        rates = [group["lr"] for group in optimizer.param_groups]
        self._scheduler = _OwnPace(optimizer, self._swa_lrs, self._annealing_epochs, self._annealing_strategy)
        if restored is not None:
            self._scheduler.load_state_dict(restored["scheduler_state"])
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # making a schedule takes its first step
        _take_the_place_of_schedulers(trainer.lr_scheduler_configs, self._scheduler)

    def _check_optimizers(self, trainer: Trainer) -> None:
        if len(trainer.optimizers) != 1:
            raise MisconfigurationException(
                f"StochasticWeightAveraging works with 1 `optimizer`, and the module has {len(trainer.optimizers)}."
                " Expected one: average with `WeightAveraging`, which needs no schedule, or leave the callback out."
            )
        if len(trainer.lr_scheduler_configs) > 1:
            raise MisconfigurationException(
                "StochasticWeightAveraging puts its schedule in the place of the module's, and is not supported for"
                f" more than 1 `lr_scheduler`: the module has {len(trainer.lr_scheduler_configs)}. Return one from"
                " `configure_optimizers`, for example a `SequentialLR` of them."
            )
        groups = len(trainer.optimizers[0].param_groups)
        if isinstance(self._swa_lrs, list) and len(self._swa_lrs) != groups:
            raise MisconfigurationException(
                f"StochasticWeightAveraging got {len(self._swa_lrs)} rates, swa_lrs={self._swa_lrs!r}, and the"
                f" optimizer has {groups} parameter groups. Expected one for each: write a single float for all."
            )


class _OwnPace(SWALR):
    """torch's schedule, stepped by `advance` alone: trainers have found out which schedulers to step before."""

    def __init__(self, *args: Any) -> None:
        self._advances = True  # making a schedule takes its first step
        super().__init__(*args)
        self._advances = False

    def step(self, *args: Any, **kwargs: Any) -> None:
        if self._advances:
            super().step()

    def advance(self) -> None:
        """Take a step."""
        self._advances = True
        with warnings.catch_warnings():
            # A run that is resumed at the end of an epoch has not stepped its optimizer in this process.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self.step()
        self._advances = False

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "_advances"}


class _Parked:
    """Stands where a scheduler was that steps no more."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.optimizer = getattr(scheduler, "optimizer", None)

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Change nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state."""
        state: dict[str, Any] = self.scheduler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the scheduler its state."""
        self.scheduler.load_state_dict(state_dict)


def _take_the_place_of_schedulers(configs: list[Any], scheduler: _OwnPace) -> None:
    ours = LRSchedulerConfig(scheduler)
    if not configs:
        configs.append(ours)
        return
    replaced = configs[0]
    if replaced.interval != "epoch" or replaced.frequency != 1:
        rank_zero_warn(
            f"The scheduler `{type(replaced.scheduler).__name__}` steps every {replaced.frequency} {replaced.interval}"
            " and is replaced by the schedule of StochasticWeightAveraging, which steps after each epoch."
        )
    rank_zero_info(
        f"Swapping scheduler `{type(replaced.scheduler).__name__}` for the schedule of StochasticWeightAveraging."
    )
    configs[0] = ours
    replaced.scheduler = _Parked(replaced.scheduler)  # whoever found it before the run does not step it any more


def _check_start(start: Any) -> None:
    whole = isinstance(start, int) and not isinstance(start, bool) and start >= 1
    part = isinstance(start, float) and 0 <= start <= 1
    if not (whole or part):
        raise MisconfigurationValueError(
            f"StochasticWeightAveraging got swa_epoch_start={start!r}; expected a >0 integer or a float between 0 and"
            " 1. Write `swa_epoch_start=0.8` for the last fifth of the epochs."
        )


def _check_rates(rates: Any) -> None:
    each = rates if isinstance(rates, list) and rates else [rates]
    if not all(isinstance(rate, float) and rate > 0 for rate in each):
        raise MisconfigurationValueError(
            f"StochasticWeightAveraging got swa_lrs={rates!r}; expected a positive float, or a list of positive floats."
            " Write for example `swa_lrs=1e-2`."
        )


def _check_annealing(epochs: Any, strategy: Any) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise MisconfigurationValueError(
            f"StochasticWeightAveraging got annealing_epochs={epochs!r}; expected a whole number of at least 0. Write"
            " for example `annealing_epochs=5`."
        )
    if strategy not in _STRATEGIES:
        raise MisconfigurationValueError(
            f"StochasticWeightAveraging got annealing_strategy={strategy!r}; expected 'cos' or 'linear'. Write"
            " `annealing_strategy='cos'`."
        )
