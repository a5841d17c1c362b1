"""What the bars in a terminal have in common: when to begin, draw and end, and how to cost nothing in between.

Per batch a bar notes the batch's number and compares the clock with the next moment to draw, at most ten times a
second; all else (reading metrics, which waits for the device, and writing to the terminal) happens at those moments
and when a bar is seen for the last time. That holds across epochs, so that short epochs do not flood the terminal.
Where a drawing takes long, fewer are made, so that they take a two-hundredth of the time.
Output that is no terminal gets plain lines instead.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any

from lt_callbacks.overriding import is_replaced
from lt_callbacks.progress.pace import Pace
from lt_callbacks.progress.plain_lines import PlainLines
from lt_callbacks.progress.progress_bar import ProgressBar
from lt_core.state import TrainerFn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["PhasedProgressBar"]

_SHORTEST_INTERVAL = 0.1
_LONGEST_INTERVAL = 1.0
_PART_OF_TIME = 0.005
_NEVER = math.inf
_AT_ONCE = 0.0

_PER_BATCH = tuple(
    f"on_{stage}_batch_{moment}" for stage in ("train", "validation", "test", "predict") for moment in ("start", "end")
)


class PhasedProgressBar(ProgressBar):
    """Base class of the bars in a terminal.

    The phases are ``"sanity"``, ``"train"``, ``"validation"``, ``"test"`` and ``"predict"``. A subclass implements
    `_is_terminal`, `_show_begin`, `_show`, `_show_end` and `_show_stop`.

    Args:
        interval: The least time between two refreshes in seconds; less than a tenth counts as a tenth.
    """

    def __init__(self, interval: float = _SHORTEST_INTERVAL) -> None:
        super().__init__()
        self._interval = max(interval, _SHORTEST_INTERVAL)
        self._enabled = True
        self._plain: PlainLines | None = None
        self._next_refresh = _NEVER
        self._drawing_takes: float | None = None
        self._train_batches_done = 0
        self._train_batches_drawn = 0
        self._eval_batches_done = 0
        self._train_is_shown = False
        self._epoch_to_report: dict[str, Any] | None = None
        self._paces: dict[str, Pace] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown."""
        return self._enabled

    @property
    def is_disabled(self) -> bool:
        """Whether nothing is shown."""
        return not self.is_enabled

    def disable(self) -> None:
        """Show nothing until `enable`."""
        self._enabled = False
        self._next_refresh = _NEVER
        self._train_is_shown = False

    def enable(self) -> None:
        """Show again, from the next batch on."""
        self._enabled = True
        self._next_refresh = _AT_ONCE if self.is_enabled else _NEVER

    def uses_hook(self, name: str) -> bool:
        """Leave out per-batch hooks where nothing is ever shown: on all processes but the first."""
        if name not in _PER_BATCH or self._shows_ever():
            return True
        return is_replaced(self, PhasedProgressBar, name)

    # --- what a display implements -------------------------------------------------------------------------------

    @abstractmethod
    def _is_terminal(self) -> bool:
        """Tell whether the output can be redrawn."""

    @abstractmethod
    def _show_begin(self, phase: str, description: str, total: int | float, done: int) -> None:
        """Prepare the bar of a phase, of its next epoch or of its next loader, without drawing it yet."""

    @abstractmethod
    def _show(self, phase: str, done: int, total: int | float, metrics: Mapping[str, Any] | None) -> None:
        """Draw the state of a phase; ``metrics`` is None where they have not been read anew."""

    @abstractmethod
    def _show_end(self, phase: str) -> None:
        """A phase has ended."""

    @abstractmethod
    def _show_stop(self) -> None:
        """Give the terminal back."""

    def _show_pause(self, seconds: float) -> None:
        """Training stood still for so long, for validation; it is no part of its time."""

    def _shows_ever(self) -> bool:
        """Whether this process may show anything in this run."""
        return self._trainer is None or self._trainer.is_global_zero

    def _train_phase_description(self, epoch: int) -> str:
        return f"Epoch {epoch}"

    def _eval_phase_description(self, description: str, dataloader_idx: int, loaders: int) -> str:
        return f"{description} DataLoader {dataloader_idx}" if loaders > 1 else description

    # --- phases --------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin a run: choose between a display that is redrawn and plain lines."""
        super().setup(trainer, pl_module, stage)
        self._plain = None if self._is_terminal() else PlainLines()
        self._train_is_shown = False
        self._epoch_to_report = None
        self._next_refresh = _AT_ONCE if self.is_enabled else _NEVER
        self.reset_dataloader_idx_tracker()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End a run: give the terminal back."""
        self._show_stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back, so that the traceback can be read."""
        self._next_refresh = _NEVER
        self._show_stop()

    def _begin(self, phase: str, description: str, total: int | float, done: int = 0) -> None:
        if self.is_disabled:
            self._next_refresh = _NEVER
            return
        self._paces[phase] = Pace(done)
        self._show_begin(phase, description, total, done)
        if self._plain is not None:  # perhaps only since this attempt to draw
            self._plain.begin(phase, description, total, done)
        if monotonic() >= self._next_refresh:
            self._refresh(phase, done, total)

    def _refresh(self, phase: str, done: int, total: int | float, pl_module: LightningModule | None = None) -> None:
        """Draw now; with a module, read its metrics anew."""
        if self.is_disabled:
            self._next_refresh = _NEVER
            return
        began = monotonic()
        due = self._plain is None or self._plain.update(phase, done)
        metrics = self.get_metrics(self.trainer, pl_module) if due and pl_module is not None else None
        if phase != "train" and self._train_is_shown and self._train_batches_drawn != self._train_batches_done:
            # The training bar stands still above: it shall stand at the right batch.
            self._train_batches_drawn = self._train_batches_done
            self._paces["train"].note(self._train_batches_done)
            self._show("train", self._train_batches_done, self._total_train_batches(self._train_batches_done), None)
        if phase in self._paces:  # not if it was switched on in the middle of the phase
            self._paces[phase].note(done)
        self._show(phase, done, total, metrics)
        if phase == "train":
            self._train_batches_drawn = done
        if self._plain is not None and due:
            self._plain.report(phase, metrics or {})
        self._next_refresh = self._choose_next_refresh(began, monotonic())

    def _choose_next_refresh(self, began: float, ended: float) -> float:
        """Return when to draw again, counted from the end of a drawing."""
        # The first drawing of a bar also imports and prepares, and says nothing of the others.
        known = self._drawing_takes
        self._drawing_takes = 0.0 if known is None else (known + ended - began) / 2
        wait = min(self._drawing_takes / _PART_OF_TIME, _LONGEST_INTERVAL)
        return ended + max(wait, self._interval)

    def _end(self, phase: str, pl_module: LightningModule | None = None) -> None:
        """End a phase; in plain lines, with the metrics if a module is given."""
        if self.is_disabled:
            return
        if self._plain is not None:
            self._plain.end(phase, {} if pl_module is None else self.get_metrics(self.trainer, pl_module))
        self._show_end(phase)

    # --- training ------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training begins; the bar appears with its first epoch."""
        self._train_is_shown = False
        self._next_refresh = _AT_ONCE if self.is_enabled else _NEVER

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the bar of an epoch."""
        self._report_epoch(trainer, pl_module)
        self._train_batches_done = 0
        self._begin_train(trainer, self.total_train_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the batch, and draw if it is time."""
        self._train_batches_done = done = batch_idx + 1
        if monotonic() < self._next_refresh:
            return
        if not self._train_is_shown:
            self._begin_train(trainer, self._total_train_batches(done), batch_idx)
        self._refresh("train", done, self._total_train_batches(done), pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The epoch is finished; its line, if lines are printed, waits for its metrics."""
        if self.is_disabled:
            return
        if self._plain is not None:
            self._plain.update("train", self._train_batches_done)
            self._epoch_to_report = self.get_metrics(trainer, pl_module)
        elif monotonic() >= self._next_refresh:
            self._draw_train(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last epoch once more, with its metrics, and end the bar."""
        if self._train_is_shown and self._plain is None:
            self._draw_train(pl_module)
        self._report_epoch(trainer, pl_module)
        self._end("train")
        self._train_is_shown = False
        self._next_refresh = _NEVER

    def _draw_train(self, pl_module: LightningModule) -> None:
        done = self._train_batches_done
        self._refresh("train", done, max(done, self._total_train_batches(done)), pl_module)

    def _begin_train(self, trainer: Trainer, total: int | float, done: int = 0) -> None:
        self._begin("train", self._train_phase_description(trainer.current_epoch), total, done)
        self._train_is_shown = self.is_enabled

    def _report_epoch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the last epoch, whose metrics are complete only after its end."""
        if self._epoch_to_report is None:
            return
        if self._plain is not None and self.is_enabled:
            self._plain.end("train", {**self._epoch_to_report, **self.get_metrics(trainer, pl_module)})
        self._epoch_to_report = None

    # --- evaluation and prediction -------------------------------------------------------------------------------

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar of the sanity check."""
        self._end("sanity")
        self.reset_dataloader_idx_tracker()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training."""
        if self._train_is_shown:
            self._paces["train"].pause()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Begin the bar of a loader with its first batch."""
        if dataloader_idx == self._current_eval_dataloader_idx or not self.has_dataloader_changed(dataloader_idx):
            return
        checking = trainer.sanity_checking
        self._begin_loader(
            "sanity" if checking else "validation",
            self.sanity_check_description if checking else self.validation_description,
            self.total_val_batches_current_dataloader,
            len(trainer.num_val_batches),
        )

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the batch, and draw if it is time."""
        self._eval_batches_done = batch_idx + 1
        if monotonic() >= self._next_refresh:
            phase = "sanity" if trainer.sanity_checking else "validation"
            self._refresh(phase, batch_idx + 1, self.total_val_batches_current_dataloader)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar of validation and show its metrics."""
        # Within fit the bar goes away, so only what stays visible is drawn a last time.
        stays = trainer.state.fn != TrainerFn.FITTING
        self._finish_loader(
            "sanity" if trainer.sanity_checking else "validation", self.total_val_batches_current_dataloader, draw=stays
        )
        if trainer.sanity_checking:
            return
        if self._train_is_shown:
            self._show_pause(self._paces["train"].go_on())
        self._end("validation", pl_module)
        self.reset_dataloader_idx_tracker()

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Begin the bar of a loader with its first batch."""
        if dataloader_idx == self._current_eval_dataloader_idx or not self.has_dataloader_changed(dataloader_idx):
            return
        total = self.total_test_batches_current_dataloader
        self._begin_loader("test", self.test_description, total, len(trainer.num_test_batches))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the batch, and draw if it is time."""
        self._eval_batches_done = batch_idx + 1
        if monotonic() >= self._next_refresh:
            self._refresh("test", batch_idx + 1, self.total_test_batches_current_dataloader)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar of the test."""
        self._finish_loader("test", self.total_test_batches_current_dataloader)
        self._end("test", pl_module)
        self.reset_dataloader_idx_tracker()

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Begin the bar of a loader with its first batch."""
        if dataloader_idx == self._current_eval_dataloader_idx or not self.has_dataloader_changed(dataloader_idx):
            return
        total = self.total_predict_batches_current_dataloader
        self._begin_loader("predict", self.predict_description, total, len(trainer.num_predict_batches))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the batch, and draw if it is time."""
        self._eval_batches_done = batch_idx + 1
        if monotonic() >= self._next_refresh:
            self._refresh("predict", batch_idx + 1, self.total_predict_batches_current_dataloader)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar of prediction."""
        self._finish_loader("predict", self.total_predict_batches_current_dataloader)
        self._end("predict")
        self.reset_dataloader_idx_tracker()

    def _begin_loader(self, phase: str, description: str, total: int | float, loaders: int) -> None:
        if self._plain is not None:
            # All loaders of a phase share a line.
            self._plain.update(phase, self._eval_batches_done)
        else:
            description = self._eval_phase_description(description, self._current_eval_dataloader_idx or 0, loaders)
        self._eval_batches_done = 0
        self._begin(phase, description, total)

    def _finish_loader(self, phase: str, total: int | float, *, draw: bool = True) -> None:
        """Take note of a loader's last batch and draw it if it stays visible."""
        if self._current_eval_dataloader_idx is None or self.is_disabled:
            return
        if self._plain is not None:
            self._plain.update(phase, self._eval_batches_done)
        if draw:
            self._refresh(phase, self._eval_batches_done, total)
