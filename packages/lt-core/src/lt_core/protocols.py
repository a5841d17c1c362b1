"""What the packages may expect of each other's objects.

Callbacks, loggers and data modules are written against these protocols, so that they work with any trainer that
passes the conformance kit in `lt_core.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from pathlib import Path

    from lt_core.callback import Callback, Checkpoint
    from lt_core.module import LightningModule
    from lt_core.optimizer import LightningOptimizer
    from lt_core.state import TrainerState

__all__ = ["DataModuleProtocol", "LoggerProtocol", "StrategyProtocol", "TrainerProtocol"]


@runtime_checkable
class LoggerProtocol(Protocol):
    """Where metrics go. `lt_core.logger.Logger` is the base class to derive from."""

    @property
    def name(self) -> str | None:
        """The experiment's name."""

    @property
    def version(self) -> int | str | None:
        """The run's version within the experiment."""

    @property
    def save_dir(self) -> str | None:
        """The folder under which the logger writes, None when it writes none."""

    @property
    def log_dir(self) -> str | None:
        """The folder of this very run, None when it writes none."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep one row of metrics."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the hyperparameters."""

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Keep the model's graph."""

    def save(self) -> None:
        """Write what is pending."""

    def finalize(self, status: str) -> None:
        """The run has ended: ``success``, ``failed`` or ``finished``."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """A checkpoint callback has written a file."""


@runtime_checkable
class DataModuleProtocol(Protocol):
    """What a trainer needs of a data module."""

    prepare_data_per_node: bool

    def prepare_data(self) -> None:
        """Download and write; one process per node."""

    def setup(self, stage: str) -> None:
        """Build what every process needs."""

    def teardown(self, stage: str) -> None:
        """Clean up."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""


class StrategyProtocol(Protocol):
    """How processes and devices work together."""

    @property
    def root_device(self) -> torch.device:
        """The device of this process."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this process is the first of all."""

    @property
    def global_rank(self) -> int:
        """The number of this process among all."""

    @property
    def local_rank(self) -> int:
        """The number of this process on its node."""

    @property
    def node_rank(self) -> int:
        """The number of this node."""

    @property
    def world_size(self) -> int:
        """How many processes there are."""

    def barrier(self, name: str | None = None) -> None:
        """Wait for all processes."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return the object of process ``src`` on every process."""

    def all_gather(self, tensor: Tensor, group: Any = None, *, sync_grads: bool = False) -> Tensor:
        """Return the tensors ``[…]`` of all processes as ``[world_size, …]``; unchanged in a single process."""

    def reduce(self, tensor: Any, group: Any = None, reduce_op: str | None = "mean") -> Any:
        """Combine a tensor over processes."""

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:  # noqa: A002, FBT001, FBT002
        """Agree on a decision: all must want it, or any."""

    def remove_checkpoint(self, filepath: str | Path) -> None:
        """Remove a checkpoint file or folder, once."""

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The module's full state."""


