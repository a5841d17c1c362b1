"""Stops training when the loss jumps, and notes the batches to leave out when it goes on.

A batch of broken data can undo days of training. The batch in which the loss jumps and the one before it, which may
have spoiled the weights, are written down, so that a run that goes on from a checkpoint can skip both.
"""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from lt_core.atomic_file import replacing_file
from lt_core.callback import Callback
from lt_core.errors import LtError, MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError

if TYPE_CHECKING:
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["SpikeDetection", "TrainingSpikeException"]

_FILE = "skip_batches.json"


class TrainingSpikeException(LtError, RuntimeError):
    """The loss has jumped.

    Args:
        batch_idx: The batch in which it did, counted from 0 within its epoch.
        *args: Further arguments of the exception.

    Attributes:
        batch_idx: See above.
    """

    def __init__(self, batch_idx: int, *args: Any) -> None:
        super().__init__(f"Training spike detected in batch {batch_idx}", *args)
        self.batch_idx = batch_idx


class SpikeDetection(Callback):
    """End training with a `TrainingSpikeException` when the loss jumps.

    A loss is a spike when it is worse than the one before, and differs from the mean of the last ``window`` losses by
    at least ``atol`` and at least ``rtol`` times that mean. The indices of its batch and of the one before it are
    written as a JSON list. All processes stop when one has a spike. The loss is read after each batch, for which the
    device is waited for.

    Args:
        mode: ``"min"`` where a lower value is better, ``"max"`` where a higher one is.
        window: Over how many values the mean is taken.
        warmup: The index within its epoch of the first batch that is looked at.
        atol: The absolute difference that makes a spike; None to leave out this test.
        rtol: The difference relative to the mean that makes a spike; None to leave out this test.
        exclude_batches_path: The file, or the folder for a file ``skip_batches.json``; by default in the trainer's
            ``default_root_dir``.
        finite_only: Whether a value that is infinite or not a number is a spike, too. Otherwise it is compared as any
            other, and left out of the mean.

    Raises:
        MisconfigurationException: An argument is out of its range; or, in a run, the module returns no loss.

    Example:
        >>> SpikeDetection(window=100, rtol=5.0).mode
        'min'
    """

    def __init__(
        self,
        mode: Literal["min", "max"] = "min",
        window: int = 10,
        warmup: int = 1,
        atol: float | None = None,
        rtol: float | None = 2.0,
        exclude_batches_path: str | Path | None = None,
        finite_only: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
    ) -> None:
        super().__init__()
        _check(mode, window, warmup, {"atol": atol, "rtol": rtol})
        self.mode = mode
        self.warmup = warmup
        self.atol = atol
        self.rtol = rtol
        self.exclude_batches_path = exclude_batches_path
        self.finite_only = finite_only
        self.last_val = 0.0
        self.bad_batches: list[int] = []
        self._recent: deque[float] = deque(maxlen=window)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin anew with each fit."""
        if stage == "fit":
            self.last_val = 0.0
            self.bad_batches = []
            self._recent.clear()

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss of a batch."""
        loss = _loss_of(outputs, pl_module)
        is_spike = loss is not None and batch_idx >= self.warmup and self._is_spike(loss)
        if trainer.strategy.reduce_boolean_decision(is_spike, all=False):
            self._stop(trainer, batch_idx)
        if loss is None:
            return
        if math.isfinite(loss):
            self._recent.append(loss)
            self.last_val = loss

    def _is_spike(self, loss: float) -> bool:
        if not math.isfinite(loss) and self.finite_only:
            return True
        if loss <= self.last_val if self.mode == "min" else loss >= self.last_val:
            return False
        if not self._recent:
            return False  # there is nothing to compare with
        mean = sum(self._recent) / len(self._recent)
        difference = abs(loss - mean)
        is_far = self.atol is None or difference >= abs(self.atol)
        return is_far and (self.rtol is None or difference >= abs(self.rtol * mean))

    def _stop(self, trainer: Trainer, batch_idx: int) -> None:
        self.bad_batches.extend(index for index in (batch_idx - 1, batch_idx) if index >= 0)
        if trainer.is_global_zero:
            path = self._path(trainer)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing_file(path) as file:
                file.write(json.dumps(self.bad_batches, indent=4).encode())
        raise TrainingSpikeException(batch_idx)

    def _path(self, trainer: Trainer) -> Path:
        given = self.exclude_batches_path
        path = Path(os.fspath(trainer.default_root_dir if given is None else given))
        return path if path.suffix == ".json" else path / _FILE

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen."""
        return {
            "last_val": self.last_val,
            "mode": self.mode,
            "warmup": self.warmup,
            "atol": self.atol,
            "rtol": self.rtol,
            "bad_batches": self.bad_batches,
            "bad_batches_path": None if self.exclude_batches_path is None else os.fspath(self.exclude_batches_path),
            "running": {"recent": list(self._recent)},
            "mean": {},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what was seen; the arguments are those of this instance."""
        self.last_val = state_dict["last_val"]
        self.bad_batches = list(state_dict["bad_batches"])
        self._recent.clear()
        self._recent.extend(state_dict.get("running", {}).get("recent", []))


def _loss_of(outputs: Any, pl_module: LightningModule) -> float | None:
    """Return the loss; None for a batch that was skipped."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if loss is None and pl_module.automatic_optimization:
        return None
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        raise MisconfigurationTypeError(
            f"SpikeDetection got {outputs!r} as the output of `{type(pl_module).__name__}.training_step`; expected a"
            " loss, as outputs have to be of type torch.Tensor or Mapping with the key `loss`. Return the loss, also in"
            " manual optimisation."
        )
    return float(loss)


def _check(mode: Any, window: Any, warmup: Any, tolerances: Mapping[str, Any]) -> None:
    if mode not in ("min", "max"):
        raise MisconfigurationValueError(
            f"SpikeDetection got mode={mode!r}. Invalid mode. Has to be min or max. Write `mode='min'` for a loss."
        )
    for name, value, least in (("window", window, 1), ("warmup", warmup, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise MisconfigurationValueError(
                f"SpikeDetection got {name}={value!r}; expected a whole number of at least {least}. Write for example"
                f" `{name}=10`."
            )
    for name, value in tolerances.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
            raise MisconfigurationValueError(
                f"SpikeDetection got {name}={value!r}; expected a number of at least 0, or None. Write for example"
                f" `{name}=2.0`."
            )
    if all(value is None for value in tolerances.values()):
        raise MisconfigurationException(
            "SpikeDetection got atol=None and rtol=None; expected one of them, or each loss that is worse than the one"
            " before is a spike. Write for example `rtol=2.0`."
        )
