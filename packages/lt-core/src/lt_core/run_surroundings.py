"""What comes before and after a loop, whatever it looks like: hooks, checkpoint, hyperparameters, exceptions."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lt_core.checkpoint import restore_callbacks, restore_datamodule, restore_module, restore_optimizers
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.hooks.calls import HookCalls, is_overridden, resolve_hook_calls
from lt_core.optimizer_setup import configure_optimizers
from lt_core.prepare_lock import prepare_lock
from lt_core.state import TrainerFn, TrainerState, TrainerStatus
from lt_core.trainer_base import TrainerBase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lt_core.log.sink import LogSink
    from lt_core.module import LightningModule

__all__ = ["RunSurroundings"]


class RunSurroundings(TrainerBase):
    """The way into a run and out of it, and hook calls in between; `LoopTrainer` has the rest.

    Args:
        callbacks: In calling order.
        loggers: Where metrics go.
        default_root_dir: Where files go unless told otherwise; by default the current folder.
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
            with prepare_lock(owner):
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
            setup = configure_optimizers(module, automatic=module.automatic_optimization)
            self.optimizers, self.lr_scheduler_configs = setup.optimizers, setup.schedulers
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
        if name not in self._positional:
            self._positional[name] = _positional_arguments(getattr(self.lightning_module, name))
        return self.within(name, *values[: self._positional[name]])

    def within(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the module as the hook that it is, so that what it logs is treated by that hook's rule."""
        outer, self.sink.fx = self.sink.fx, name
        try:
            return getattr(self.lightning_module, name)(*args, **kwargs)
        finally:
            self.sink.fx = outer


def _positional_arguments(method: Any) -> int:
    """Return how many positional arguments a step takes, at most three."""
    count = 0
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return 3
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            count += 1
    return min(count, 3)