class TrainerProtocol(Protocol):
    """What callbacks, loggers and modules may rely on in any trainer.

    `lt_core.trainer_base.TrainerBase` has a default for each.
    """

    callbacks: list[Callback]
    loggers: list[Any]
    datamodule: Any
    state: TrainerState
    should_stop: bool
    optimizers: list[Optimizer]
    lr_scheduler_configs: list[Any]
    default_root_dir: str
    fast_dev_run: bool | int
    barebones: bool
    log_every_n_steps: int
    accumulate_grad_batches: int
    gradient_clip_val: float | None
    gradient_clip_algorithm: str | None
    check_val_every_n_epoch: int | None
    val_check_interval: Any
    ckpt_path: str | None
    received_sigterm: bool
    is_last_batch: bool

    # Values that a trainer may store or compute.
    @property
    def strategy(self) -> StrategyProtocol:
        """How processes and devices work together."""

    @property
    def logger(self) -> Any:
        """The first logger, or None."""

    @property
    def lightning_module(self) -> LightningModule:
        """The module that is being run."""

    @property
    def model(self) -> nn.Module:
        """The module as it is called: maybe wrapped by the strategy."""

    @property
    def lightning_optimizers(self) -> list[LightningOptimizer]:
        """The optimizers as `LightningModule.optimizers` returns them."""

    @property
    def current_epoch(self) -> int:
        """How many training epochs are complete."""

    @property
    def global_step(self) -> int:
        """How many optimizer steps were taken, over all optimizers."""

    @property
    def num_logged_windows(self) -> int:
        """How many accumulation windows were completed: the x-axis of logged rows."""

    @property
    def max_epochs(self) -> int | None:
        """Where to stop, in epochs; -1 for never."""

    @property
    def min_epochs(self) -> int | None:
        """Not to stop before, in epochs."""

    @property
    def max_steps(self) -> int:
        """Where to stop, in optimizer steps; -1 for never."""

    @property
    def min_steps(self) -> int | None:
        """Not to stop before, in optimizer steps."""

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """Everything logged, under plain and forked names."""

    @property
    def logged_metrics(self) -> dict[str, Tensor]:
        """What goes to loggers."""

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """What goes to the progress bar, read in one copy."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this process is the first of all."""

    @property
    def global_rank(self) -> int:
        """The number of this process among all."""

    @property
    def local_rank(self) -> int:
        """The number of this process on its node."""

    @property
    def node_rank(self) -> int:
        """The number of this node."""

    @property
    def world_size(self) -> int:
        """How many processes there are."""

    @property
    def log_dir(self) -> str | None:
        """The run's folder."""

    @property
    def sanity_checking(self) -> bool:
        """Whether the sanity check runs."""

    @property
    def training(self) -> bool:
        """Whether a training epoch runs."""

    @property
    def validating(self) -> bool:
        """Whether validation runs."""

    @property
    def testing(self) -> bool:
        """Whether testing runs."""

    @property
    def predicting(self) -> bool:
        """Whether prediction runs."""

    @property
    def evaluating(self) -> bool:
        """Whether validation or testing runs."""

    @property
    def enable_validation(self) -> bool:
        """Whether fit validates."""

    @property
    def num_training_batches(self) -> int | float:
        """Training batches per epoch; infinite when unknown."""

    @property
    def num_val_batches(self) -> list[int | float]:
        """Validation batches per loader."""

    @property
    def num_sanity_val_batches(self) -> list[int | float]:
        """Sanity check batches per loader."""

    @property
    def num_test_batches(self) -> list[int | float]:
        """Test batches per loader."""

    @property
    def num_predict_batches(self) -> list[int | float]:
        """Prediction batches per loader."""

    @property
    def val_check_batch(self) -> int | float | None:
        """After how many batches validation runs."""

    @property
    def train_dataloader(self) -> Any:
        """What training iterates over."""

    @property
    def val_dataloaders(self) -> Any:
        """What validation iterates over."""

    @property
    def test_dataloaders(self) -> Any:
        """What testing iterates over."""

    @property
    def predict_dataloaders(self) -> Any:
        """What prediction iterates over."""

    @property
    def checkpoint_callback(self) -> Checkpoint | None:
        """The first checkpoint callback."""

    @property
    def checkpoint_callbacks(self) -> list[Checkpoint]:
        """All checkpoint callbacks."""

    @property
    def early_stopping_callback(self) -> Any:
        """The first early stopping callback."""

    @property
    def early_stopping_callbacks(self) -> list[Any]:
        """All early stopping callbacks."""

    @property
    def progress_bar_callback(self) -> Any:
        """The progress bar."""

    def save_checkpoint(self, filepath: str | Path, weights_only: bool | None = None) -> None:  # noqa: FBT001
        """Write the run's state to a file; call on all ranks."""

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run a backward pass through precision and hooks."""

    def clip_gradients(self, optimizer: Optimizer, clip_val: float, algorithm: str) -> None:
        """Clip the gradients of an optimizer's parameters."""

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print once per node."""
