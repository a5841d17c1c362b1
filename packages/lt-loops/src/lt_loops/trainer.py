"""The Trainer: what users construct and call."""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lt_core.checkpoint import dump_checkpoint
from lt_core.errors import MisconfigurationException
from lt_core.optimizer import LightningOptimizer
from lt_core.state import RunningStage, TrainerFn
from lt_core.trainer_base import TrainerBase
from lt_loops.arguments import Arguments, resolve_arguments
from lt_loops.callback_list import build_callbacks
from lt_loops.components import resolve_components
from lt_loops.environment_defaults import with_environment_defaults
from lt_loops.launchers.failing import failing
from lt_loops.logger_list import build_loggers
from lt_loops.loops.evaluation_loop import EvaluationLoop, EvaluationPlan
from lt_loops.loops.fit_loop import FitLoop
from lt_loops.loops.prediction_loop import PredictionLoop
from lt_loops.optimization.manual import ManualOptimization
from lt_loops.problems import Problems
from lt_loops.profilers import resolve_profiler
from lt_loops.results_table import print_results
from lt_loops.run import Given, Run
from lt_loops.run_data import RunData, StageBatches
from lt_loops.run_state import KEY, dump_loops, dump_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from pathlib import Path

    from lt_core.callback import Callback
    from lt_core.module import LightningModule
    from lt_loops.accelerators import Accelerator
    from lt_loops.cross_validation import CrossValidationReport
    from lt_loops.cross_validation.protocol import FoldsProtocol
    from lt_loops.data.batches import EpochBatches
    from lt_loops.precision import Precision
    from lt_loops.profilers import Profiler
    from lt_loops.strategies import Strategy

__all__ = ["Trainer"]


