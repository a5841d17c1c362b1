"""Saves checkpoints while training: the best ones by a metric, all of them, or the latest.

When to save and what to remember are here; which files are kept is in `lt_callbacks.checkpoint_ranking`, how they are
named and written in `lt_callbacks.checkpoint_writer`. All decisions depend only on state that is in the checkpoints, so
that a resumed run keeps and removes the same files as an unbroken one.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Literal

from lt_callbacks import file_system
from lt_callbacks.agreed_deadline import AgreedDeadline
from lt_callbacks.checkpoint_collisions import refuse_same_names
from lt_callbacks.checkpoint_ranking import RankedCheckpoint
from lt_callbacks.checkpoint_triggers import CheckpointTriggers
from lt_callbacks.overriding import is_replaced
from lt_callbacks.validation_schedule import validates_once_per_epoch, validation_follows
from lt_core.errors import CheckpointError, MisconfigurationException, MisconfigurationValueError
from lt_core.rank_zero import rank_zero_info, rank_zero_warn
from lt_core.state import TrainerFn

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from torch import Tensor

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["ModelCheckpoint"]


class ModelCheckpoint(RankedCheckpoint):
    """Save checkpoints while training and keep the best, the latest, or all of them.

    Without arguments it keeps one checkpoint, of the latest epoch. With a `monitor` it keeps the `save_top_k` best.

    Args:
        dirpath: The folder. None (the default) puts files below the first logger's run folder, or below the trainer's
            ``default_root_dir``, in ``checkpoints``.
        filename: A template without extension, such as ``"{epoch:02d}-{val_loss:.2f}"``; the fields are names of logged
            metrics, ``epoch`` and ``step``. None means ``"{epoch}-{step}"``.
        monitor: The logged metric to rank checkpoints by; None keeps the latest.
        verbose: Whether to report each decision.
        save_last: True also writes ``last.ckpt`` each time a checkpoint is saved; ``"link"`` makes it a link to the
            file saved last. With ``save_top_k=0`` it is the only file, written at each occasion.
        save_top_k: How many of the best to keep; 0 for none, -1 for all.
        save_on_exception: Whether to save when an exception ends the run.
        save_weights_only: Whether to leave out the training state; such files cannot be resumed from.
        mode: ``"min"`` when smaller is better, ``"max"`` when larger is better.
        auto_insert_metric_name: Whether values in file names are preceded by ``name=``. Switch it off for names with a
            slash, which would make sub-folders.
        every_n_train_steps: Save after every so many optimizer steps.
        train_time_interval: Save after every so much time.
        every_n_epochs: Save after every so many epochs; 1 unless one of the other two is given, 0 for never.
        save_on_train_epoch_end: True saves at the end of training epochs, False at the end of validation. None (the
            default) saves at the end of training epochs when validation runs once in each of them, or not at all.
        enable_version_counter: Whether a name that is taken gets ``-v1``, ``-v2`` …; otherwise the file is replaced.

    Attributes:
        best_model_path: The best checkpoint, or the latest without a `monitor`; empty before the first.
        best_model_score: Its score.
        best_k_models: The kept checkpoints with their scores.
        kth_best_model_path: The worst of them, the next to go.
        kth_value: Its score.
        current_score: The score of the checkpoint saved last.
        last_model_path: The path written for `save_last`.

    Raises:
        MisconfigurationException: The arguments contradict each other or are out of range.

    Example:
        >>> checkpoint = ModelCheckpoint(monitor="val_loss", save_top_k=3, filename="{epoch}-{val_loss:.2f}")
        >>> checkpoint.format_checkpoint_name({"epoch": 2, "val_loss": 0.25})
        'epoch=2-val_loss=0.25.ckpt'
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
        save_last: bool | Literal["link"] | None = None,  # noqa: FBT001 - the position is part of the public API
        save_top_k: int = 1,
        save_on_exception: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
        save_weights_only: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
        mode: str = "min",
        auto_insert_metric_name: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,  # noqa: FBT001 - the position is part of the public API
        enable_version_counter: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
    ) -> None:
        if save_last not in (None, True, False, "link"):
            raise MisconfigurationValueError(
                f"ModelCheckpoint got save_last={save_last!r}; expected True, False or 'link'. Write `save_last=True`."
            )
        super().__init__(
            dirpath,
            filename,
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            verbose=verbose,
            save_weights_only=save_weights_only,
            auto_insert_metric_name=auto_insert_metric_name,
            enable_version_counter=enable_version_counter,
        )
        triggers = CheckpointTriggers.resolve(every_n_train_steps, every_n_epochs, train_time_interval)
        self.save_last = save_last
        self.save_on_exception = save_on_exception
        self._save_on_train_epoch_end = save_on_train_epoch_end
        self._every_n_train_steps = triggers.every_n_train_steps
        self._every_n_epochs = triggers.every_n_epochs
        self._train_time_interval = triggers.train_time_interval
        self._deadline = AgreedDeadline()
        self._last_time_checked: float | None = None
        self._seconds_waited_before = 0.0
        self._defer_save_until_validation = False
        self._train_epoch_has_run = False

    @property
    def every_n_epochs(self) -> int | None:
        """After how many epochs a checkpoint is saved; 0 for never."""
        return self._every_n_epochs

    @property
    def state_key(self) -> str:
        """The arguments that tell several instances apart."""
        return self._generate_state_key(
            monitor=self.monitor,
            mode=self.mode,
            every_n_train_steps=self._every_n_train_steps,
            every_n_epochs=self._every_n_epochs,
            train_time_interval=self._train_time_interval,
        )

    def name_templates(self) -> set[str]:
        """Return what the names of this callback's files are made from."""
        names = super().name_templates() if self.save_top_k != 0 or self.save_on_exception else set()
        return names | ({f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}"} if self.save_last else set())

    def uses_hook(self, name: str) -> bool:
        """Leave out the per-batch check unless steps or time trigger a save."""
        if name == "on_train_batch_end":
            wanted = self._every_n_train_steps >= 1 or self._train_time_interval is not None
            return wanted or is_replaced(self, ModelCheckpoint, name)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return all that later decisions depend on."""
        waited = self._seconds_waited_before
        if self._last_time_checked is not None:
            waited = time.monotonic() - self._last_time_checked
        return {
            "monitor": self.monitor,
            "best_model_score": self.best_model_score,
            "best_model_path": self.best_model_path,
            "current_score": self.current_score,
            "dirpath": self.dirpath,
            "best_k_models": dict(self.best_k_models),
            "kth_best_model_path": self.kth_best_model_path,
            "kth_value": self.kth_value,
            "last_model_path": self._planned_last_path or self.last_model_path,
            "last_global_step_saved": self._last_global_step_saved,
            "last_checkpoint_saved": self._last_checkpoint_saved,
            "defer_save_until_validation": self._defer_save_until_validation,
            "seconds_since_last_save": waited if self._train_time_interval is not None else 0.0,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back the state; another folder than the one it was saved for keeps only the best path."""
        self.best_model_path = state_dict["best_model_path"]
        self.current_score = state_dict.get("current_score")
        self._last_global_step_saved = state_dict.get("last_global_step_saved", self._last_global_step_saved)
        self._defer_save_until_validation = state_dict.get("defer_save_until_validation", False)
        self._seconds_waited_before = state_dict.get("seconds_since_last_save", 0.0)
        saved_in = state_dict.get("dirpath", self.dirpath)
        if self._dirpath_was_given and saved_in != self.dirpath:
            rank_zero_warn(
                f"ModelCheckpoint writes to {self.dirpath!r} and the checkpoint it resumes from was written for"
                f" {saved_in!r}. Expected the same folder: only `best_model_path` is taken over, and the ranking of"
                " checkpoints starts anew. Pass the former `dirpath` to go on with the ranking."
            )
            return
        self.best_model_score = state_dict["best_model_score"]
        self.best_k_models = dict(state_dict.get("best_k_models", {}))
        self.kth_best_model_path = state_dict.get("kth_best_model_path", self.kth_best_model_path)
        self.kth_value = state_dict.get("kth_value", self.kth_value)
        self.last_model_path = state_dict.get("last_model_path", self.last_model_path)
        self._last_checkpoint_saved = state_dict.get("last_checkpoint_saved", self._last_checkpoint_saved)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose the folder and check that it can be written to."""
        self.dirpath = trainer.strategy.broadcast(self._resolve_dirpath(trainer))
        if self.save_last == "link" and not file_system.is_local(self.dirpath):
            raise MisconfigurationValueError(
                f"ModelCheckpoint got save_last='link' and dirpath={self.dirpath!r}; links exist only on local file"
                " systems. Write `save_last=True`, or use a local folder."
            )
        if stage != "fit":
            return
        self._is_saving = self._validation_has_run = self._train_epoch_has_run = False
        if trainer.global_step == 0:
            self._last_global_step_saved = 0
            self._defer_save_until_validation = False
        refuse_same_names(self, self._other_writers(trainer))
        if not trainer.fast_dev_run:
            self._check_folder(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of `train_time_interval`."""
        self._deadline.restart()
        self._last_time_checked = time.monotonic() - self._seconds_waited_before
        self._seconds_waited_before = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when enough steps were taken or enough time has passed."""
        due = self._every_n_train_steps >= 1 and trainer.global_step % self._every_n_train_steps == 0
        due = self._interval_has_passed(trainer) or due
        if not due or self._should_skip_saving_checkpoint(trainer):
            return
        if self.monitor is not None:
            # A metric that validation is about to renew, or that only validation logs, is waited for.
            missing = trainer.strategy.reduce_boolean_decision(self.monitor not in trainer.callback_metrics, all=False)
            if missing or validation_follows(trainer, batch_idx):
                self._defer_save_until_validation = True
                return
        self._save_best_and_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of a training epoch, where that is the place to save."""
        self._train_epoch_has_run = True
        if not self._should_skip_saving_checkpoint(trainer) and self._should_save_on_train_epoch_end(trainer):
            self._save_for_epoch(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of validation, where that is the place to save or a save has waited for it."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._validation_has_run = True
        if self._should_skip_saving_checkpoint(trainer):
            return
        if self._defer_save_until_validation:
            # A metric of whole training epochs is not there before the first of them has ended.
            if self._train_epoch_has_run or self.monitor in trainer.callback_metrics:
                self._save_best_and_last(trainer)
        elif not self._should_save_on_train_epoch_end(trainer):
            self._save_for_epoch(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last checkpoint if the run has saved none, or none but last ones and an earlier one."""
        if not self.save_last or trainer.fast_dev_run:
            return
        outdated = self.save_top_k == 0 and self._last_global_step_saved != trainer.global_step
        if outdated or not self._last_checkpoint_saved:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what there is, if that was asked for."""
        writing_failed = self._is_saving and isinstance(exception, (OSError, CheckpointError))
        if not self.save_on_exception or writing_failed or self._should_skip_saving_checkpoint(trainer):
            return
        candidates = self._monitor_candidates(trainer, agreed=False)
        filepath = self.format_checkpoint_name(candidates)
        self._save_checkpoint(trainer, filepath)
        self._save_last_checkpoint(trainer, candidates)
        rank_zero_info(f"{type(exception).__name__} ended the run ({exception}); its state is saved in {filepath!r}.")

    def _should_skip_saving_checkpoint(self, trainer: Trainer) -> bool:
        """Whether nothing is to be saved now, whatever the triggers say."""
        return (
            bool(trainer.fast_dev_run)
            or trainer.state.fn != TrainerFn.FITTING
            or trainer.sanity_checking
            or self._last_global_step_saved == trainer.global_step
        )

    def _should_save_on_train_epoch_end(self, trainer: Trainer) -> bool:
        """Whether epoch saves belong to the end of training epochs rather than of validation."""
        if self._save_on_train_epoch_end is not None:
            return self._save_on_train_epoch_end
        if trainer.check_val_every_n_epoch != 1 or not isinstance(trainer.val_check_interval, (int, float)):
            return False
        return sum(trainer.num_val_batches) == 0 or validates_once_per_epoch(trainer)

    def _interval_has_passed(self, trainer: Trainer) -> bool:
        if self._train_time_interval is None or self._last_time_checked is None:
            return False
        deadline = self._last_time_checked + self._train_time_interval.total_seconds()
        if not self._deadline.passed(trainer.strategy, deadline):
            return False
        self._last_time_checked = time.monotonic()
        return True

    def _save_best_and_last(self, trainer: Trainer) -> None:
        """Save what a step or an interval has triggered."""
        self._defer_save_until_validation = False
        candidates = self._monitor_candidates(trainer)
        self._plan_last(trainer, candidates)
        self._save_topk_checkpoint(trainer, candidates)
        self._save_last_checkpoint(trainer, candidates)

    def _save_for_epoch(self, trainer: Trainer) -> None:
        """Save what the end of an epoch or of a validation has triggered."""
        candidates = self._monitor_candidates(trainer)
        due = self._every_n_epochs >= 1 and (trainer.current_epoch + 1) % self._every_n_epochs == 0
        if due:
            self._plan_last(trainer, candidates)
            self._save_topk_checkpoint(trainer, candidates)
        saved_now = self._last_global_step_saved == trainer.global_step or (due and self.save_top_k == 0)
        if saved_now or (self.save_last == "link" and self._last_checkpoint_saved):
            self._save_last_checkpoint(trainer, candidates)
        self._planned_last_path = ""

    def _remove_displaced(self, trainer: Trainer, previous: str, current: str) -> None:
        if not self._should_remove_checkpoint(trainer, previous, current):
            return
        if self.save_last == "link" and self.last_model_path:
            # The link must not point into nothing, not even for an instant.
            self._link_checkpoint(trainer, current, self.last_model_path)
        self._remove_checkpoint(trainer, previous)

    def _plan_last(self, trainer: Trainer, candidates: dict[str, Tensor]) -> None:
        """Choose the next "last" path beforehand, so that the checkpoint saved before it knows of it."""
        self._planned_last_path = self._next_last_path(trainer, candidates) if self.save_last else ""

    def _next_last_path(self, trainer: Trainer, candidates: dict[str, Tensor]) -> str:
        return self._free_path(trainer, candidates, self.CHECKPOINT_NAME_LAST, self.last_model_path)

    def _save_last_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Write the last checkpoint, or link it, and remove its predecessor if the name has changed."""
        if not self.save_last:
            return
        filepath = self._planned_last_path or self._next_last_path(trainer, monitor_candidates)
        previous, self.last_model_path, self._planned_last_path = self.last_model_path, filepath, ""
        if self.save_last == "link" and self._last_checkpoint_saved and self.save_top_k != 0:
            self._link_checkpoint(trainer, self._last_checkpoint_saved, filepath)
        else:
            self._save_checkpoint(trainer, filepath)
        if self._should_remove_checkpoint(trainer, previous, filepath):
            self._remove_checkpoint(trainer, previous)

    def _check_folder(self, trainer: Trainer) -> None:
        """Raise on all processes if the first cannot write to the folder; report what is there already."""
        folder = str(self.dirpath)
        problem = file_system.why_not_writable(folder, "ModelCheckpoint") if trainer.is_global_zero else None
        problem = trainer.strategy.broadcast(problem)
        if problem is not None:
            raise MisconfigurationException(problem)
        if trainer.is_global_zero:
            self._warn_if_folder_is_used(trainer)

    def _warn_if_folder_is_used(self, trainer: Trainer) -> None:
        resumes_here = trainer.ckpt_path is not None and os.path.dirname(
            os.path.abspath(trainer.ckpt_path)
        ) == os.path.abspath(self.dirpath or "")
        if self.save_top_k != 0 and not resumes_here and file_system.list_names(self.dirpath or ""):
            rank_zero_warn(f"The checkpoint folder {self.dirpath!r} is not empty.")
