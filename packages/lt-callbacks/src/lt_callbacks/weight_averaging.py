"""Averages the weights over the course of training: by default all equally, or as an exponential moving average.

The average of the weights along the last part of training generalises better than the last weights do (Polyak and
Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30, 1992; Izmailov et al.,
"Averaging Weights Leads to Wider Optima and Better Generalization", arXiv:1803.05407). Validation and checkpoints show
the average, training goes on with the weights as they are.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.optim.swa_utils import AveragedModel

from lt_callbacks.averaged_copy import ExponentialAverage, parse_device, refuse_sharded, swap_tensors, update_average
from lt_core.callback import Callback
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.errors import (
    CheckpointError,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    did_you_mean,
)
from lt_core.rank_zero import rank_zero_info, rank_zero_warn
from lt_core.state import TrainerFn

if TYPE_CHECKING:
    from pathlib import Path

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["EMAWeightAveraging", "WeightAveraging"]

_CURRENT = "current_model_state"
_STATE = "averaging_state"


class WeightAveraging(Callback):
    """Average the weights, by default after each optimizer step and all equally.

    While fit validates, and when it is over, the module has the averaged weights. A checkpoint holds them in
    ``state_dict``, and the weights that training goes on with in ``current_model_state``. Before the first average is
    taken, both are the module's own. Override `should_update` to say when to average.

    Args:
        device: Where the average is kept; by default where the module is. ``"cpu"`` saves memory on the accelerator.
        use_buffers: Whether buffers (such as the statistics of batch normalisation) are averaged, too. Otherwise the
            average has those that the module had at the last update.
        **kwargs: How to average, as for `torch.optim.swa_utils.AveragedModel`: ``avg_fn`` or ``multi_avg_fn``.

    Raises:
        MisconfigurationTypeError: An argument is unknown or of the wrong type.
        MisconfigurationValueError: Both functions were given, or there is no such device.
        MisconfigurationException: When fit starts: the module's parameters are sharded.

    Example:
        >>> class FromStep100(WeightAveraging):
        ...     def should_update(self, step_idx=None, epoch_idx=None):
        ...         return step_idx is not None and step_idx >= 100
        >>> FromStep100().should_update(step_idx=99), FromStep100().should_update(step_idx=100)
        (False, True)
    """

    def __init__(
        self,
        device: torch.device | str | int | None = None,
        use_buffers: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        **kwargs: Any,
    ) -> None:
        super().__init__()
        _check_averaging(type(self).__name__, kwargs)
        self._device = parse_device(device, type(self).__name__)
        self._use_buffers = use_buffers
        self._averaging = kwargs
        self._average_model: AveragedModel | None = None
        self._to_restore: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._latest_update_step = 0
        self._latest_update_epoch = -1
        self._latest_step = 0  # up to which `should_update` was asked
        self._swapped = False  # whether the module has the averaged weights and the copy the module's own
        self._swapped_for_validation = False

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Say whether to average now. Asked after each optimizer step and after each training epoch.

        Args:
            step_idx: The step just taken, counted from 0; None at the end of an epoch.
            epoch_idx: The epoch just over, counted from 0; None after a step.

        Returns:
            By default True after steps, False after epochs.
        """
        return step_idx is not None

    # -- a run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin anew with each fit."""
        if stage != "fit":
            return
        self._average_model = self._to_restore = None
        self._latest_update_step, self._latest_update_epoch, self._latest_step = 0, -1, 0
        self._swapped = self._swapped_for_validation = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the copy, when the module has all its layers, in their precision and on their device."""
        refuse_sharded(pl_module, type(self).__name__)
        device = pl_module.device if self._device is None else self._device
        self._average_model = AveragedModel(pl_module, device=device, use_buffers=self._use_buffers, **self._averaging)
        if self._to_restore is not None:
            self._restore_average(*self._to_restore, strict=pl_module.strict_loading)
            self._to_restore = None
        weights_only = [cb for cb in trainer.checkpoint_callbacks if getattr(cb, "save_weights_only", False)]
        if weights_only:
            rank_zero_warn(
                f"`{type(weights_only[0]).__name__}(save_weights_only=True)` writes the weights as they are in"
                f" training: callbacks such as {type(self).__name__} have no part in such files. Expected full"
                " checkpoints. Write `save_weights_only=False` to have the averaged weights in the files."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from where a resumed run is."""
        self._latest_step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Average after an optimizer step where `should_update` says so."""
        step = trainer.global_step
        if step <= self._latest_step:
            return  # the batch did not end a window
        self._latest_step = step
        if self.should_update(step_idx=step - 1):
            self._update(pl_module)
            self._latest_update_step = step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Average after an epoch where `should_update` says so."""
        epoch = trainer.current_epoch
        if epoch > self._latest_update_epoch and self.should_update(epoch_idx=epoch):
            self._update(pl_module)
            self._latest_update_epoch = epoch

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the module with the averaged weights, and keep its own for a checkpoint that is yet to come."""
        if self._has_average and not self._swapped:
            self._swap(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the averaged weights."""
        if trainer.state.fn == TrainerFn.FITTING and self._has_average and not self._swapped:
            self._swap(pl_module)
            self._swapped_for_validation = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the module its own weights back."""
        self._end_validation(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the module its own weights back where validation did not come to its end."""
        self._end_validation(pl_module)

    # -- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return when the last averages were taken; the average itself is in the checkpoint's ``state_dict``."""
        return {"latest_update_step": self._latest_update_step, "latest_update_epoch": self._latest_update_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self._latest_update_step = state_dict["latest_update_step"]
        self._latest_update_epoch = state_dict.get("latest_update_epoch", -1)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the averaged weights in ``state_dict`` and the module's own in ``current_model_state``."""
        if self._average_model is None or trainer.state.fn != TrainerFn.FITTING:
            return
        copied = self._average_model.module.state_dict()
        shown = checkpoint["state_dict"]
        if not self._has_average:
            checkpoint[_CURRENT] = shown
        elif self._swapped:
            checkpoint[_CURRENT] = copied
        else:
            checkpoint[_CURRENT], checkpoint["state_dict"] = shown, copied
        state = self._average_model.state_dict()
        checkpoint[_STATE] = {name: value for name, value in state.items() if not name.startswith("module.")}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Give the module the weights that training goes on with, and remember the average for the copy."""
        if trainer.state.fn != TrainerFn.FITTING:
            return  # the averaged weights, which the module has by now, are the ones to evaluate
        if _CURRENT not in checkpoint or _STATE not in checkpoint:
            rank_zero_warn(
                f"The checkpoint was written without {type(self).__name__}; expected `{_CURRENT}` and `{_STATE}` in it."
                " Training goes on from its weights, and averaging begins anew."
            )
            return
        rank_zero_info(f"Training goes on from the weights in `{_CURRENT}`; those in `state_dict` are the average.")
        average = checkpoint["state_dict"], checkpoint[_STATE]
        strict = pl_module.strict_loading
        pl_module.load_state_dict(checkpoint[_CURRENT], strict=strict)
        if self._average_model is None:
            self._to_restore = average
        else:  # strategies that restore late do so when fit has started
            self._restore_average(*average, strict=strict)

    @staticmethod
    def load_weights(
        pl_module: LightningModule, path: str | Path, weights: Literal["averaged", "current"] = "averaged"
    ) -> None:
        """Load one of the two sets of weights of a checkpoint that was written with this callback.

        Args:
            pl_module: The module that gets them.
            path: The checkpoint.
            weights: ``"averaged"`` for the average, ``"current"`` for the weights that training would go on with.

        Raises:
            MisconfigurationValueError: ``weights`` is neither.
            CheckpointError: The file does not hold that set.
        """
        keys = {"averaged": "state_dict", "current": _CURRENT}
        if weights not in keys:
            raise MisconfigurationValueError(
                f"`load_weights` got weights={weights!r}; expected 'averaged' or 'current'."
                f"{did_you_mean(str(weights), keys)} Write `weights='averaged'`."
            )
        checkpoint = load_checkpoint_file(path, map_location=pl_module.device)
        if keys[weights] not in checkpoint:
            raise CheckpointError(
                f"The checkpoint {str(path)!r} has the keys {sorted(checkpoint)}; expected `{keys[weights]}` among"
                " them, as in files that are written with WeightAveraging. Load it with `weights='averaged'`."
            )
        pl_module.load_state_dict(checkpoint[keys[weights]], strict=pl_module.strict_loading)

    # -- the copy

    @property
    def _has_average(self) -> bool:
        return self._average_model is not None and int(self._average_model.n_averaged) > 0

    def _update(self, pl_module: LightningModule) -> None:
        if self._average_model is not None:
            update_average(self._average_model, pl_module)

    def _swap(self, pl_module: LightningModule) -> None:
        if self._average_model is not None:
            swap_tensors(self._average_model, pl_module)
            self._swapped = not self._swapped

    def _end_validation(self, pl_module: LightningModule) -> None:
        if self._swapped_for_validation:
            self._swap(pl_module)
            self._swapped_for_validation = False

    def _restore_average(self, weights: dict[str, Any], state: dict[str, Any], *, strict: bool) -> None:
        if self._average_model is not None:
            self._average_model.module.load_state_dict(weights, strict=strict)
            self._average_model.load_state_dict(state, strict=False)  # all but the weights


class EMAWeightAveraging(WeightAveraging):
    """Keep an exponential moving average of the weights: ``average = decay * average + (1 - decay) * current``.

    The first update takes the weights as they are. Before it, validation and checkpoints show the module's own.

    Args:
        device: As for `WeightAveraging`.
        use_buffers: As for `WeightAveraging`.
        decay: From 0 (the current weights) to 1 (those of the first update).
        update_every_n_steps: Average after each optimizer step whose index, counted from 0, is divisible by this.
        update_starting_at_step: Not after steps with a lower index than this, counted from 0; by default from the
            first step on, or from ``update_starting_at_epoch`` on where that is given alone.
        update_starting_at_epoch: From this epoch on, counted from 0, average at the end of each epoch, too; by default
            never.
        **kwargs: As for `WeightAveraging`; the function is fixed.

    Raises:
        MisconfigurationTypeError: A number is not whole where it has to be, or an argument is unknown.
        MisconfigurationValueError: A number is out of its range.

    Example:
        >>> average = EMAWeightAveraging(decay=0.99, update_every_n_steps=10, update_starting_at_step=100)
        >>> [step for step in range(140) if average.should_update(step_idx=step)]
        [100, 110, 120, 130]
    """

    def __init__(
        self,
        device: torch.device | str | int | None = None,
        use_buffers: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        decay: float = 0.999,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
        update_starting_at_epoch: int | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay <= 1:
            raise MisconfigurationValueError(
                f"EMAWeightAveraging got decay={decay!r}; expected a number from 0 to 1. Write for example"
                " `decay=0.999`."
            )
        _check_whole("update_every_n_steps", update_every_n_steps, at_least=1)
        for name, start in (
            ("update_starting_at_step", update_starting_at_step),
            ("update_starting_at_epoch", update_starting_at_epoch),
        ):
            if start is not None:
                _check_whole(name, start, at_least=0)
        fixed = [name for name in ("avg_fn", "multi_avg_fn") if name in kwargs]
        if fixed:
            raise MisconfigurationTypeError(
                f"EMAWeightAveraging got `{fixed[0]}`; expected none, its average is the exponential one. Write"
                f" `WeightAveraging({fixed[0]}=…)` for another."
            )
        super().__init__(device, use_buffers, multi_avg_fn=ExponentialAverage(decay), **kwargs)
        self.decay = decay
        self.update_every_n_steps = update_every_n_steps
        self.update_starting_at_step = update_starting_at_step
        self.update_starting_at_epoch = update_starting_at_epoch
        self._epoch: int | None = None  # of the run

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Say whether to average now, by the constructor's numbers; see `WeightAveraging.should_update`."""
        if step_idx is not None and self._has_started(step_idx) and step_idx % self.update_every_n_steps == 0:
            return True
        start = self.update_starting_at_epoch
        return epoch_idx is not None and start is not None and epoch_idx >= start

    def _has_started(self, step_idx: int) -> bool:
        step, epoch = self.update_starting_at_step, self.update_starting_at_epoch
        if step is not None:
            return step_idx >= step
        return epoch is None or self._epoch is None or self._epoch >= epoch

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Average after an optimizer step where `should_update` says so."""
        self._epoch = trainer.current_epoch
        super().on_train_batch_end(trainer, pl_module, *args, **kwargs)


def _check_averaging(owner: str, arguments: dict[str, Any]) -> None:
    ours = ("model", "device", "use_buffers")
    known = [name for name in inspect.signature(AveragedModel).parameters if name not in ours]
    for name, function in arguments.items():
        if name not in known:
            raise MisconfigurationTypeError(
                f"{owner} got the unexpected argument {name!r}; expected one of {known}.{did_you_mean(name, known)}"
                " Write for example `multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)`."
            )
        if function is not None and not callable(function):
            raise MisconfigurationTypeError(
                f"{owner} got {name}={function!r}; expected a function. Write for example"
                " `avg_fn=lambda average, current, n: average + (current - average) / (n + 1)`."
            )
    if arguments.get("avg_fn") is not None and arguments.get("multi_avg_fn") is not None:
        raise MisconfigurationValueError(
            f"{owner} got both `avg_fn` and `multi_avg_fn`; expected one. `avg_fn` gets one tensor at a time,"
            " `multi_avg_fn` lists of them, which is faster: leave the other out."
        )


def _check_whole(name: str, value: Any, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise MisconfigurationTypeError(
            f"EMAWeightAveraging got {name}={value!r}, a {type(value).__name__}; expected a whole number. Write for"
            f" example `{name}={max(at_least, 100)}`."
        )
    if value < at_least:
        raise MisconfigurationValueError(
            f"EMAWeightAveraging got {name}={value!r}; expected at least {at_least}. Write for example"
            f" `{name}={max(at_least, 100)}`."
        )
