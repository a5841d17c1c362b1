"""How checkpoint files are named, written, linked and removed.

`ModelCheckpoint` decides when to save and which files to keep; the handling of the files is here. One rule governs
all of it: a new file is complete before an old one goes, so that a run which is killed at any instant leaves at least
one good checkpoint.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import proxy

import torch
from torch import Tensor

from lt_callbacks import file_system
from lt_callbacks.checkpoint_collisions import refuse_a_file_of_another
from lt_callbacks.checkpoint_names import check_template, fill_template, template_fields, template_pattern
from lt_core.callback import Checkpoint
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["CheckpointWriter"]


class CheckpointWriter(Checkpoint):
    """Names, writes, links and removes the files of a checkpoint callback.

    Args:
        dirpath: The folder; None lets the trainer's logger or root folder decide.
        filename: The template of file names; None means ``"{epoch}-{step}"``.
        save_weights_only: Whether files hold the module's weights and no training state.
        auto_insert_metric_name: Whether values in file names are preceded by their names.
        enable_version_counter: Whether a name that is taken gets ``-v1``, ``-v2`` …; otherwise the file is replaced.
    """

    CHECKPOINT_JOIN_CHAR = "-"
    CHECKPOINT_EQUALS_CHAR = "="
    CHECKPOINT_NAME_LAST = "last"
    FILE_EXTENSION = ".ckpt"
    STARTING_VERSION = 1

    def __init__(
        self,
        dirpath: str | Path | None,
        filename: str | None,
        *,
        save_weights_only: bool,
        auto_insert_metric_name: bool,
        enable_version_counter: bool,
    ) -> None:
        super().__init__()
        if filename:
            check_template(filename)
        self.dirpath: str | None = file_system.absolute(dirpath) if dirpath else None
        self.filename = filename
        self.save_weights_only = save_weights_only
        self.auto_insert_metric_name = auto_insert_metric_name
        self.best_model_path = ""
        self.last_model_path = ""
        self._enable_version_counter = enable_version_counter
        self._dirpath_was_given = bool(dirpath)
        self._last_global_step_saved = 0
        self._last_checkpoint_saved = ""
        self._planned_last_path = ""
        self._is_saving = False
        self._fields_reported: set[str] = set()

    @property
    def enable_version_counter(self) -> bool:
        """Whether a name that is taken gets a version; otherwise the file is replaced."""
        return self._enable_version_counter

    @property
    def _default_template(self) -> str:
        return f"{{epoch}}{self.CHECKPOINT_JOIN_CHAR}{{step}}"

    def name_templates(self) -> set[str]:
        """Return what the names of this callback's files are made from."""
        return {f"{self.filename or self._default_template}{self.FILE_EXTENSION}"}

    def kept_files(self) -> set[str]:
        """Return the files that this callback has written and relies on."""
        return {self.best_model_path, self.last_model_path} - {""}

    def format_checkpoint_name(
        self,
        metrics: dict[str, Tensor],
        filename: str | None = None,
        ver: int | None = None,
        prefix: str | None = None,
    ) -> str:
        """Make a file path from a template.

        Args:
            metrics: The values that fill the template; a name that is not there counts as 0.
            filename: The template, by default the callback's own.
            ver: A version to append as ``-v<ver>``.
            prefix: What to put before the name, joined with ``-``.

        Example:
            >>> from lt_callbacks import ModelCheckpoint
            >>> ModelCheckpoint(filename="{epoch:03d}-{val_loss:.2f}").format_checkpoint_name(
            ...     {"epoch": 2, "val_loss": 0.123}, ver=1)
            'epoch=002-val_loss=0.12-v1.ckpt'
        """
        template = filename or self.filename or self._default_template
        name = fill_template(template, metrics, self.CHECKPOINT_EQUALS_CHAR, insert_names=self.auto_insert_metric_name)
        parts = [part for part in (prefix, name, None if ver is None else f"v{ver}") if part is not None]
        name = f"{self.CHECKPOINT_JOIN_CHAR.join(parts)}{self.FILE_EXTENSION}"
        self._report_unknown_fields(template, metrics)
        return os.path.join(self.dirpath, name) if self.dirpath else name

    def file_exists(self, filepath: str | Path, trainer: Trainer) -> bool:
        """Tell on all processes whether a file exists for the first one."""
        present = file_system.exists(filepath) if trainer.is_global_zero else False
        return trainer.strategy.reduce_boolean_decision(present, all=False)

    def find_last_checkpoints(self, trainer: Trainer) -> set[str]:
        """Return the files in this callback's folder that are named as the last checkpoint.

        A trainer that is asked to resume from ``"last"`` chooses the newest of them.
        """
        pattern = template_pattern(self.CHECKPOINT_NAME_LAST)
        folder = self._resolve_dirpath(trainer)
        names = (Path(path) for path in file_system.list_names(folder))
        return {
            os.path.join(folder, path.name)
            for path in names
            if path.suffix == self.FILE_EXTENSION and pattern.fullmatch(path.stem)
        }

    # The name under which other trainers and packages know the method above.
    _find_last_checkpoints = find_last_checkpoints

    def _report_unknown_fields(self, template: str, metrics: dict[str, Tensor]) -> None:
        unknown = [name for name in template_fields(template) if name not in metrics and name not in ("epoch", "step")]
        for name in unknown:
            if name not in self._fields_reported:
                self._fields_reported.add(name)
                rank_zero_warn(
                    f"The checkpoint file name {template!r} holds the metric {name!r}, which was not logged; 0 stands"
                    f" in its place. Expected one of {sorted(metrics)}. Log it with `self.log({name!r}, value)`,"
                    " or change `filename`."
                )

    def _resolve_dirpath(self, trainer: Trainer) -> str:
        """Return the folder that was given, or one below that of the first logger or of the trainer."""
        if self.dirpath is not None:
            return self.dirpath
        if not trainer.loggers:
            return os.path.join(trainer.default_root_dir, "checkpoints")
        logger = trainer.loggers[0]
        root = logger.save_dir if logger.save_dir is not None else trainer.default_root_dir
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        return os.path.join(root, str(logger.name), version, "checkpoints")

    def _monitor_candidates(self, trainer: Trainer, *, agreed: bool = True) -> dict[str, Tensor]:
        """Return copies of everything logged, with the epoch and the step as whole numbers.

        The values of single steps differ between ranks, and ranks with different names and rankings would end with
        different best checkpoints; so all take the first rank's.

        Args:
            trainer: The trainer.
            agreed: Whether all ranks take part; a rank that fails has only its own values.
        """
        shared = agreed and trainer.world_size > 1
        found = {
            name: value.detach().to("cpu" if shared else value.device, copy=True)
            if isinstance(value, Tensor)
            else value
            for name, value in trainer.callback_metrics.items()
        }
        if shared:
            found = trainer.strategy.broadcast(found)
        for name, fallback in (("epoch", trainer.current_epoch), ("step", trainer.global_step)):
            logged = found.get(name)
            found[name] = logged.int() if isinstance(logged, Tensor) else torch.tensor(fallback)
        return found

    def _free_path(
        self, trainer: Trainer, candidates: dict[str, Tensor], template: str | None, may_replace: str | None
    ) -> str:
        """Make a path from a template and count versions up while it is taken by another file."""
        path = self.format_checkpoint_name(candidates, template)
        version = self.STARTING_VERSION
        while self._enable_version_counter and path != may_replace and self.file_exists(path, trainer):
            path = self.format_checkpoint_name(candidates, template, ver=version)
            version += 1
        return path

    def _get_metric_interpolated_filepath_name(
        self, monitor_candidates: dict[str, Tensor], trainer: Trainer, del_filepath: str | None = None
    ) -> str:
        """Return where the next checkpoint goes; ``del_filepath`` is about to be removed and may be replaced."""
        return self._free_path(trainer, monitor_candidates, None, del_filepath)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Write one file and tell the loggers."""
        refuse_a_file_of_another(self, filepath, self._other_writers(trainer))
        # The file itself must say that this step is saved: a run resumed from it goes on as this one does.
        before = self._last_global_step_saved, self._last_checkpoint_saved
        self._last_global_step_saved, self._last_checkpoint_saved = trainer.global_step, filepath
        self._is_saving = True
        trainer_saved = False
        try:
            trainer.save_checkpoint(filepath, self.save_weights_only)
            trainer_saved = True
        finally:
            if not trainer_saved:
                self._last_global_step_saved, self._last_checkpoint_saved = before
        self._is_saving = False
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.after_save_checkpoint(proxy(self))

    def _other_writers(self, trainer: Trainer) -> list[CheckpointWriter]:
        return [each for each in trainer.callbacks if isinstance(each, CheckpointWriter) and each is not self]

    def _should_remove_checkpoint(self, trainer: Trainer, previous: str, current: str) -> bool:
        """Whether a displaced file may go: never the one just written, the one resumed from, or one elsewhere."""
        if not previous or previous == current:
            return False
        if not file_system.is_local(previous):
            return True
        if self.dirpath is None:
            return False
        path = Path(previous).absolute()
        if trainer.ckpt_path is not None and path == Path(trainer.ckpt_path).absolute():
            return False
        return Path(self.dirpath).absolute() in path.parents

    def _remove_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Remove a file or folder through the strategy."""
        trainer.strategy.remove_checkpoint(filepath)

    @staticmethod
    def _link_checkpoint(trainer: Trainer, filepath: str, linkpath: str) -> None:
        """Make ``linkpath`` a link to ``filepath``, or a copy where links cannot be made."""
        if trainer.is_global_zero and os.path.abspath(filepath) != os.path.abspath(linkpath):
            if os.path.isdir(linkpath) and not os.path.islink(linkpath):
                shutil.rmtree(linkpath)
            beside = f"{linkpath}.tmp-{os.getpid()}"
            try:
                os.symlink(os.path.relpath(filepath, os.path.dirname(linkpath)), beside)
            except OSError:
                copy: Any = shutil.copytree if os.path.isdir(filepath) else shutil.copy
                copy(filepath, beside)
            os.replace(beside, linkpath)
        trainer.strategy.barrier()
