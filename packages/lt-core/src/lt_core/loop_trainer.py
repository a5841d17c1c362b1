"""What surrounds a loop, whatever it looks like: the way in, the way out, and what is told to whom on the way.

`LoopTrainer` turns "write a trainer" into "write a loop": everything that happens before the first batch and after the
last one, everything about logged values, and what an exception means, is here, once. `lt_core.testing.MiniTrainer`
and the example ``own_trainer.py`` are loops on top of it. A trainer that needs other surroundings derives from
`TrainerBase` instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_core.checkpoint import restore_callbacks, restore_datamodule, restore_module, restore_optimizers
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.configured_optimizers import configured_optimizers
from lt_core.hooks.calls import HookCalls, is_overridden, resolve_hook_calls
from lt_core.log.reading import read_scalars
from lt_core.module import LightningModule
from lt_core.state import RunningStage, TrainerFn, TrainerState, TrainerStatus
from lt_core.trainer_base import TrainerBase

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from lt_core.log.sink import LogSink

__all__ = ["LoopTrainer"]


class LoopTrainer(TrainerBase):
    """A trainer without its loop: write `run` around yours and report what happens in it.

    Args:
        callbacks: In calling order.
        loggers: Where metrics go.
        default_root_dir: Where files go unless told otherwise; by default the current folder.

    Example:
        >>> import torch
        >>> from lt_core.testing import BoringModel
        >>> class Once(LoopTrainer):
        ...     def fit(self, module, batch):
        ...         with self.run(TrainerFn.FITTING, module), self.collecting(RunningStage.TRAINING):
        ...             return self.step("training_step", batch, 0)["loss"].ndim
        >>> Once().fit(BoringModel(), torch.zeros(4, 32))
        0
    """

    hooks: HookCalls
    sink: LogSink
    _positional: dict[str, int]

    def __init__(
        self,
        callbacks: list[Any] | None = None,
        loggers: list[Any] | None = None,
        default_root_dir: str | Path | None = None,
    ) -> None:
        super().__init__(callbacks, loggers, default_root_dir)
        self.sink = self.metrics_board.sink
        self.hooks = {}
        self._positional = {}

    # -- a run

    @contextmanager
    def run(
        self, fn: TrainerFn, module: LightningModule, datamodule: Any = None, ckpt_path: str | Path | None = None
    ) -> Iterator[None]:
        """Do all that comes before and after a loop.

        Before: the hooks from ``configure_callbacks`` to ``on_fit_start``, hyperparameters to the loggers, the
        checkpoint. After: the hooks from ``on_fit_end`` to ``teardown``, and the loggers' ``finalize``. When the loop
        raises, the callbacks and loggers are told instead.

        Args:
            fn: What is being done.
            module: With what.
            datamodule: Whose data.
            ckpt_path: A checkpoint to go on from.
        """
        self.state = TrainerState(TrainerStatus.RUNNING, fn)
        self.ckpt_path = None if ckpt_path is None else str(ckpt_path)
        self.should_stop = False
        self.datamodule = datamodule
        try:
            self._begin(fn, module)
            yield
            self._end(fn, module)
        except BaseException as error:
            self._interrupted(error, module)
            raise
        finally:
            self.state.stage = None
            self.sink.close()

    def _begin(self, fn: TrainerFn, module: LightningModule) -> None:
        if fn is TrainerFn.FITTING and self._module is not None and self._module is not module:
            self.current_epoch = self.global_step = self.num_logged_windows = 0
        self._take_callbacks_of(module)
        self.attach(module)
        owners = [module] if self.datamodule is None else [self.datamodule, module]
        for owner in owners:
            self._outside("prepare_data", owner)
        for logger in self.loggers:
            _ = logger.experiment
        if self.datamodule is not None:
            self._outside("setup", self.datamodule, stage=str(fn))
        for callback in self.callbacks:
            self._outside("setup", callback, self, module, stage=str(fn))
        self._outside("setup", module, stage=str(fn))
        self._outside("configure_model", module)
        checkpoint = self._restore_model(module)
        self.hooks = resolve_hook_calls(self, module, self.callbacks, self.sink)
        self._positional.clear()
        self.metrics_board.reset()
        if fn is TrainerFn.FITTING:
            self.sink.fx = "configure_optimizers"
            self.optimizers, self.lr_scheduler_configs = configured_optimizers(module.configure_optimizers())
            self.sink.fx = None
            self.call("on_fit_start")
        self._log_start(module)
        if fn is TrainerFn.FITTING and checkpoint is not None:
            restore_optimizers(self, checkpoint)
            self.restore_progress(checkpoint)
        module.zero_grad()

    def _outside(self, name: str, owner: Any, *args: Any, **kwargs: Any) -> None:
        """Call a hook before the calls are resolved."""
        self.sink.fx = name
        try:
            getattr(owner, name)(*args, **kwargs)
        finally:
            self.sink.fx = None

    def _take_callbacks_of(self, module: LightningModule) -> None:
        """Add the callbacks that the module brings along; one of the same class replaces the trainer's."""
        brought = module.configure_callbacks() or []
        brought = list(brought) if isinstance(brought, (list, tuple)) else [brought]
        kinds = {type(callback) for callback in brought}
        kept = [callback for callback in self.callbacks if type(callback) not in kinds]
        together = kept + brought
        # Checkpoints come last, so that they hold what the other callbacks did.
        self.callbacks[:] = sorted(together, key=lambda callback: callback.role == "checkpoint")

    def _restore_model(self, module: LightningModule) -> dict[str, Any] | None:
        if self.ckpt_path is None:
            return None
        checkpoint = load_checkpoint_file(self.ckpt_path, map_location=self.strategy.root_device)
        restore_module(module, checkpoint)
        if self.datamodule is not None:
            restore_datamodule(self.datamodule, checkpoint)
        restore_callbacks(self, module, checkpoint)
        return checkpoint

    def checkpoint_entries(self) -> dict[str, Any]:
        """Return how far training is; extend it, and `restore_progress`, by what your own loop must remember."""
        epoch_done = self.training and self.sink.epoch_ended
        return {"progress": {"epochs": self.current_epoch + epoch_done, "windows": self.num_logged_windows}}

    def restore_progress(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting where the checkpoint stood; a checkpoint from within an epoch begins that epoch again.

        Args:
            checkpoint: What was read.
        """
        progress = checkpoint.get("progress", {})
        self.current_epoch = progress.get("epochs", checkpoint["epoch"])
        self.num_logged_windows = progress.get("windows", checkpoint["global_step"])
        self.global_step = checkpoint["global_step"]

    def _log_start(self, module: LightningModule) -> None:
        for logger in self.loggers:
            if module.hparams_initial:
                logger.log_hyperparams(module.hparams_initial)
            logger.log_graph(module)
            logger.save()

    def _end(self, fn: TrainerFn, module: LightningModule) -> None:
        self.metrics_board.to_cpu()
        if fn is TrainerFn.FITTING:
            self.call("on_fit_end")
        if self.datamodule is not None:
            self._outside("teardown", self.datamodule, stage=str(fn))
        self.call("teardown", stage=str(fn))
        for logger in self.loggers:
            logger.finalize("success")
        self.state.status = TrainerStatus.FINISHED

    def _interrupted(self, error: BaseException, module: LightningModule) -> None:
        self.state.status = TrainerStatus.INTERRUPTED
        for callback in self.callbacks:
            self._outside("on_exception", callback, self, module, error)
        if self.datamodule is not None and is_overridden("on_exception", self.datamodule, object):
            self._outside("on_exception", self.datamodule, error)
        for logger in self.loggers:
            logger.finalize("failed")
        self.metrics_board.to_cpu()

    # -- inside a run

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a hook of the callbacks and the module; what the module's returns is returned."""
        hook = self.hooks.get(name)
        return None if hook is None else hook(*args, **kwargs)

    def step(self, name: str, *values: Any) -> Any:
        """Call a step of the module with as many of the values as it takes.

        Args:
            name: ``training_step``, ``validation_step``, ``test_step`` or ``predict_step``.
            values: The batch ``[B, …]``, its index and the loader's index.
        """
        method = getattr(self.lightning_module, name)
        if name not in self._positional:
            self._positional[name] = _positional_arguments(method)
        outer, self.sink.fx = self.sink.fx, name
        try:
            return method(*values[: self._positional[name]])
        finally:
            self.sink.fx = outer

    @contextmanager
    def collecting(self, stage: RunningStage) -> Iterator[None]:
        """Be in ``stage``: what is logged goes to its book; the stage before comes back afterwards."""
        outer = self.state.stage
        if outer is not None:
            self.metrics_board.publish()
        self.state.stage = stage
        if stage is not RunningStage.PREDICTING:
            self.sink.open(str(stage))
        try:
            yield
        finally:
            self.state.stage = outer
            if outer is None:
                self.sink.close()
            else:
                self.sink.open(str(outer))

    @contextmanager
    def evaluating_module(self, stage: str) -> Iterator[None]:
        """Put the module in evaluation mode; afterwards each submodule is in the mode that it was in.

        Args:
            stage: ``validation``, ``test`` or ``predict``, of the hook ``on_<stage>_model_eval``.
        """
        module = self.lightning_module
        modes = {child: child.training for child in module.modules()}
        getattr(module, f"on_{stage}_model_eval")()
        try:
            yield
        finally:
            restore = f"on_{stage}_model_train"
            if stage != "predict" and is_overridden(restore, module, LightningModule):
                getattr(module, restore)()
            else:
                for child, training in modes.items():
                    child.training = training

    def batch_to_device(self, batch: Any, dataloader_idx: int = 0) -> Any:
        """Bring a batch to the device through the transfer hooks, and let the sink tell its size if needed.

        Args:
            batch: As the loader gave it.
            dataloader_idx: Which loader's.
        """
        owner = self.lightning_module
        batch = owner.on_before_batch_transfer(batch, dataloader_idx)
        batch = owner.transfer_batch_to_device(batch, self.strategy.root_device, dataloader_idx)
        batch = owner.on_after_batch_transfer(batch, dataloader_idx)
        self.sink.batch = batch
        return batch

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run a backward pass between its two hooks."""
        self.call("on_before_backward", loss)
        self.lightning_module.backward(loss, *args, **kwargs)
        self.call("on_after_backward")

    def _step_optimizer(self, optimizer: Optimizer, closure: Any = None, **kwargs: Any) -> Any:
        def closure_and_hooks() -> Any:
            loss = None if closure is None else closure()
            self.call("on_before_optimizer_step", optimizer)
            if self.lightning_module.automatic_optimization:
                self._clip(optimizer)
            return loss

        result = optimizer.step(closure_and_hooks, **kwargs)
        self.global_step += 1
        return result

    def _clip(self, optimizer: Optimizer) -> None:
        outer, self.sink.fx = self.sink.fx, "configure_gradient_clipping"
        try:
            self.lightning_module.configure_gradient_clipping(
                optimizer,
                gradient_clip_val=self.gradient_clip_val,
                gradient_clip_algorithm=self.gradient_clip_algorithm,
            )
        finally:
            self.sink.fx = outer

    # -- what was logged

    def end_epoch(self, hook: str, step: int, num_loaders: int = 1) -> list[dict[str, float]]:
        """End the epoch of the open book: its hook may still log, then its values go to the loggers.

        Args:
            hook: ``on_train_epoch_end``, ``on_validation_epoch_end`` or ``on_test_epoch_end``.
            step: Where on the x-axis the values belong.
            num_loaders: How many loaders were evaluated.

        Returns:
            The values by name, one dict per loader.
        """
        self.sink.batch = None
        self.sink.dataloader_idx = None
        self.sink.epoch_ended = True
        self.call(hook)
        self.metrics_board.publish()
        rows = self.sink.read_per_loader(num_loaders)
        self.log_row({name: value for row in rows for name, value in row.items()}, step)
        self.sink.reset()
        return rows

    def log_row(self, row: dict[str, float], step: int) -> None:
        """Hand one row to the loggers, with the epoch; a metric named ``step`` takes the place of the step.

        Args:
            row: Values by name; an empty row is dropped.
            step: Where on the x-axis it belongs.
        """
        if not row or not self.loggers or self.sanity_checking:
            return
        row = dict(row)
        if "step" in row:
            step = int(row.pop("step"))
        else:
            row.setdefault("epoch", self.current_epoch)
        for logger in self.loggers:
            logger.log_metrics(dict(row), step)
            logger.save()

    def log_step_row(self, *, at_once: bool = False) -> None:
        """Hand the last step's values to the loggers, every ``log_every_n_steps`` windows or at once."""
        due = self.log_every_n_steps and (self.num_logged_windows + 1) % self.log_every_n_steps == 0
        if due or at_once or self.should_stop or self.fast_dev_run:
            self.log_row(read_scalars(self.metrics_board.publish()), self.num_logged_windows)


def _positional_arguments(method: Any) -> int:
    """Return how many positional arguments a step takes, at most three."""
    count = 0
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return 3
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            count += 1
    return min(count, 3)