class Trainer(TrainerBase):
    """Trains, validates, tests and predicts with a `LightningModule`.

    All arguments are passed by name; each may also come from the environment as ``PL_TRAINER_<NAME>``. What is wrong
    with them is reported together.

    Args:
        accelerator: ``"auto"``, ``"cpu"``, ``"gpu"``, ``"cuda"``, ``"mps"``, a registered name, or an `Accelerator`.
        strategy: ``"auto"``, a registered name, or a `Strategy`.
        devices: How many devices, or which: ``2``, ``[0, 3]``, ``"0,3"``, ``-1`` for all, ``"auto"``.
        num_nodes: How many machines.
        precision: ``"32-true"``, ``"64-true"``, ``"16-mixed"``, ``"bf16-mixed"``, ``"16-true"``, ``"bf16-true"`` or an
            older spelling (16, 32, 64, ``"bf16"``).
        logger: True for the default logger, False for none, a logger or several.
        callbacks: A callback or a list of them.
        fast_dev_run: Run one batch (or this many) of everything, without logs or checkpoints, to find mistakes.
        max_epochs: Stop after this many epochs; -1 for never; by default 1000 unless ``max_steps`` is given.
        min_epochs: Do not stop early before this many epochs.
        max_steps: Stop after this many optimizer steps; -1 for never.
        min_steps: Do not stop early before this many optimizer steps.
        max_time: Stop after this time: ``"DD:HH:MM:SS"``, a timedelta, or a dict of its arguments.
        limit_train_batches: Use this many batches per epoch (int), or this fraction of them (float).
        limit_val_batches: Likewise for each validation loader.
        limit_test_batches: Likewise for each test loader.
        limit_predict_batches: Likewise for each prediction loader.
        overfit_batches: Train and validate on this many batches (int) or this fraction (float), unshuffled.
        val_check_interval: Validate each that many batches (int), each fraction of an epoch (float), or by the clock.
        check_val_every_n_epoch: Validate in every n-th epoch; None to count batches across epochs.
        num_sanity_val_steps: Validation batches to run before training; -1 for all. By default 2.
        log_every_n_steps: Write a row to the loggers each that many steps; 0 for never. By default 50.
        enable_checkpointing: Whether to have a checkpoint callback. By default True.
        enable_progress_bar: Whether to have a progress bar. By default True.
        enable_model_summary: Whether to print a model summary. By default True.
        accumulate_grad_batches: Batches per optimizer step.
        gradient_clip_val: Clip gradients to this value; None for not.
        gradient_clip_algorithm: ``"norm"`` (default) or ``"value"``.
        deterministic: Use deterministic algorithms: True, False, ``"warn"``, or None to leave the setting alone.
        benchmark: Set ``torch.backends.cudnn.benchmark``; None to leave it alone.
        inference_mode: Validate, test and predict under ``torch.inference_mode`` rather than ``no_grad``.
        use_distributed_sampler: Divide the data among the ranks, where it is not divided already.
        profiler: ``"simple"``, ``"advanced"``, ``"pytorch"`` or a `Profiler`.
        detect_anomaly: Find out which operation made a NaN gradient; slow.
        barebones: Switch off everything that is not training, to measure it.
        plugins: Precision and checkpoint plugins.
        sync_batchnorm: Let batch norm see the batches of all ranks; on GPUs.
        reload_dataloaders_every_n_epochs: Ask for new loaders each that many epochs; 0 for never.
        default_root_dir: Where logs and checkpoints go; by default the current folder.
        enable_autolog_hparams: Whether to log hyperparameters at the start of a run.
        model_registry: The name of a model in a registry.

    Attributes:
        given: The arguments, as they were given.
        callbacks: The callbacks in calling order.
        fit_loop: The training loop; its ``max_epochs`` may be changed between runs.
        should_stop: Set it to True to stop training after the running batch.
        fitted: The module that was fitted last; fitting it again goes on, fitting another begins from zero.
        assigned_ckpt_path: What was assigned to `ckpt_path`.
        loaded_ckpt_path: The checkpoint that the last run was loaded from, None for none.

    Raises:
        MisconfigurationException: Arguments contradict each other or are out of range.

    Example:
        >>> from lt_core.testing import BoringModel
        >>> trainer = Trainer(max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        ...                   enable_progress_bar=False, enable_model_summary=False)
        >>> trainer.fit(BoringModel())
        >>> trainer.global_step
        2
    """

    # What the user gave, and what it means
    given: dict[str, Any]
    arguments: Arguments
    profiler: Profiler
    strategy: Strategy
    limit_train_batches: int | float
    limit_val_batches: int | float
    limit_test_batches: int | float
    limit_predict_batches: int | float
    overfit_batches: int | float
    num_sanity_val_steps: int | float
    reload_dataloaders_every_n_epochs: int
    enable_autolog_hparams: bool
    # Loops
    fit_loop: FitLoop
    validate_loop: EvaluationLoop
    test_loop: EvaluationLoop
    predict_loop: PredictionLoop
    # The run
    data: RunData
    fitted: LightningModule | None
    assigned_ckpt_path: str | None
    loaded_ckpt_path: str | None
    val_check_seconds: float | None
    _run: Run | None

    @with_environment_defaults
    def __init__(
        self,
        *,
        accelerator: str | Accelerator = "auto",
        strategy: str | Strategy = "auto",
        devices: list[int] | str | int = "auto",
        num_nodes: int = 1,
        precision: str | int | None = None,
        logger: Any = None,
        callbacks: list[Callback] | Callback | None = None,
        fast_dev_run: int | bool = False,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        max_time: str | timedelta | dict[str, int] | None = None,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | str | timedelta | dict[str, int] | None = None,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        log_every_n_steps: int | None = None,
        enable_checkpointing: bool | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
        deterministic: bool | str | None = None,
        benchmark: bool | None = None,
        inference_mode: bool = True,
        use_distributed_sampler: bool = True,
        profiler: Profiler | str | None = None,
        detect_anomaly: bool = False,
        barebones: bool = False,
        plugins: Any = None,
        sync_batchnorm: bool = False,
        reload_dataloaders_every_n_epochs: int = 0,
        default_root_dir: str | Path | None = None,
        enable_autolog_hparams: bool = True,
        model_registry: str | None = None,
    ) -> None:
        given = self.given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        problems = Problems()
        with problems:
            arguments = self.arguments = resolve_arguments(given)
        with problems:
            resolved = resolve_components(accelerator, strategy, devices, precision, plugins, num_nodes)
        with problems:
            self.profiler = resolve_profiler(profiler)
        problems.report()
        super().__init__(default_root_dir=arguments.default_root_dir, collect_metrics=not arguments.barebones)
        self.strategy = resolved
        self.loggers = build_loggers(logger, arguments)
        self.validate_loop = EvaluationLoop(self, "validation")
        self.test_loop = EvaluationLoop(self, "test")
        self.predict_loop = PredictionLoop(self)
        self.fit_loop = FitLoop(self, self.validate_loop)
        self._take_arguments(arguments)
        wanted = {
            "checkpoint": enable_checkpointing,
            "progress_bar": enable_progress_bar,
            "model_summary": enable_model_summary,
        }
        self.callbacks = build_callbacks(callbacks, arguments, wanted)
        sink = self.metrics_board.sink
        sink.has_loggers = bool(self.loggers)
        sink.device = self.strategy.root_device
        sink.exchange = self.strategy.exchange
        self.data = RunData(self)
        self.fitted = None
        self.assigned_ckpt_path = None
        self.loaded_ckpt_path = None
        self._run = None
        _apply_determinism(arguments)

    def _take_arguments(self, arguments: Arguments) -> None:
        """Make the resolved arguments attributes, under the names that callbacks and users read."""
        for name in (
            "fast_dev_run",
            "barebones",
            "log_every_n_steps",
            "accumulate_grad_batches",
            "gradient_clip_val",
            "gradient_clip_algorithm",
            "check_val_every_n_epoch",
            "val_check_interval",
            "limit_train_batches",
            "limit_val_batches",
            "limit_test_batches",
            "limit_predict_batches",
            "overfit_batches",
            "num_sanity_val_steps",
            "reload_dataloaders_every_n_epochs",
            "enable_autolog_hparams",
        ):
            setattr(self, name, getattr(arguments, name))
        self.val_check_seconds = arguments.val_check_time
        self.fit_loop.max_epochs = arguments.max_epochs
        self.fit_loop.min_epochs = arguments.min_epochs
        self.fit_loop.max_steps = arguments.max_steps
        self.fit_loop.min_steps = arguments.min_steps

    # -- entry points

    def fit(
        self,
        model: LightningModule | nn.Module,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
    ) -> None:
        """Train a module.

        Args:
            model: The module.
            train_dataloaders: What to train on: a loader or a collection of loaders; or a data module.
            val_dataloaders: What to validate on.
            datamodule: The data module, instead of loaders.
            ckpt_path: Go on from this checkpoint: a path, ``"last"``, ``"best"`` or ``"hpc"``.
            weights_only: Whether to read safe types only; None means True.

        Raises:
            MisconfigurationException: Something cannot work; found before data is read or a device is touched.
        """
        given = Given(model, datamodule, {"train": train_dataloaders, "val": val_dataloaders}, ckpt_path, weights_only)
        self._launch(TrainerFn.FITTING, RunningStage.TRAINING, given, self.fit_loop.run, {})

    def validate(
        self,
        model: LightningModule | nn.Module | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,  # noqa: FBT001, FBT002 -- the API we match
        datamodule: Any = None,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
    ) -> list[dict[str, float]]:
        """Run one validation epoch.

        Args:
            model: The module; by default the one that was fitted, with its best weights.
            dataloaders: What to validate on: a loader or several; or a data module.
            ckpt_path: Load this checkpoint first: a path, ``"last"`` or ``"best"``.
            verbose: Print the results.
            datamodule: The data module, instead of loaders.
            weights_only: Whether to read safe types only; None means True.

        Returns:
            What was logged, one dict per loader.
        """
        given = Given(model, datamodule, {"val": dataloaders}, ckpt_path, weights_only)
        return self._evaluate(TrainerFn.VALIDATING, RunningStage.VALIDATING, given, self.validate_loop, verbose=verbose)

    def test(
        self,
        model: LightningModule | nn.Module | None = None,
        dataloaders: Any = None,
        ckpt_path: str | Path | None = None,
        verbose: bool = True,  # noqa: FBT001, FBT002 -- the API we match
        datamodule: Any = None,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
    ) -> list[dict[str, float]]:
        """Run one test epoch.

        Args:
            model: The module; by default the one that was fitted, with its best weights.
            dataloaders: What to test on: a loader or several; or a data module.
            ckpt_path: Load this checkpoint first: a path, ``"last"`` or ``"best"``.
            verbose: Print the results.
            datamodule: The data module, instead of loaders.
            weights_only: Whether to read safe types only; None means True.

        Returns:
            What was logged, one dict per loader.
        """
        given = Given(model, datamodule, {"test": dataloaders}, ckpt_path, weights_only)
        return self._evaluate(TrainerFn.TESTING, RunningStage.TESTING, given, self.test_loop, verbose=verbose)

    def _evaluate(
        self, fn: TrainerFn, stage: RunningStage, given: Given, loop: EvaluationLoop, *, verbose: bool
    ) -> list[dict[str, float]]:
        def evaluate(run: Run) -> list[dict[str, float]]:
            results = loop.run(run.evaluation_plan(loop.kind), stage)
            if verbose and results and self.is_global_zero:
                print_results(str(stage), results)
            return results

        results: list[dict[str, float]] = self._launch(fn, stage, given, evaluate, {"verbose": verbose})
        return results

    def predict(
        self,
        model: LightningModule | nn.Module | None = None,
        dataloaders: Any = None,
        datamodule: Any = None,
        return_predictions: bool | None = None,  # noqa: FBT001 -- the API we match
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
    ) -> list[Any] | None:
        """Run ``predict_step`` on every batch.

        Args:
            model: The module; by default the one that was fitted, with its best weights.
            dataloaders: What to predict on: a loader or several; or a data module.
            datamodule: The data module, instead of loaders.
            return_predictions: Whether to keep and return the outputs. By default True.
            ckpt_path: Load this checkpoint first: a path, ``"last"`` or ``"best"``.
            weights_only: Whether to read safe types only; None means True.

        Returns:
            The outputs on the CPU, batch by batch; a list per loader when there are several; None if not kept. On
            several ranks each gets the outputs of all, in the order of the data.
        """
        keep = return_predictions is None or return_predictions
        given = Given(model, datamodule, {"predict": dataloaders}, ckpt_path, weights_only)

        def predict(run: Run) -> list[Any] | None:
            return self.predict_loop.run(run.evaluation_plan("predict"), keep=keep)

        options = {"return_predictions": return_predictions}
        predictions: list[Any] | None = self._launch(
            TrainerFn.PREDICTING, RunningStage.PREDICTING, given, predict, options
        )
        return predictions

    def _launch(
        self,
        fn: TrainerFn,
        stage: RunningStage,
        given: Given,
        body: Callable[[Run], Any],
        options: dict[str, Any],
    ) -> Any:
        """Begin a run, do its body, end it well or badly; where processes must be started first, do it there."""
        launcher = self.strategy.launcher
        if launcher is not None and launcher.takes_over():
            return launcher.launch(self, given.call_of(fn, options))
        if self._run is not None:
            raise MisconfigurationException(
                f"`Trainer.{fn}` was called while `Trainer.{self.state.fn}` is running. Expected one run at a time: "
                "call it "
                "after the other has returned, or use another Trainer."
            )
        run = self._run = Run(self, fn, stage, given)
        try:
            run.begin()
            with run.context():
                result = body(run)
            run.end()
        except BaseException as error:
            with failing(error):
                run.interrupt(error)
            raise
        finally:
            self._run = None
        return result

    def cross_validate(
        self,
        make_module: Callable[..., LightningModule],
        folds: FoldsProtocol,
        *,
        parallel: int = 1,
        ckpt_path: str | None = None,
    ) -> CrossValidationReport:
        """Train and judge a fresh module on each fold, and report on all of them.

        Each fold has a module, optimizers, random state, callbacks, logger version and folder of its own, and its seed
        depends on nothing but the folds and its number: fold i alone gives the same bits as within the whole run. After
        `fit` the best weights are loaded, validated, tested where the fold has a test part, and, where the module has a
        ``predict_step``, used to predict the rows that the fold did not train on.

        Args:
            make_module: Returns a new module; takes nothing, or the fold.
            folds: Of `lt_data.folds`.
            parallel: How many folds run at a time, in processes of their own.
            ckpt_path: ``"last"`` goes on with the last run of this folder if it was not finished.

        Returns:
            Metrics of each fold, out-of-fold predictions in the order of the data, checkpoints, and their ensemble.

        Raises:
            MisconfigurationException: This trainer has run already, or has several processes; an unfinished run had
                other folds.
        """
        from lt_loops.cross_validation.cross_validate import cross_validate

        return cross_validate(self, make_module, folds, parallel=parallel, ckpt_path=ckpt_path)

    # -- files

    def save_checkpoint(
        self,
        filepath: str | Path,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
        storage_options: Any | None = None,
    ) -> None:
        """Write the run's state to a file, whole or not at all; call it on all ranks.

        Args:
            filepath: Where to.
            weights_only: Leave out what only resuming needs.
            storage_options: Passed to the checkpoint plugin.

        Raises:
            AttributeError: No module was run yet.
        """
        if not self.has_module:
            raise AttributeError(
                f"No module is attached to this trainer: `save_checkpoint({str(filepath)!r})` was called before any "
                "run. Expected a module to save: call `fit`, `validate`, `test` or `predict` first."
            )
        with self.profiler.profile("save_checkpoint"):
            checkpoint = self.dump_checkpoint(weights_only=bool(weights_only))
            self.strategy.save_checkpoint(checkpoint, filepath, storage_options=storage_options)
            if not self.interrupted:  # after an exception the other ranks may not come
                self.strategy.barrier("save_checkpoint")

    def dump_checkpoint(self, *, weights_only: bool = False) -> dict[str, Any]:
        """Return what `save_checkpoint` writes."""
        module = self.lightning_module
        extra: dict[str, Any] = {"loops": dump_loops(self)}
        if not weights_only:
            extra[KEY] = dump_run(self, module)
            precision = self.strategy.precision_plugin
            state = precision.state_dict()
            if state:
                extra[type(precision).__qualname__] = state
        checkpoint = dump_checkpoint(self, module, weights_only=weights_only, extra=extra)
        if self._run is not None:
            self._run.warn_of_unsafe_values(checkpoint)
        return checkpoint

    # -- models

    @contextmanager
    def init_module(self, empty_init: bool | None = None) -> Iterator[None]:  # noqa: FBT001 -- the API we match
        """Create a module directly on the device and in the precision of this trainer.

        Args:
            empty_init: Leave parameters unfilled, for weights that a checkpoint replaces anyway.
        """
        with self.strategy.precision_plugin.module_init_context(), self.strategy.tensor_init_context(empty_init):
            yield

    @property
    def model(self) -> nn.Module:
        """The module as it is called: maybe wrapped by the strategy."""
        return self.strategy.model if self.strategy.model is not None else self.lightning_module

    @property
    def lightning_optimizers(self) -> list[LightningOptimizer]:
        """The optimizers as modules see them."""
        if self._run is not None and self._run.optimization is not None:
            return self._run.optimization.wrapped
        return [LightningOptimizer(optimizer, None, self.optimizers) for optimizer in self.optimizers]

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass of manual optimisation through precision and hooks."""
        optimization = self._run.optimization if self._run is not None else None
        if not isinstance(optimization, ManualOptimization):
            raise MisconfigurationException(
                "`manual_backward` was called outside of `fit`. Expected a call within `training_step`: use "
                "`loss.backward()`."
            )
        optimization.backward(loss, *args, **kwargs)

    def clip_gradients(self, optimizer: Optimizer, clip_val: float, algorithm: str) -> None:
        """Clip the gradients of an optimizer's parameters as the precision demands."""
        self.strategy.precision_plugin.clip_gradients(optimizer, clip_val, algorithm)

    # -- data, as the loops and callbacks ask for it

    def prepare_train_data(self) -> None:
        """Ask for the training loader if there is none yet."""
        self.data.prepare_train()

    def prepare_validation_data(self) -> None:
        """Ask for the validation loaders if there are none yet."""
        self.data.prepare_evaluation("val")

    def epoch_batches(self) -> EpochBatches:
        """Return the batches of a new training epoch."""
        return self.data.epoch_batches()

    def reload_if_due(self) -> None:
        """Ask for new loaders where ``reload_dataloaders_every_n_epochs`` says so."""
        self.data.reload_if_due(self.current_epoch)

    def set_sampler_epoch(self, epoch: int) -> None:
        """Tell samplers which epoch begins."""
        self.data.set_epoch(epoch)

    def evaluation_data(self, stage: RunningStage) -> StageBatches:
        """Return what a run of validation or testing reads."""
        return self.data.evaluation(stage)

    def prediction_data(self) -> StageBatches:
        """Return what a run of prediction reads."""
        return self.data.prediction()

    def validation_plan(self) -> EvaluationPlan:
        """Return the plan of validation within the running fit."""
        if self._run is None:
            raise RuntimeError("No run has begun. Expected `trainer.fit(…)` first.")
        return self._run.evaluation_plan("validation")

    # -- numbers

    @property
    def has_module(self) -> bool:
        """Whether a module was run already."""
        return self._module is not None

    @property
    def current_epoch(self) -> int:  # type: ignore[override]
        """How many training epochs are complete."""
        return self.fit_loop.progress.epoch

    @property
    def global_step(self) -> int:  # type: ignore[override]
        """How many optimizer steps were taken, over all optimizers."""
        return self.fit_loop.global_step

    @property
    def num_logged_windows(self) -> int:  # type: ignore[override]
        """How many accumulation windows were completed: the x-axis of logged rows."""
        return self.fit_loop.progress.windows

    @property
    def max_epochs(self) -> int | None:  # type: ignore[override]
        """Where to stop, in epochs; -1 for never."""
        return self.fit_loop.max_epochs

    @property
    def min_epochs(self) -> int | None:  # type: ignore[override]
        """Not to stop before, in epochs."""
        return self.fit_loop.min_epochs

    @property
    def max_steps(self) -> int:  # type: ignore[override]
        """Where to stop, in optimizer steps; -1 for never."""
        return self.fit_loop.max_steps

    @property
    def min_steps(self) -> int | None:  # type: ignore[override]
        """Not to stop before, in optimizer steps."""
        return self.fit_loop.min_steps

    @property
    def estimated_stepping_batches(self) -> int | float:
        """How many optimizer steps fit will take, for schedulers; infinite when nobody knows."""
        if self.max_epochs == -1:
            return math.inf if self.max_steps == -1 else self.max_steps
        if self.train_dataloader is None:
            self.data.prepare_train()
        batches = self.num_training_batches
        if math.isinf(batches):
            return self.max_steps
        steps = math.ceil(batches / self.accumulate_grad_batches) * max(self.max_epochs or 1, 1)
        return min(steps, self.max_steps) if self.max_steps != -1 else steps

    # -- components

    @property
    def accelerator(self) -> Accelerator | None:
        """The kind of device."""
        return self.strategy.accelerator

    @property
    def precision_plugin(self) -> Precision:
        """The arithmetic."""
        return self.strategy.precision_plugin

    @property
    def precision(self) -> str:
        """The name of the arithmetic, such as ``32-true``."""
        return self.precision_plugin.precision

    @property
    def scaler(self) -> Any:
        """The gradient scaler, or None."""
        return getattr(self.precision_plugin, "scaler", None)

    @property
    def num_nodes(self) -> int:
        """How many machines take part."""
        return getattr(self.strategy, "num_nodes", 1)

    @property
    def device_ids(self) -> list[int]:
        """The indices of this node's devices."""
        return [self.strategy.root_device.index or 0]

    @property
    def num_devices(self) -> int:
        """How many devices this node uses."""
        return getattr(self.strategy, "num_processes", len(self.device_ids))

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any] | None:
        """What a distributed sampler is made with; None where there is one process."""
        return getattr(self.strategy, "distributed_sampler_kwargs", None)

    @property
    def ckpt_path(self) -> str | None:
        """The checkpoint that the current or last run was loaded from; set it to be used by the following runs."""
        return self.loaded_ckpt_path

    @ckpt_path.setter
    def ckpt_path(self, path: str | None) -> None:
        self.assigned_ckpt_path = self.loaded_ckpt_path = path
        if self._run is not None:
            self._run.ckpt_path = path

    @property
    def enable_validation(self) -> bool:  # type: ignore[override]
        """Whether fit validates: there are loaders, a ``validation_step``, and a limit above zero."""
        return self.data.validates

    @property
    def lr_scheduler(self) -> Any:
        """The first scheduler, or None."""
        return self.lr_scheduler_configs[0].scheduler if self.lr_scheduler_configs else None


def _apply_determinism(arguments: Arguments) -> None:
    deterministic, benchmark = arguments.deterministic, arguments.benchmark
    if deterministic is not None:
        if deterministic:
            # cuBLAS reads this when its handle is made; without it `use_deterministic_algorithms` makes it raise.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(bool(deterministic), warn_only=deterministic == "warn")
    if benchmark is not None:
        torch.backends.cudnn.benchmark = benchmark
