"""One call of fit, validate, test or predict: collect what the user gave, resolve it into a plan, begin, end.

What happens between `Run.begin` and `Run.end` is the loops' matter.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lt_core.callback import Callback
from lt_core.checkpoint import restore_callbacks, restore_datamodule, restore_module, restore_optimizers
from lt_core.checkpoint_file import unsafe_values
from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, SIGTERMException
from lt_core.hooks import HookCall, HookCalls, bind_hook, is_overridden, resolve_hook_calls
from lt_core.hparams import unpicklable_hparams
from lt_core.module import LightningModule
from lt_core.optimizer_setup import configure_optimizers
from lt_core.prepare_lock import prepare_lock
from lt_core.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn
from lt_core.state import RunningStage, TrainerFn, TrainerStatus
from lt_loops.arguments import resolve_loop_limits
from lt_loops.callback_list import merge_callbacks, reorder
from lt_loops.checkpoint_choice import choose_checkpoint
from lt_loops.checks import check_run
from lt_loops.compiled import from_compiled
from lt_loops.launchers.call import Call
from lt_loops.log_writer import LogWriter
from lt_loops.loops.evaluation_loop import EvaluationPlan
from lt_loops.loops.fit_loop import FitPlan
from lt_loops.optimization.automatic import AutomaticOptimization
from lt_loops.optimization.loss import refuse_nan_loss
from lt_loops.optimization.manual import ManualOptimization
from lt_loops.optimization.schedulers import SchedulerStepper
from lt_loops.profiling import HookProfiler
from lt_loops.ranks.stop_vote import PolledStop, StopVote
from lt_loops.requeue import RequeueWatch
from lt_loops.run_state import KEY, restore_fit_progress
from lt_loops.signals import SigtermWatch
from lt_loops.steps import check_dataloader_idx, resolve_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lt_loops.trainer import Trainer

__all__ = ["Given", "Run"]


@dataclass(frozen=True)
class Given:
    """What an entry point was called with.

    Attributes:
        model: The module, maybe compiled; None for the one of the last run.
        datamodule: The data module.
        loaders: Loaders by prefix.
        ckpt_path: Which checkpoint to load.
        weights_only: How to read it.
    """

    model: Any
    datamodule: Any
    loaders: dict[str, Any]
    ckpt_path: str | Path | None
    weights_only: bool | None

    def call_of(self, fn: TrainerFn, options: dict[str, Any]) -> Call:
        """Return the call of the entry point ``fn`` that this came from."""
        names = {"train": "train_dataloaders", "val": "val_dataloaders"} if fn == TrainerFn.FITTING else {}
        arguments = {
            "model": self.model,
            "datamodule": self.datamodule,
            "ckpt_path": self.ckpt_path,
            "weights_only": self.weights_only,
            **{names.get(prefix, "dataloaders"): loader for prefix, loader in self.loaders.items()},
            **options,
        }
        return Call(str(fn), arguments)


class Run:
    """The life of one call of an entry point.

    Args:
        trainer: Whose.
        fn: The entry point.
        stage: Its stage.
        given: What it was called with.

    Attributes:
        ckpt_path: The checkpoint that is loaded, None for none.
        optimization: How batches become steps; None unless fitting.
    """

    ckpt_path: str | None
    optimization: AutomaticOptimization | ManualOptimization | None

    def __init__(self, trainer: Trainer, fn: TrainerFn, stage: RunningStage, given: Given) -> None:
        self.ckpt_path = None
        self.optimization = None
        self._trainer = trainer
        self._fn = fn
        self._stage = stage
        self._given = given
        self._hooks: HookCalls = {}
        self._schedulers: SchedulerStepper | None = None
        self._checked_safety = False
        self._profile = HookProfiler(trainer.profiler)
        self._sigterm = SigtermWatch(self._note_sigterm)
        self._requeue = RequeueWatch(self._note_sigterm)
        self._stop: StopVote | PolledStop | None = None

    @property
    def _sink(self) -> Any:
        return self._trainer.metrics_board.sink

    @property
    def module(self) -> LightningModule:
        """The module of the run."""
        return self._trainer.lightning_module

    # -- collect and resolve

    def begin(self) -> None:
        """Do everything up to the loop, in the documented order."""
        trainer, fn = self._trainer, self._fn
        trainer.state.fn, trainer.state.status, trainer.state.stage = fn, TrainerStatus.RUNNING, self._stage
        if fn == TrainerFn.FITTING:
            trainer.should_stop = False
        trainer.received_sigterm = False
        module, data = self._collect()
        trainer.strategy.connect(module)
        brought = module.configure_callbacks() if is_overridden("configure_callbacks", module, LightningModule) else []
        trainer.callbacks = merge_callbacks(trainer.callbacks, brought)
        trainer.callbacks[:] = reorder(trainer.callbacks)
        trainer.attach(module)
        check_run(trainer, fn, module, data)
        if fn == TrainerFn.FITTING:
            self._take_module_for_fit(module)
        self._drop_unpicklable(module)
        self.ckpt_path = choose_checkpoint(
            trainer, fn, self._given.ckpt_path, trainer.assigned_ckpt_path, model_given=self._given.model is not None
        )
        trainer.loaded_ckpt_path = self.ckpt_path
        if self._given.ckpt_path is not None:
            trainer.assigned_ckpt_path = None
        trainer.strategy.setup_environment()
        rank_zero_only.rank = trainer.global_rank
        trainer.agree_on_folders()
        trainer.profiler.setup(str(fn), trainer.local_rank if trainer.world_size > 1 else None, trainer.log_dir)
        self._prepare_data(module)
        for logger in trainer.loggers:
            _ = getattr(logger, "experiment", None)  # a remote run exists before the user's setup wants its id
        trainer.agree_on_folders()  # some know theirs only now
        self._stop = self._stop_of()
        self._setup(module)
        checkpoint = self._load(module)
        late = partial(self._sink.exchange_late, module) if trainer.world_size > 1 else None
        self._hooks = resolve_hook_calls(trainer, module, trainer.callbacks, self._sink, self._profile.wrap, late)
        self._sink.clear()
        trainer.metrics_board.reset()
        trainer.strategy.setup(trainer)
        if fn == TrainerFn.FITTING:
            self._configure_optimizers(module)
            self._call("on_fit_start")
        self._log_hyperparams(module)
        module.zero_grad()
        if checkpoint is not None:
            self._restore_training(module, checkpoint)
        self._sigterm.install()
        self._requeue.install(trainer.strategy)

    def _collect(self) -> tuple[LightningModule, Any]:
        """Find the module and where its data comes from."""
        trainer, given = self._trainer, self._given
        loaders, datamodule = dict(given.loaders), given.datamodule
        first = next(iter(loaders))
        if isinstance(loaders[first], DataHooks) and not isinstance(loaders[first], nn.Module):
            if datamodule is not None:
                raise MisconfigurationException(
                    f"`Trainer.{self._fn}` got two data modules: {loaders[first]!r} and {datamodule!r}. Expected one: "
                    "leave one out."
                )
            datamodule, loaders[first] = loaders[first], None
        if datamodule is not None and any(value is not None for value in loaders.values()):
            raise MisconfigurationException(
                f"`Trainer.{self._fn}` got loaders and a data module. Expected one of them: leave `dataloaders` or "
                "`datamodule` out."
            )
        if datamodule is not None and not isinstance(datamodule, DataHooks):
            raise MisconfigurationTypeError(
                f"`Trainer.{self._fn}(datamodule=…)` got a {type(datamodule).__name__}. Expected a "
                "`LightningDataModule`: pass loaders as `dataloaders` (`train_dataloaders`, `val_dataloaders` to fit)."
            )
        module = self._module_of(given.model)
        trainer.data.attach(module, datamodule, loaders)
        return module, trainer.data

    def _module_of(self, model: Any) -> LightningModule:
        trainer = self._trainer
        if model is None:
            if self._fn == TrainerFn.FITTING or not trainer.has_module:
                raise MisconfigurationTypeError(
                    f"`Trainer.{self._fn}(model=None)`: there is no module from an earlier run. Expected a "
                    "LightningModule: pass it."
                )
            return trainer.lightning_module
        if isinstance(model, torch._dynamo.OptimizedModule):  # noqa: SLF001 -- the type has no public name
            model = from_compiled(model)
        if isinstance(model, type):
            raise MisconfigurationTypeError(
                f"`Trainer.{self._fn}` got the class {model.__name__} as its model. Expected an instance: write "
                f"`{model.__name__}()`."
            )
        if not isinstance(model, LightningModule):
            raise MisconfigurationTypeError(
                f"`Trainer.{self._fn}` got a {type(model).__name__} as its model. Expected a LightningModule: derive "
                "from `lt.LightningModule` (one that derives from another package's LightningModule is not one: use "
                "one import style)."
            )
        return model

    def _take_module_for_fit(self, module: LightningModule) -> None:
        """Begin from zero with a new module, go on with the one that was fitted last; find out where to stop."""
        trainer = self._trainer
        loop = trainer.fit_loop
        if trainer.fitted is not module:
            if trainer.fitted is not None:
                rank_zero_info(
                    "This trainer fitted another module before: its epochs and steps are counted from zero again."
                )
            loop.begin_anew()
            trainer.fitted = module
        loop.begin_fit()
        if loop.max_epochs is None:
            has_timer = any(callback.role == "timer" for callback in trainer.callbacks)
            loop.min_epochs, loop.max_epochs = resolve_loop_limits(trainer.arguments, has_timer=has_timer)

    def _drop_unpicklable(self, module: LightningModule) -> None:
        for owner in (module, self._trainer.datamodule):
            hparams = getattr(owner, "hparams", None)
            if not hparams:
                continue
            for name in unpicklable_hparams(hparams):
                rank_zero_warn(
                    f"The hyperparameter `{name}` cannot be written to a checkpoint and is left out. Pass it to "
                    f"`save_hyperparameters(ignore=['{name}'])`."
                )
                del hparams[name]

    # -- begin

    def _run_hook(self, name: str, owner: object, parent: type, *leading: Any, **arguments: Any) -> None:
        function = bind_hook(name, owner, parent, *leading)
        if function is not None:
            HookCall(name, (self._profile.wrap(name, owner, function),), self._sink)(**arguments)

    def _prepare_data(self, module: LightningModule) -> None:
        trainer = self._trainer
        for owner in (trainer.datamodule, module):
            if owner is None:
                continue
            here = trainer.local_rank == 0 if owner.prepare_data_per_node else trainer.global_rank == 0
            if here and is_overridden("prepare_data", owner, DataHooks):
                with prepare_lock(owner):
                    self._run_hook("prepare_data", owner, DataHooks)
        trainer.strategy.barrier("prepare_data")

    def _setup(self, module: LightningModule) -> None:
        trainer, stage = self._trainer, str(self._fn)
        self._each("setup", stage, module)
        trainer.strategy.barrier("setup")
        for name in ("configure_sharded_model", "configure_model"):
            if is_overridden(name, module, LightningModule):
                with trainer.strategy.model_context(), trainer.strategy.model_sharded_context():
                    self._run_hook(name, module, LightningModule)

    def _each(self, name: str, stage: str, module: LightningModule) -> None:
        """Call ``setup`` or ``teardown`` of the data module, the callbacks and the module."""
        trainer = self._trainer
        if trainer.datamodule is not None:
            self._run_hook(name, trainer.datamodule, DataHooks, stage=stage)
        for callback in list(trainer.callbacks):
            self._run_hook(name, callback, Callback, trainer, module, stage=stage)
        self._run_hook(name, module, LightningModule, stage=stage)

    def _load(self, module: LightningModule) -> dict[str, Any] | None:
        """Read the checkpoint and restore what all entry points restore."""
        trainer = self._trainer
        if self.ckpt_path is None:
            return None
        rank_zero_info(f"Restoring states from the checkpoint at {self.ckpt_path}")
        checkpoint = trainer.strategy.load_checkpoint(self.ckpt_path, weights_only=self._given.weights_only)
        precision = trainer.strategy.precision_plugin
        if precision.converts_before_loading:
            precision.convert_module(module)
        restore_module(module, checkpoint)
        if trainer.datamodule is not None:
            restore_datamodule(trainer.datamodule, checkpoint)
        restore_callbacks(trainer, module, checkpoint)
        return checkpoint

    def _configure_optimizers(self, module: LightningModule) -> None:
        trainer = self._trainer
        self._sink.fx = "configure_optimizers"
        setup = configure_optimizers(module, automatic=module.automatic_optimization)
        self._sink.fx = None
        trainer.optimizers = setup.optimizers
        trainer.lr_scheduler_configs = setup.schedulers
        precision = trainer.strategy.precision_plugin
        precision.check_optimizers(setup.optimizers)
        trainer.strategy.setup_optimizers(setup.optimizers)
        step = resolve_step(trainer.strategy.step_function("training_step"), "training_step")
        if trainer.arguments.detect_anomaly:
            step = refuse_nan_loss(step)
        step = self._profile.wrap("training_step", trainer.strategy, step)
        steps = trainer.fit_loop.progress.steps
        if module.automatic_optimization:
            self.optimization = AutomaticOptimization(
                module,
                setup.optimizers[0],
                self._hooks,
                step,
                precision,
                (trainer.gradient_clip_val, trainer.gradient_clip_algorithm),
                trainer.clip_gradients,
                self._sink,
                trainer.strategy,
                steps,
            )
        else:
            self.optimization = ManualOptimization(
                module, setup.optimizers, self._hooks, step, precision, trainer.strategy.before_backward, steps
            )
        trainer.fit_loop.optimization = self.optimization
        hook = bind_hook("lr_scheduler_step", module, LightningModule)
        self._schedulers = SchedulerStepper(
            setup.schedulers if module.automatic_optimization else [],
            module,
            None if hook is None else HookCall("lr_scheduler_step", (hook,), self._sink),
        )
        trainer.fit_loop.schedulers = self._schedulers

    def _log_hyperparams(self, module: LightningModule) -> None:
        trainer = self._trainer
        if not trainer.loggers or not trainer.enable_autolog_hparams:
            return
        hparams: dict[str, Any] = {}
        for owner in (module, trainer.datamodule):
            if owner is None or not getattr(owner, "log_hyperparams_enabled", False):
                continue
            for name, value in dict(owner.hparams_initial).items():
                if name in hparams and (type(hparams[name]) is not type(value) or hparams[name] != value):
                    raise MisconfigurationException(
                        f"The hyperparameter `{name}` is {hparams[name]!r} in the module and {value!r} in the data "
                        "module. Expected "
                        "one value: rename one of them, or pass `save_hyperparameters(logger=False)` in one."
                    )
                hparams[name] = value
        hparams.pop("_class_path", None)
        for logger in trainer.loggers:
            if hparams:
                logger.log_hyperparams(hparams)
            logger.log_graph(module)
            logger.save()

    def _restore_training(self, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        trainer = self._trainer
        precision = trainer.strategy.precision_plugin
        state = checkpoint.get(type(precision).__qualname__)
        if state is not None:
            precision.load_state_dict(state)
        if self._fn != TrainerFn.FITTING:
            return
        restore_optimizers(trainer, checkpoint)
        restore_fit_progress(trainer, module, checkpoint)
        if self.optimization is not None:
            self.optimization.steps = trainer.fit_loop.progress.steps

    def warn_of_unsafe_values(self, checkpoint: dict[str, Any]) -> None:
        """Say once in a run which parts of its checkpoints need more than the safe way of reading."""
        if self._checked_safety:
            return
        self._checked_safety = True
        weights = {"state_dict", "optimizer_states", KEY}
        unsafe = unsafe_values({key: value for key, value in checkpoint.items() if key not in weights})
        if unsafe:
            rank_zero_warn(
                f"The checkpoint holds values that `weights_only=True` cannot read back: {', '.join(unsafe)}. Keep "
                "numbers, strings, "
                "lists, dicts and tensors in checkpoints, leave hyperparameters out with "
                "`save_hyperparameters(ignore=…)`, or "
                "load with `weights_only=False`."
            )

    def _note_sigterm(self) -> None:
        self._trainer.received_sigterm = True
        if self._stop is not None:
            self._stop.signal()

    def _stop_of(self) -> StopVote | PolledStop | None:
        """Return how the processes agree to stop, with no vote of an earlier run; None for one process.

        Called between two barriers: no process is still in an earlier run, and none is in this run's loop.
        """
        trainer = self._trainer
        strategy, exchange = trainer.strategy, self._sink.exchange
        if exchange is None:
            return None
        every = trainer.log_every_n_steps or 50
        board = strategy.board
        stop = PolledStop(exchange, every) if board is None else StopVote(board, strategy.timeout)
        stop.reset()
        return stop

    # -- plans

    def fit_plan(self) -> FitPlan:
        """Return the immutable plan of a fit."""
        trainer, module = self._trainer, self.module
        if self.optimization is None or self._schedulers is None:
            raise RuntimeError("The optimizers are not configured. Expected `begin` to be called first.")
        zero_grad = bind_hook("on_validation_model_zero_grad", module, LightningModule)
        return FitPlan(
            module=module,
            hooks=self._hooks,
            optimization=self.optimization,
            schedulers=self._schedulers,
            move=trainer.data.mover(self._sink),
            sink=self._sink,
            board=trainer.metrics_board,
            writer=LogWriter(trainer.loggers),
            # Rows may need values of all ranks, also where only one of them has loggers.
            log_every_n_steps=trainer.log_every_n_steps if trainer.loggers or self._stop is not None else 0,
            stop=self._stop,
            zero_grad_before_validation=None
            if zero_grad is None
            else HookCall("on_validation_model_zero_grad", (zero_grad,), self._sink),
        )

    def evaluation_plan(self, kind: str) -> EvaluationPlan:
        """Return the immutable plan of an evaluation.

        Args:
            kind: ``validation``, ``test`` or ``predict``.
        """
        trainer, module = self._trainer, self.module
        name = f"{kind}_step"
        several = trainer.data.has_several(kind)
        for hook in (name, f"on_{kind}_batch_start", f"on_{kind}_batch_end"):
            check_dataloader_idx(bind_hook(hook, module, LightningModule), hook, module, several=several)
            for callback in trainer.callbacks if hook != name else ():
                bound = bind_hook(hook, callback, Callback)
                check_dataloader_idx(bound, hook, callback, several=several)
        step = resolve_step(trainer.strategy.step_function(name), name)
        return EvaluationPlan(
            module=module,
            hooks=self._hooks,
            step=self._profile.wrap(name, trainer.strategy, step),
            move=trainer.data.mover(self._sink),
            sink=self._sink,
            board=trainer.metrics_board,
            writer=LogWriter(trainer.loggers),
            step_context=trainer.strategy.precision_plugin.step_context(),
            stop=self._stop,
        )

    def context(self) -> AbstractContextManager[Any]:
        """Return what the loop runs under: anomaly detection for fit, no gradients for the others."""
        arguments = self._trainer.arguments
        if self._fn == TrainerFn.FITTING:
            return torch.autograd.set_detect_anomaly(True) if arguments.detect_anomaly else nullcontext()
        return torch.inference_mode() if arguments.inference_mode else torch.no_grad()

    # -- end

    def _call(self, name: str) -> None:
        hook = self._hooks.get(name)
        if hook is not None:
            hook()

    def end(self) -> None:
        """Do everything that follows a loop that ended well."""
        trainer, module = self._trainer, self.module
        self._free()
        if self._fn == TrainerFn.FITTING:
            self._call("on_fit_end")
        self._each("teardown", str(self._fn), module)
        self._finalize("success")
        trainer.profiler.describe()
        trainer.state.status, trainer.state.stage = TrainerStatus.FINISHED, None

    def interrupt(self, error: BaseException) -> None:
        """Tell everybody that the run was interrupted, and free what it holds, also when somebody who is told fails."""
        try:
            self._tell(error)
        finally:
            if isinstance(error, SIGTERMException):
                self._requeue.put_back(first=self._trainer.is_global_zero)
            self._finalize("failed")
            self._free()
            for loop in (self._trainer.validate_loop, self._trainer.test_loop, self._trainer.predict_loop):
                loop.restore_modes()  # or the next fit would train in evaluation mode
            self._trainer.fit_loop.resume = None  # what was not restored yet is not the next run's
            self._trainer.state.stage = None

    def _finalize(self, status: str) -> None:
        """Tell all loggers that the run has ended, also those after one that raises."""
        with ExitStack() as stack:
            for logger in reversed(self._trainer.loggers):
                stack.callback(logger.finalize, status)

    def _tell(self, error: BaseException) -> None:
        trainer = self._trainer
        trainer.state.status = TrainerStatus.INTERRUPTED
        self._sink.fx = "on_exception"
        if trainer.has_module:
            for callback in trainer.callbacks:
                callback.on_exception(trainer, trainer.lightning_module, error)
        datamodule = trainer.datamodule
        if datamodule is not None and isinstance(datamodule, DataHooks):
            on_exception: Callable[[BaseException], None] | None = getattr(datamodule, "on_exception", None)
            if on_exception is not None:
                on_exception(error)
        trainer.strategy.on_exception(error)

    def _free(self) -> None:
        """Free the device, the loaders' workers and the signal handlers."""
        trainer = self._trainer
        if self.optimization is not None:
            trainer.fit_loop.progress.steps = self.optimization.steps
        trainer.strategy.teardown()
        trainer.data.teardown()
        self._sink.close()
        self._sink.fx = None
        trainer.metrics_board.to_cpu()
        self._sigterm.remove()
        self._requeue.remove()
