"""Which checkpoints are kept: the ranking by a metric, all, or the latest.

`ModelCheckpoint` decides when to save; once it does, the ranking says whether this checkpoint is one to keep and which
one it displaces.
"""

from __future__ import annotations

import json
import math
import os
from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lt_callbacks import file_system
from lt_callbacks.checkpoint_triggers import check_selection
from lt_callbacks.checkpoint_writer import CheckpointWriter
from lt_callbacks.problems import describe_missing_metric
from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn

if TYPE_CHECKING:
    from pathlib import Path

    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["RankedCheckpoint"]


class RankedCheckpoint(CheckpointWriter):
    """Keeps the best checkpoints by a metric, all of them, or the latest.

    Args:
        dirpath: The folder; None lets the trainer's logger or root folder decide.
        filename: The template of file names; None means ``"{epoch}-{step}"``.
        monitor: The metric to rank by; None keeps the latest.
        mode: ``"min"`` when smaller is better, ``"max"`` when larger is better.
        save_top_k: How many of the best to keep; 0 for none, -1 for all.
        verbose: Whether to report each decision.
        save_weights_only: Whether files hold the module's weights and no training state.
        auto_insert_metric_name: Whether values in file names are preceded by their names.
        enable_version_counter: Whether a name that is taken gets ``-v1``, ``-v2`` …; otherwise the file is replaced.
    """

    def __init__(
        self,
        dirpath: str | Path | None,
        filename: str | None,
        *,
        monitor: str | None,
        mode: str,
        save_top_k: int,
        verbose: bool,
        save_weights_only: bool,
        auto_insert_metric_name: bool,
        enable_version_counter: bool,
    ) -> None:
        check_selection(monitor, mode, save_top_k)
        super().__init__(
            dirpath,
            filename,
            save_weights_only=save_weights_only,
            auto_insert_metric_name=auto_insert_metric_name,
            enable_version_counter=enable_version_counter,
        )
        self.monitor = monitor
        self.mode = mode
        self.save_top_k = save_top_k
        self.verbose = verbose
        self.current_score: Tensor | None = None
        self.best_model_score: Tensor | None = None
        self.best_k_models: dict[str, Tensor] = {}
        self.kth_best_model_path = ""
        self.kth_value = torch.tensor(torch.inf if mode == "min" else -torch.inf)
        self._validation_has_run = False
        self._reported: set[str] = set()

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Tell whether a score belongs to those to be kept; all processes agree.

        Args:
            trainer: The trainer.
            current: The score, None when the metric was not logged.
        """
        if current is None:
            return False
        if self.save_top_k == -1 or len(self.best_k_models) < self.save_top_k:
            return True
        kth = float(self.best_k_models[self.kth_best_model_path])
        better = float(current) < kth if self.mode == "min" else float(current) > kth
        return trainer.strategy.reduce_boolean_decision(better)

    def kept_files(self) -> set[str]:
        """Return the files that this callback has written and relies on."""
        return super().kept_files() | set(self.best_k_models)

    @rank_zero_only
    def to_yaml(self, filepath: str | Path | None = None) -> None:
        """Write the kept checkpoints and their scores to a YAML file; the first process does.

        Args:
            filepath: Where to; ``best_k_models.yaml`` in the checkpoint folder by default.
        """
        lines = [f"{json.dumps(path)}: {_yaml_number(float(score))}\n" for path, score in self.best_k_models.items()]
        target = filepath if filepath is not None else os.path.join(self.dirpath or "", "best_k_models.yaml")
        file_system.write_text(target, "".join(lines) or "{}\n")

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Save if this checkpoint is one to keep."""
        if self.save_top_k == 0:
            return
        if self.monitor is None:
            self._save_none_monitor_checkpoint(trainer, monitor_candidates)
            return
        if self.monitor not in monitor_candidates:
            message = describe_missing_metric(
                f"ModelCheckpoint(monitor={self.monitor!r})", self.monitor, monitor_candidates
            )
            if self._validation_has_run:
                raise MisconfigurationException(message)
            self._warn_once(message)
        self._save_monitor_checkpoint(trainer, monitor_candidates)

    def _save_monitor_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        current = monitor_candidates.get(self.monitor or "")
        if current is not None and self.check_monitor_top_k(trainer, current):
            self._update_best_and_save(current, trainer, monitor_candidates)
        elif self.verbose:
            self._report(monitor_candidates, f"{self.monitor!r} was not among the best {self.save_top_k}.")

    def _save_none_monitor_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        filepath = self._get_metric_interpolated_filepath_name(monitor_candidates, trainer, self.best_model_path)
        # The path is part of the state in the file.
        previous, self.best_model_path = self.best_model_path, filepath
        self._save_checkpoint(trainer, filepath)
        if self.save_top_k == 1:
            self._remove_displaced(trainer, previous, filepath)

    def _update_best_and_save(self, current: Tensor, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Rank a checkpoint, save it, and remove the one it displaces."""
        k = len(self.best_k_models) + 1 if self.save_top_k == -1 else self.save_top_k
        displaced = None
        if len(self.best_k_models) == k and k > 0:
            displaced = self.kth_best_model_path
            self.best_k_models.pop(displaced)
        current = self._rankable(torch.as_tensor(current))
        filepath = self._get_metric_interpolated_filepath_name(monitor_candidates, trainer, displaced)
        self.current_score = current
        self.best_k_models[filepath] = current
        best, worst = (min, max) if self.mode == "min" else (max, min)
        if len(self.best_k_models) == k:
            self.kth_best_model_path = worst(self.best_k_models, key=lambda path: float(self.best_k_models[path]))
            self.kth_value = self.best_k_models[self.kth_best_model_path]
        self.best_model_path = best(self.best_k_models, key=lambda path: float(self.best_k_models[path]))
        self.best_model_score = self.best_k_models[self.best_model_path]
        if self.verbose:
            reached = f"{self.monitor!r} reached {float(current):0.5f} (best {float(self.best_model_score):0.5f})"
            self._report(monitor_candidates, f"{reached}; saving {filepath!r} as one of the best {k}.")
        self._save_checkpoint(trainer, filepath)
        if displaced is not None:
            self._remove_displaced(trainer, displaced, filepath)

    def _rankable(self, current: Tensor) -> Tensor:
        """Return a score that can be ordered, on the CPU: NaN is worse than everything."""
        current = current.detach().to("cpu", copy=True)
        if not torch.isnan(current):
            return current
        self._warn_once(
            f"ModelCheckpoint watches {self.monitor!r}, and its value is NaN. Such a checkpoint ranks behind every"
            " other. Look for the cause with `detect_anomaly=True` of the trainer."
        )
        return torch.tensor(math.inf if self.mode == "min" else -math.inf, dtype=current.dtype)

    @abstractmethod
    def _remove_displaced(self, trainer: Trainer, previous: str, current: str) -> None:
        """Remove a file that another has displaced, unless it must stay."""

    def _warn_once(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            rank_zero_warn(message)

    def _report(self, candidates: dict[str, Tensor], message: str) -> None:
        rank_zero_info(f"Epoch {int(candidates['epoch'])}, step {int(candidates['step'])}: {message}")


def _yaml_number(value: float) -> str:
    """Write a number so that YAML reads it as one."""
    if math.isfinite(value):
        return repr(value)
    return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
