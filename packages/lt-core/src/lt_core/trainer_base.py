"""What every trainer has, whatever its loop looks like: state, ranks, metrics, look-ups, saving.

A framework author derives from `TrainerBase`, writes a loop, and has a trainer that lt's callbacks and loggers work
with. `lt_loops.Trainer` derives from it too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lt_core.checkpoint import dump_checkpoint
from lt_core.checkpoint_file import save_checkpoint_file
from lt_core.log.sink import LogSink
from lt_core.metrics_board import MetricsBoard
from lt_core.optimizer import LightningOptimizer
from lt_core.single_process import SingleProcess
from lt_core.state import RunningStage, TrainerFn, TrainerState, TrainerStatus

if TYPE_CHECKING:
    from pathlib import Path

    from lt_core.callback import Callback, Checkpoint
    from lt_core.module import LightningModule
    from lt_core.protocols import StrategyProtocol

__all__ = ["TrainerBase"]


class TrainerBase:
    """Defaults for everything that callbacks, loggers and modules expect of a trainer.

    Args:
        callbacks: In calling order.
        loggers: Where metrics go.
        default_root_dir: Where files go unless told otherwise; by default the current folder.
        collect_metrics: Whether ``self.log`` does anything.

    Example:
        >>> trainer = TrainerBase()
        >>> trainer.global_step, trainer.world_size, trainer.callback_metrics
        (0, 1, {})
    """

    # What the user gave
    callbacks: list[Callback]
    loggers: list[Any]
    default_root_dir: str
    max_epochs: int | None = None
    min_epochs: int | None = None
    max_steps: int = -1
    min_steps: int | None = None
    fast_dev_run: bool | int = False
    barebones: bool = False
    log_every_n_steps: int = 50
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    check_val_every_n_epoch: int | None = 1
    val_check_interval: Any = 1.0
    # What the run has
    strategy: StrategyProtocol
    datamodule: Any = None
    optimizers: list[Optimizer]
    lr_scheduler_configs: list[Any]
    ckpt_path: str | None = None
    state: TrainerState
    should_stop: bool = False
    received_sigterm: bool = False
    is_last_batch: bool = False
    current_epoch: int = 0
    global_step: int = 0
    num_logged_windows: int = 0
    enable_validation: bool = False
    num_training_batches: int | float = 0
    num_val_batches: list[int | float]
    num_sanity_val_batches: list[int | float]
    num_test_batches: list[int | float]
    num_predict_batches: list[int | float]
    val_check_batch: int | float | None = None
    train_dataloader: Any = None
    val_dataloaders: Any = None
    test_dataloaders: Any = None
    predict_dataloaders: Any = None
    # Metrics
    log_sink: LogSink | None
    metrics_board: MetricsBoard
    _module: LightningModule | None = None
    _agreed_log_dir: str | None = None

    def __init__(
        self,
        callbacks: list[Callback] | None = None,
        loggers: list[Any] | None = None,
        default_root_dir: str | Path | None = None,
        *,
        collect_metrics: bool = True,
    ) -> None:
        self.callbacks = callbacks if callbacks is not None else []
        self.loggers = loggers if loggers is not None else []
        self.default_root_dir = os.fspath(default_root_dir) if default_root_dir is not None else os.getcwd()
        self.state = TrainerState()
        self.strategy = SingleProcess(self)
        self.optimizers = []
        self.lr_scheduler_configs = []
        self.num_val_batches = []
        self.num_sanity_val_batches = []
        self.num_test_batches = []
        self.num_predict_batches = []
        sink = LogSink(has_loggers=bool(self.loggers))
        self.log_sink = sink if collect_metrics else None
        self.metrics_board = MetricsBoard(sink)

    # -- the module

    @property
    def lightning_module(self) -> LightningModule:
        """The module that is being run, or was run last; None before the first run."""
        module: Any = self._module
        return module  # type: ignore[no-any-return]

    @property
    def model(self) -> nn.Module:
        """The module as it is called; a distributed strategy wraps it."""
        return self.lightning_module

    def attach(self, module: LightningModule) -> None:
        """Make ``module`` the one that is run: it finds this trainer, callbacks find its ``log``."""
        self._module = module
        module.trainer = self
        for callback in self.callbacks:
            callback.log = module.log  # type: ignore[attr-defined]
            callback.log_dict = module.log_dict  # type: ignore[attr-defined]

    @property
    def lightning_optimizers(self) -> list[LightningOptimizer]:
        """The optimizers as modules see them."""
        return [LightningOptimizer(optimizer, self._step_optimizer, self.optimizers) for optimizer in self.optimizers]

    def _step_optimizer(self, optimizer: Optimizer, closure: Any = None, **kwargs: Any) -> Any:
        result = optimizer.step(**kwargs) if closure is None else optimizer.step(closure, **kwargs)
        self.global_step += 1
        return result

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass of manual optimisation."""
        self.lightning_module.backward(loss, *args, **kwargs)

    def clip_gradients(self, optimizer: Optimizer, clip_val: float, algorithm: str) -> None:
        """Clip the gradients of an optimizer's parameters.

        Args:
            optimizer: Whose parameters.
            clip_val: The limit.
            algorithm: ``norm`` clips the norm over all of them, ``value`` each element.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, clip_value=clip_val)
        else:
            torch.nn.utils.clip_grad_norm_(parameters, clip_val)

    # -- metrics

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """Everything logged, under plain and forked names, up to date."""
        return self.metrics_board.callback_metrics

    @property
    def logged_metrics(self) -> dict[str, Tensor]:
        """What goes to the loggers."""
        return self.metrics_board.logged_metrics

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """What goes to the progress bar, read in one copy."""
        return self.metrics_board.progress_bar_metrics

    @property
    def logger(self) -> Any:
        """The first logger, or None."""
        return self.loggers[0] if self.loggers else None

    @logger.setter
    def logger(self, logger: Any) -> None:
        self.loggers = [] if logger is None else [logger]

    @property
    def log_dir(self) -> str | None:
        """The folder of this run: the first logger's, or the root folder; with several ranks that of rank 0."""
        if self._agreed_log_dir is not None and self.world_size > 1:
            return self._agreed_log_dir
        return self._own_log_dir

    @property
    def _own_log_dir(self) -> str | None:
        logger = self.logger
        if logger is None:
            return self.default_root_dir
        directory: str | None = logger.log_dir if logger.log_dir is not None else logger.save_dir
        return directory

    def agree_on_folders(self) -> None:
        """Take over rank 0's `log_dir` and the versions of its loggers; every rank calls it as a run begins."""
        if self.world_size == 1:
            return
        mine: Any = None
        if self.is_global_zero:
            mine = (self._own_log_dir, [_version_of(logger) for logger in self.loggers])
        self._agreed_log_dir, versions = self.strategy.broadcast(mine)
        if not self.is_global_zero and len(versions) == len(self.loggers):
            for logger, version in zip(self.loggers, versions, strict=True):
                # Third-party loggers need not derive from ours: they find their own versions.
                take = getattr(logger, "take_version", None)
                if take is not None and version is not None:
                    take(version)

    # -- ranks

    @property
    def is_global_zero(self) -> bool:
        """Whether this process is the first of all."""
        return self.strategy.is_global_zero

    @property
    def global_rank(self) -> int:
        """The number of this process among all."""
        return self.strategy.global_rank

    @property
    def local_rank(self) -> int:
        """The number of this process on its node."""
        return self.strategy.local_rank

    @property
    def node_rank(self) -> int:
        """The number of this node."""
        return self.strategy.node_rank

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self.strategy.world_size

    # -- stages

    @property
    def interrupted(self) -> bool:
        """Whether the last run ended with an exception."""
        return self.state.status == TrainerStatus.INTERRUPTED

    def _is(self, stage: RunningStage) -> bool:
        return self.state.stage is stage

    def _turn(self, stage: RunningStage, *, on: bool) -> None:
        if on:
            self.state.stage = stage
        elif self.state.stage is stage:
            self.state.stage = None

    @property
    def training(self) -> bool:
        """Whether a training epoch runs."""
        return self._is(RunningStage.TRAINING)

    @training.setter
    def training(self, on: bool) -> None:
        self._turn(RunningStage.TRAINING, on=on)

    @property
    def validating(self) -> bool:
        """Whether validation runs."""
        return self._is(RunningStage.VALIDATING)

    @validating.setter
    def validating(self, on: bool) -> None:
        self._turn(RunningStage.VALIDATING, on=on)

    @property
    def testing(self) -> bool:
        """Whether testing runs."""
        return self._is(RunningStage.TESTING)

    @testing.setter
    def testing(self, on: bool) -> None:
        self._turn(RunningStage.TESTING, on=on)

    @property
    def predicting(self) -> bool:
        """Whether prediction runs."""
        return self._is(RunningStage.PREDICTING)

    @predicting.setter
    def predicting(self, on: bool) -> None:
        self._turn(RunningStage.PREDICTING, on=on)

    @property
    def sanity_checking(self) -> bool:
        """Whether the sanity check runs."""
        return self._is(RunningStage.SANITY_CHECKING)

    @sanity_checking.setter
    def sanity_checking(self, on: bool) -> None:
        self._turn(RunningStage.SANITY_CHECKING, on=on)

    @property
    def evaluating(self) -> bool:
        """Whether validation, testing or the sanity check runs."""
        return self.state.stage is not None and self.state.stage.evaluating

    @property
    def fitting(self) -> bool:
        """Whether `fit` was called last."""
        return self.state.fn == TrainerFn.FITTING

    # -- callbacks by role

    def callbacks_of(self, role: str) -> list[Any]:
        """Return the callbacks that play ``role``, in order."""
        return [callback for callback in self.callbacks if callback.role == role]

    def _first(self, role: str) -> Any:
        found = self.callbacks_of(role)
        return found[0] if found else None

    @property
    def checkpoint_callback(self) -> Checkpoint | None:
        """The first checkpoint callback."""
        found: Checkpoint | None = self._first("checkpoint")
        return found

    @property
    def checkpoint_callbacks(self) -> list[Checkpoint]:
        """All checkpoint callbacks."""
        return self.callbacks_of("checkpoint")

    @property
    def early_stopping_callback(self) -> Any:
        """The first early stopping callback."""
        return self._first("early_stopping")

    @property
    def early_stopping_callbacks(self) -> list[Any]:
        """All early stopping callbacks."""
        return self.callbacks_of("early_stopping")

    @property
    def progress_bar_callback(self) -> Any:
        """The progress bar."""
        return self._first("progress_bar")

    # -- files and screen

    def save_checkpoint(
        self,
        filepath: str | Path,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
        storage_options: Any | None = None,
    ) -> None:
        """Write the run's state to a file, whole or not at all.

        Args:
            filepath: Where to.
            weights_only: Leave out what only resuming needs.
            storage_options: Not supported by the plain file writer; must be None.

        Raises:
            TypeError: ``storage_options`` were given.
        """
        if storage_options is not None:
            raise TypeError(
                f"`storage_options={storage_options!r}` is not supported by files on a local disk. Expected None."
            )
        if not self._module:
            raise AttributeError(
                f"No module is attached to this trainer: `save_checkpoint({str(filepath)!r})` was called before any "
                "run. Expected a module to save: call `fit`, `validate`, `test` or `predict` first."
            )
        extra = self.checkpoint_entries()
        checkpoint = dump_checkpoint(self, self.lightning_module, weights_only=bool(weights_only), extra=extra)
        if self.is_global_zero:
            save_checkpoint_file(checkpoint, filepath)
        self.strategy.barrier("save_checkpoint")

    def checkpoint_entries(self) -> dict[str, Any]:
        """Return further top-level entries for a checkpoint: what this trainer's loop must remember."""
        return {}

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print once per node, above the progress bar if there is one."""
        if self.local_rank == 0:
            bar = self.progress_bar_callback
            (bar.print if bar is not None and bar.is_enabled else print)(*args, **kwargs)


def _version_of(logger: Any) -> int | str | None:
    version = getattr(logger, "version", None)
    return version if isinstance(version, (int, str)) else None
