"""Hands predictions to whoever writes them: batch by batch, or all together when they are complete.

Predictions of a large data set do not fit into memory, and those of several processes have to be brought in order. So a
writer is told which samples a batch was made of.
"""

from __future__ import annotations

import inspect
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lt_callbacks.overriding import is_replaced
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationValueError, did_you_mean
from lt_core.rank_zero import WarningCache
from lt_core.transfer import move_data_to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["BasePredictionWriter", "WriteInterval"]

_warnings = WarningCache()


class WriteInterval(str, Enum):
    """When predictions are written."""

    BATCH = "batch"
    EPOCH = "epoch"
    BATCH_AND_EPOCH = "batch_and_epoch"

    def __str__(self) -> str:
        return str(self.value)

    @property
    def on_batch(self) -> bool:
        """Whether each batch is written."""
        return self in (WriteInterval.BATCH, WriteInterval.BATCH_AND_EPOCH)

    @property
    def on_epoch(self) -> bool:
        """Whether all are written at the end."""
        return self in (WriteInterval.EPOCH, WriteInterval.BATCH_AND_EPOCH)


class BasePredictionWriter(Callback):
    """Base class of callbacks that write predictions: override `write_on_batch_end`, `write_on_epoch_end`, or both.

    Args:
        write_interval: ``"batch"`` to write each batch, ``"epoch"`` to write all at the end (which keeps all on the
            CPU), or ``"batch_and_epoch"``.

    Raises:
        MisconfigurationValueError: The interval is none of those.
        NotImplementedError: When a run begins: ``predict_step`` takes a ``dataloader_iter``; or a method that the
            interval needs is not overridden.

    Example:
        >>> class Printer(BasePredictionWriter):
        ...     def write_on_batch_end(
        ...         self, trainer, pl_module, prediction, batch_indices, batch, batch_idx, dataloader_idx
        ...     ):
        ...         print(batch_indices, prediction)
        >>> Printer("batch").interval.on_epoch
        False
    """

    role: ClassVar[str | None] = "prediction_writer"

    def __init__(self, write_interval: Literal["batch", "epoch", "batch_and_epoch"] = "batch") -> None:
        super().__init__()
        intervals = [interval.value for interval in WriteInterval]
        if write_interval not in intervals:
            raise MisconfigurationValueError(
                f"{type(self).__name__} got write_interval={write_interval!r}; `write_interval` should be one of"
                f" {intervals}.{did_you_mean(str(write_interval), intervals)} Write `write_interval='batch'`."
            )
        self.interval = WriteInterval(write_interval)
        self._predictions: list[list[Any]] = []
        self._indices: list[list[Sequence[int]]] = []

    # -- to be overridden

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the prediction of one batch.

        Args:
            trainer: The trainer.
            pl_module: The module.
            prediction: What ``predict_step`` returned.
            batch_indices: The indices of the batch's samples in their data set; empty where they cannot be known.
            batch: The batch ``[B, …]``.
            batch_idx: Its index.
            dataloader_idx: Its loader's index.
        """
        raise _MissingMethodError("write_on_batch_end", self)

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write all predictions of this process.

        Args:
            trainer: The trainer.
            pl_module: The module.
            predictions: What ``predict_step`` returned for each batch, on the CPU; a list of such lists where there are
                several loaders.
            batch_indices: By loader and batch, the indices of the samples; empty for batches where they cannot be
                known.
        """
        raise _MissingMethodError("write_on_epoch_end", self)

    # -- a run

    def uses_hook(self, name: str) -> bool:
        """Leave out the end of the epoch where nothing is written then."""
        return name != "on_predict_epoch_end" or self.interval.on_epoch or is_replaced(self, BasePredictionWriter, name)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check what the module and the subclass offer."""
        self._predictions, self._indices = [], []
        if stage != "predict":
            return
        if "dataloader_iter" in inspect.signature(pl_module.predict_step).parameters:
            raise _UnsupportedStepError(
                f"`{type(pl_module).__name__}.predict_step` takes a `dataloader_iter`, and {type(self).__name__} has to"
                " know which batch a prediction belongs to. Expected `predict_step(self, batch, batch_idx)`."
            )
        for needed, method in (
            (self.interval.on_batch, "write_on_batch_end"),
            (self.interval.on_epoch, "write_on_epoch_end"),
        ):
            if needed and not is_replaced(self, BasePredictionWriter, method):
                raise _MissingMethodError(method, self)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write one batch, or keep it for the end."""
        indices = _indices_of(trainer)
        if self.interval.on_batch:
            self.write_on_batch_end(trainer, pl_module, outputs, indices, batch, batch_idx, dataloader_idx)
        if self.interval.on_epoch:
            while len(self._predictions) <= dataloader_idx:
                self._predictions.append([])
                self._indices.append([])
            self._predictions[dataloader_idx].append(move_data_to_device(outputs, "cpu"))
            self._indices[dataloader_idx].append(indices)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write all."""
        if not self.interval.on_epoch:
            return
        loaders = max(len(trainer.num_predict_batches), 1)
        missing = range(loaders - len(self._predictions))  # loaders without a batch
        predictions = [*self._predictions, *([] for _ in missing)]
        indices = [*self._indices, *([] for _ in missing)]
        self._predictions, self._indices = [], []
        self.write_on_epoch_end(trainer, pl_module, predictions[0] if loaders == 1 else predictions, indices)


def _indices_of(trainer: Trainer) -> Sequence[int]:
    """Return which samples the current batch is made of, as the trainer's prediction loop has found."""
    loop = getattr(trainer, "predict_loop", None)
    indices: Sequence[int] | None = getattr(loop, "current_batch_indices", None)
    if indices is None:
        _warnings.warn(
            "The indices of the samples of a batch are not known, and the prediction writer gets an empty list."
            " Expected a trainer that tells them and a DataLoader that takes its batches from a batch sampler: read a"
            " map-style data set with `DataLoader(dataset, batch_size=…)`."
        )
        return []
    return indices


class _MissingMethodError(MisconfigurationException, NotImplementedError):
    def __init__(self, method: str, writer: BasePredictionWriter) -> None:
        super().__init__(
            f"`{type(writer).__name__}(write_interval={writer.interval.value!r})` has no method `{method}` of its own;"
            f" expected one. Write `def {method}(self, trainer, pl_module, …)`, or choose another interval."
        )


class _UnsupportedStepError(MisconfigurationException, NotImplementedError):
    """The step has a form that this callback cannot follow."""
