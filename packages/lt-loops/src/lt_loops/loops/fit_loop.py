"""The training loop. It reads from top to bottom: `FitLoop.run`, one epoch, one batch, the end of an epoch.

Everything that depends on who overrides what was decided before (`FitPlan`); nothing here looks anything up by name.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationException, SIGTERMException
from lt_core.rank_zero import WarningCache, rank_zero_info, rank_zero_warn
from lt_core.seed import isolate_rng, restore_random_states
from lt_core.state import RunningStage
from lt_loops.ranks.stop_vote import PolledStop, Stop, StopVote, agree
from lt_loops.signal_checkpoint import Moment, save_before_the_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_core.hooks import HookCall, HookCalls
    from lt_core.log.sink import LogSink
    from lt_core.metrics_board import MetricsBoard
    from lt_core.module import LightningModule
    from lt_loops.data.batches import EpochBatches
    from lt_loops.log_writer import LogWriter
    from lt_loops.loops.evaluation_loop import EvaluationLoop
    from lt_loops.optimization.automatic import AutomaticOptimization
    from lt_loops.optimization.manual import ManualOptimization
    from lt_loops.optimization.schedulers import SchedulerStepper
    from lt_loops.run import Run
    from lt_loops.trainer import Trainer

__all__ = ["FitLoop", "FitPlan", "Progress", "Resume"]

_warnings = WarningCache()


@dataclass(frozen=True)
class FitPlan:
    """What one call of fit runs, resolved before it begins.

    Attributes:
        module: The module.
        hooks: Who overrides which hook.
        optimization: How a batch becomes a step.
        schedulers: When which scheduler steps.
        move: Moves a batch to the device, None when there is nothing to do.
        sink: Where values are logged.
        board: What has been published.
        writer: Where rows go.
        log_every_n_steps: A row each that many windows; 0 for never.
        zero_grad_before_validation: The module's own ``on_validation_model_zero_grad``, None for the default.
        stop: How several processes agree to stop; None for one process.
    """

    module: LightningModule
    hooks: HookCalls
    optimization: AutomaticOptimization | ManualOptimization
    schedulers: SchedulerStepper
    move: Callable[[Any, int], Any] | None
    sink: LogSink
    board: MetricsBoard
    writer: LogWriter
    log_every_n_steps: int
    zero_grad_before_validation: HookCall | None
    stop: StopVote | PolledStop | None


@dataclass
class Progress:
    """How far training is; what a checkpoint's ``loops`` are made of.

    Attributes:
        epoch: Epochs that are complete.
        batch: Batches of the running epoch that are complete.
        total_batches: Batches that are complete, over all epochs.
        windows: Accumulation windows that are complete: the x-axis of logged rows.
        steps: Optimizer steps taken before the running fit; the running fit counts in its optimisation.
        phase: Where within a batch or an epoch the loop is: ``batch`` (working on one), ``batch_end`` (in
            ``on_train_batch_end``), ``validation`` (in validation), ``epoch_end`` (in ``on_train_epoch_end``),
            ``idle`` (between batches, epochs or runs).
        window_open: Whether gradients of an unfinished window are kept.
        is_last_batch: Whether the last batch that was begun is the last of its epoch.
        last_row: The x-axis of the last row of step values that went to the loggers.
        steps_before_epoch: Optimizer steps taken when the running epoch began.
        scheduler_steps_before_epoch: Scheduler steps taken when the running epoch began.
    """

    epoch: int = 0
    batch: int = 0
    total_batches: int = 0
    windows: int = 0
    steps: int = 0
    phase: str = "idle"
    window_open: bool = False
    is_last_batch: bool = False
    last_row: int | None = None
    steps_before_epoch: int = 0
    scheduler_steps_before_epoch: int = 0


@dataclass
class Resume:
    """What a checkpoint left to be done before training goes on where it was.

    Attributes:
        phase: The phase in which the checkpoint was written.
        loader: The state of the epoch's batches, None at the beginning of an epoch.
        random_states: The random states at the moment of saving.
        is_foreign: Whether the file holds only what the common layout has.
        is_at_end: Whether all batches of the epoch were used.
        restore_logged: Gives back what was logged, after the sanity check has used the same metrics.
    """

    phase: str
    loader: dict[str, Any] | None = None
    random_states: dict[str, Any] | None = None
    restore_logged: Callable[[], None] | None = None
    is_foreign: bool = False
    is_at_end: bool = False


class FitLoop:
    """Trains for epochs and batches until something says stop.

    Args:
        trainer: Whose settings and flags count.
        validation: What runs between training batches.

    Attributes:
        progress: How far training is; survives several calls of fit.
        resume: What is still to be restored, None when nothing is.
        optimization: How batches become steps, once fit has configured the optimizers; counts the steps.
        schedulers: When schedulers step, likewise; counts their steps.
        batches: The running epoch's batches.
        moment: What the run was like before the validation that runs, None while none runs.
    """

    progress: Progress
    resume: Resume | None
    batches: EpochBatches | None
    moment: Moment | None
    optimization: AutomaticOptimization | ManualOptimization | None
    schedulers: SchedulerStepper | None
    max_epochs: int | None
    min_epochs: int | None
    max_steps: int
    min_steps: int | None

    def __init__(self, trainer: Trainer, validation: EvaluationLoop) -> None:
        self.progress = Progress()
        self.resume = None
        self.batches = None
        self.moment = None
        self.optimization = None
        self.schedulers = None
        self.max_epochs = None
        self.min_epochs = None
        self.max_steps = -1
        self.min_steps = None
        self.val_loop = validation
        self._trainer = trainer
        self._validated_at = 0.0
        self._validates = False
        self._closes_foreign_epoch = False
        self._said_too_early = False
        self._stop: StopVote | PolledStop | None = None
        self._agreed = Stop.NO
        self._unwritten: tuple[dict[str, Any], int, int] | None = None
        self._row_at_validation: dict[str, Any] | None = None

    @property
    def global_step(self) -> int:
        """How many optimizer steps were taken, over all optimizers and fits of this module."""
        return self.progress.steps if self.optimization is None else self.optimization.steps

    def begin_anew(self) -> None:
        """Count from zero, as for a module that was not trained before."""
        self.progress = Progress()
        self.optimization = None
        self.schedulers = None
        self.val_loop.seen.clear()

    def begin_fit(self) -> None:
        """Stand between two epochs, whatever an interrupted fit left behind."""
        self.resume = None
        self.batches = None
        self.moment = None
        self._agreed = Stop.NO
        progress = self.progress
        progress.phase, progress.batch = "idle", 0
        progress.window_open = progress.is_last_batch = False

    # -- the run

    def run(self, run: Run) -> None:
        """Train until done."""
        plan = run.fit_plan()
        trainer, sink = self._trainer, plan.sink
        resume = self.resume
        self._stop = plan.stop
        # A file of another origin that was written at the end of an epoch holds no values for plateau schedulers.
        self._closes_foreign_epoch = resume is not None and resume.is_foreign and resume.is_at_end
        self._sanity_check(plan)
        if resume is not None and resume.restore_logged is not None:
            resume.restore_logged()
        trainer.training = True
        trainer.prepare_train_data()
        reason = self._why_not_to_start()
        if reason is not None:
            rank_zero_info(f"`Trainer.fit` stopped: {reason}.")
            self.resume = None
            return
        torch.set_grad_enabled(True)
        if trainer.enable_validation and self._validates_in(self.progress.epoch):
            trainer.prepare_validation_data()
        self._validated_at = time.monotonic()
        self._unwritten = self._row_at_validation = None
        sink.open("train")
        sink.fx = "training_step"
        if plan.hooks["on_train_start"] is not None:
            plan.hooks["on_train_start"]()
        sink.exchange_hook(plan.module, "on_train_start")
        if plan.hooks["on_train_start"] is not None:
            sink.epoch_ended = True  # what it logged is an epoch's value, readable at once
            plan.board.publish()
            sink.epoch_ended = False
        if resume is not None and resume.loader is None:
            self._restore_random_states(resume)
            if resume.phase == "epoch_end":
                self._exchange_epoch(plan)
                sink.exchange_late(plan.module)
                self._publish_epoch(plan)
            self.resume = None
        while not self._done():
            self._run_epoch(plan)
        self._write_last_row(plan)
        if plan.hooks["on_train_end"] is not None:
            plan.hooks["on_train_end"]()
        sink.close()

    def _run_epoch(self, plan: FitPlan) -> None:  # noqa: C901, PLR0915 -- the loop is read in one place, from top to bottom
        """Train on the batches of one epoch."""
        trainer, progress, sink = self._trainer, self.progress, plan.sink
        optimization, schedulers, move = plan.optimization, plan.schedulers, plan.move
        on_batch_start = plan.hooks["on_train_batch_start"]
        on_batch_end = plan.hooks["on_train_batch_end"]
        optimize, stop = optimization.run, plan.stop
        batches = self._begin_epoch(plan)
        num_batches = trainer.num_training_batches
        limited = self.max_steps != -1
        optimization.epoch = progress.epoch
        if self._stops():  # a resumed epoch may have nothing left to do
            batches.stop()
        for batch in batches:
            batch_idx = progress.batch
            progress.phase = "batch"
            is_last = trainer.is_last_batch = progress.is_last_batch = batches.is_last
            # Which part of an accumulation window is this batch, and how long is the window?
            window = trainer.accumulate_grad_batches
            position = batch_idx % window + 1
            opens, closes = position == 1, is_last or position == window
            length = window if window == 1 else min(window, num_batches - batch_idx + position - 1)
            if stop is not None:
                self._announce(stop, opens=opens)
            if move is not None:
                batch = move(batch, 0)  # noqa: PLW2901 -- the batch on its device replaces the one on the host
            sink.batch = batch
            if on_batch_start is not None and on_batch_start(batch, batch_idx) == -1:
                self._skip_rest_of_epoch(plan, batch_idx, closes=closes)
                break
            if batch is None:
                self._say_batch_is_none()
                if closes and progress.window_open:  # the batches before it were not in vain
                    optimization.shorten_window(position - 1, length / (position - 1))
                    optimization.close_window(batch_idx)
            else:
                if closes and position != length:
                    # A loader of unknown length ends a window sooner than the losses so far were divided by.
                    optimization.shorten_window(position - 1, length / position)
                    length = position
                optimize(batch, batch_idx, opens, closes, length)
            progress.window_open = not closes
            if closes and schedulers.has_step:
                schedulers.on_window(batch_idx)
            if is_last and schedulers.has_epoch:
                schedulers.on_last_batch(progress.epoch)
            if on_batch_end is not None:
                progress.phase = "batch_end"
                on_batch_end(optimization.outputs(), batch, batch_idx)
            self._after_batch(plan, batch_idx, closes=closes, is_last=is_last)
            if (limited or trainer.should_stop) and self._stops():
                break
        else:
            if not progress.is_last_batch:
                self._end_early(plan)
        self._end_epoch(plan)

    def _after_batch(
        self, plan: FitPlan, batch_idx: int, *, closes: bool, is_last: bool, validated: bool = False
    ) -> None:
        """Do what follows ``on_train_batch_end``: the row, validation, plateau schedulers, counting."""
        trainer, progress = self._trainer, self.progress
        if not validated:
            if plan.stop is not None:
                self._vote(plan.stop, closes=closes)
            validates = self._validates and self._validation_is_due(batch_idx, is_last=is_last)
            if validates:
                self.moment = Moment.of(trainer)
            every = plan.log_every_n_steps
            if closes and every and ((progress.windows + 1) % every == 0 or self._asked):
                plan.writer.write(plan.board.publish_shared(plan.module), progress.windows, progress.epoch)
                progress.last_row = progress.windows
            if validates:
                self._validate(plan)
        if closes:
            if plan.schedulers.has_plateau_step:
                plan.schedulers.plateau_step(batch_idx, plan.board.metrics_for_all)
            progress.windows += 1
        progress.batch = batch_idx + 1
        progress.total_batches += 1
        progress.phase = "idle"
        if trainer.received_sigterm and self._ends_by_signal:
            self._save_and_end()

    def _skip_rest_of_epoch(self, plan: FitPlan, batch_idx: int, *, closes: bool) -> None:
        """Treat the batch that ``on_train_batch_start`` refused as the last one: the schedulers still step."""
        self.progress.is_last_batch = True
        if closes and plan.schedulers.has_step:
            plan.schedulers.on_window(batch_idx)
        if plan.schedulers.has_epoch:
            plan.schedulers.on_last_batch(self.progress.epoch)

    def _end_early(self, plan: FitPlan) -> None:
        """End the epoch of a loader that has fewer batches than it said: what waits for the last batch is done now."""
        trainer, progress = self._trainer, self.progress
        count, planned = progress.batch, trainer.num_training_batches
        if self._stops():
            return
        if not count:
            self._say_epoch_is_empty()
            return
        rank_zero_warn(
            f"The training loader ended after {count} batches, and its length (`len(loader)`, or the limit) said "
            f"{planned}: the epoch ends here. Expected {planned} batches: let `__len__` tell the truth or leave it out."
        )
        progress.is_last_batch = trainer.is_last_batch = True
        batch_idx, window = count - 1, trainer.accumulate_grad_batches
        if progress.window_open:
            position = batch_idx % window + 1
            length = min(window, planned - count + position)
            plan.optimization.shorten_window(position, length / position)
            plan.optimization.close_window(batch_idx)
            progress.window_open = False
            progress.windows += 1
            plan.schedulers.on_window(batch_idx)
        plan.schedulers.on_last_batch(progress.epoch)
        if self._missed_validation(count, planned):
            # As for any validation, the last batch counts only when validation is over.
            self._count_last_batch(-1)
            self._validate(plan)
            self._count_last_batch(1)
            progress.phase = "idle"

    def _count_last_batch(self, by: int) -> None:
        progress = self.progress
        progress.batch += by
        progress.total_batches += by
        progress.windows += by

    def _missed_validation(self, count: int, planned: float) -> bool:
        """Tell whether validation was due at one of the batches that the loader did not have."""
        trainer = self._trainer
        every = trainer.val_check_batch
        if every is None or trainer.check_val_every_n_epoch is None or not trainer.enable_validation:
            return False
        return self._validates_in(self.progress.epoch) and planned // every > count // every

    # -- epochs

    def _begin_epoch(self, plan: FitPlan) -> EpochBatches:
        """Get the epoch's batches ready; where a checkpoint was written within the epoch, go on from there."""
        trainer, progress = self._trainer, self.progress
        resume = self.resume
        self._validates = trainer.enable_validation and self._validates_in(progress.epoch)
        if resume is not None and resume.loader is not None:
            trainer.set_sampler_epoch(progress.epoch)
            batches = self.batches = trainer.epoch_batches()
            batches.resume(resume.loader)
            self._restore_random_states(resume)
            self.resume = None
            if resume.phase in ("batch_end", "validation"):
                if plan.stop is not None:
                    self._announce(plan.stop, opens=True)
                closes = not progress.window_open
                validated = resume.phase == "validation"
                self._after_batch(
                    plan, progress.batch, closes=closes, is_last=progress.is_last_batch, validated=validated
                )
            return batches
        trainer.reload_if_due()
        trainer.set_sampler_epoch(progress.epoch)
        progress.batch = 0
        progress.is_last_batch = False
        progress.steps_before_epoch = self.global_step
        progress.scheduler_steps_before_epoch = plan.schedulers.steps
        plan.sink.epoch_ended = False
        if plan.hooks["on_train_epoch_start"] is not None:
            plan.hooks["on_train_epoch_start"]()
        batches = self.batches = trainer.epoch_batches()
        batches.start()
        return batches

    def _end_epoch(self, plan: FitPlan) -> None:
        """Close a window left open by a loader that ended early, call the epoch's last hooks, publish its metrics."""
        progress, sink = self.progress, plan.sink
        sink.batch = None
        self._exchange_epoch(plan)
        waits = plan.log_every_n_steps and progress.windows and progress.last_row != progress.windows - 1
        # The last step's values stay readable while the epoch's are computed. A validation that followed the last batch
        # took them over already, and what it logged is newer.
        row = self._row_at_validation
        if row is None:
            row = plan.board.publish_shared(plan.module) if waits else plan.board.publish()
        self._row_at_validation = None
        self._unwritten = (row, progress.windows - 1, progress.epoch) if waits else None
        progress.phase = "epoch_end"
        sink.epoch_ended = True
        if plan.hooks["on_train_epoch_end"] is not None:
            plan.hooks["on_train_epoch_end"]()
        sink.exchange_late(plan.module)
        self._publish_epoch(plan)

    def _exchange_epoch(self, plan: FitPlan) -> None:
        """Combine what the epoch's steps have logged over ranks."""
        hook = plan.hooks["on_train_epoch_end"]
        plan.sink.exchange_epoch(plan.module, "on_train_epoch_end", overridden=hook is not None and hook.may_log)

    def _publish_epoch(self, plan: FitPlan) -> None:
        """Publish the epoch's metrics, step the schedulers that wait for them, and count the epoch."""
        progress, sink = self.progress, plan.sink
        sink.epoch_ended = True
        row = plan.board.publish()
        if self._closes_foreign_epoch:
            self._closes_foreign_epoch = False
        elif progress.is_last_batch and plan.schedulers.has_plateau_epoch:
            plan.schedulers.plateau_epoch(progress.epoch, plan.board.metrics_for_all)
        plan.writer.write(row, progress.windows - 1, progress.epoch)
        sink.reset()
        progress.epoch += 1
        progress.phase = "idle"
        self.batches = None
        self._meet()
        if self._trainer.received_sigterm and self._ends_by_signal:
            self._save_and_end()

    def _write_last_row(self, plan: FitPlan) -> None:
        """Write the last step's row if its turn never came, so that nothing that was logged is lost."""
        if self._unwritten is not None:
            plan.writer.write(*self._unwritten)
            self._unwritten = None

    def _restore_random_states(self, resume: Resume) -> None:
        if resume.random_states is not None:
            restore_random_states(resume.random_states)

    # -- validation

    def _validates_in(self, epoch: int) -> bool:
        every = self._trainer.check_val_every_n_epoch
        return every is None or (epoch + 1) % every == 0

    def _validation_is_due(self, batch_idx: int, *, is_last: bool) -> bool:
        """Tell whether it is time to validate, in an epoch in which there is validation."""
        trainer = self._trainer
        every = trainer.val_check_batch
        if is_last and every is None and trainer.val_check_seconds is None:
            return True  # unknown length: at the end of the epoch
        if self._asked and self._may_stop():
            return True
        if trainer.val_check_seconds is not None:
            return self._validation_time_has_come(trainer.val_check_seconds)
        if every is None:
            return False
        count = self.progress.total_batches if trainer.check_val_every_n_epoch is None else batch_idx
        return (count + 1) % every == 0

    def _validation_time_has_come(self, seconds: float) -> bool:
        """Tell whether it was that long since the last validation; several ranks ask each other now and then."""
        has_come = time.monotonic() - self._validated_at >= seconds
        exchange = self._trainer.metrics_board.sink.exchange
        if exchange is None:
            return has_come
        if self.progress.total_batches % (self._trainer.log_every_n_steps or 50):
            return False
        return bool(agree(exchange, Stop(has_come)))

    def _validate(self, plan: FitPlan) -> None:
        """Validate between two training batches; what this epoch has logged so far stays as it is."""
        trainer, progress, sink = self._trainer, self.progress, plan.sink
        progress.phase = "validation"
        waits = progress.is_last_batch and plan.log_every_n_steps and progress.last_row != progress.windows
        # The last step's values stay readable during validation.
        row = plan.board.publish_shared(plan.module) if waits else plan.board.publish()
        self._row_at_validation = row if progress.is_last_batch else None
        trainer.validating = True
        if not progress.window_open:
            if plan.zero_grad_before_validation is not None:
                plan.zero_grad_before_validation()
            else:
                plan.module.zero_grad()
        try:
            self.val_loop.run_within_fit(RunningStage.VALIDATING)
        except SIGTERMException:
            self._leave_validation(plan)
            raise
        self._validated_at = time.monotonic()
        self.moment = None
        trainer.training = True
        sink.open("train")
        sink.fx = "training_step"
        self._meet()

    def _leave_validation(self, plan: FitPlan) -> None:
        """Save the state before the validation that a signal has ended: it is repeated when the run goes on."""
        plan.sink.reset()
        plan.sink.open("train")
        self._trainer.training = True
        self.progress.phase = "batch_end"
        save_before_the_end(self._trainer)

    def _sanity_check(self, plan: FitPlan) -> None:
        """Run a few validation batches first, so that a mistake there shows before an epoch is spent."""
        trainer = self._trainer
        if not trainer.enable_validation or not trainer.num_sanity_val_steps:
            return
        with isolate_rng():
            trainer.sanity_checking = True
            if plan.hooks["on_sanity_check_start"] is not None:
                plan.hooks["on_sanity_check_start"]()
            self.val_loop.run_within_fit(RunningStage.SANITY_CHECKING)
            if plan.hooks["on_sanity_check_end"] is not None:
                plan.hooks["on_sanity_check_end"]()
            plan.board.reset()

    # -- when to stop

    @property
    def _asked(self) -> bool:
        """Whether training is asked to stop, on all ranks."""
        return self._trainer.should_stop if self._stop is None else self._agreed is not Stop.NO

    @property
    def _ends_by_signal(self) -> bool:
        """Whether SIGTERM, which this process received, ends the run here: at once, or where all ranks end."""
        return self._stop is None or self._agreed is Stop.SIGNAL

    def _announce(self, stop: StopVote | PolledStop, *, opens: bool) -> None:
        """Tell the other ranks where this one is."""
        progress = self.progress
        stop.begin(progress.total_batches)
        if opens:
            stop.begin_window(progress.windows, progress.epoch)

    def _wish(self) -> Stop:
        """Return what this rank wishes to be done."""
        trainer = self._trainer
        if trainer.received_sigterm:
            return Stop.SIGNAL
        return Stop.ASKED if trainer.should_stop else Stop.NO

    def _vote(self, stop: StopVote | PolledStop, *, closes: bool) -> None:
        """Agree with the other ranks whether training stops after this batch."""
        wish = self._wish()
        if wish is Stop.ASKED and (self._asked or not self._may_stop()):
            wish = Stop.NO  # all know already, or it is too early
        self._take(stop.after(self.progress.total_batches, wish, closes=closes))

    def _meet(self) -> None:
        """Tell all ranks the wishes of each, where they meet anyway."""
        exchange = self._trainer.metrics_board.sink.exchange
        if exchange is not None:
            self._agreed = Stop.NO
            self._take(agree(exchange, self._wish()))

    def _take(self, decision: Stop) -> None:
        if decision is Stop.NO:
            return
        self._agreed = max(decision, self._agreed)
        if decision is Stop.SIGNAL:
            self._trainer.received_sigterm = True
        else:
            self._trainer.should_stop = True

    def _save_and_end(self) -> None:
        """Write a checkpoint, and leave with the exit status that schedulers expect of SIGTERM."""
        save_before_the_end(self._trainer)
        raise SIGTERMException

    def _why_not_to_start(self) -> str | None:
        if not self._trainer.num_training_batches:
            return "there are no training batches"
        if self.resume is not None and self.resume.loader is not None:
            return None
        if self.resume is not None and self.resume.phase == "epoch_end":
            return None
        if self._steps_are_done():
            return f"`max_steps={self.max_steps}` was reached"
        if self.max_epochs is not None and self.max_epochs != -1 and self.progress.epoch >= self.max_epochs:
            return f"`max_epochs={self.max_epochs}` was reached"
        return None

    def _steps_are_done(self) -> bool:
        return self.max_steps != -1 and self.global_step >= self.max_steps

    def _may_stop(self) -> bool:
        """Tell whether the minimum of epochs and steps is met."""
        return self.progress.epoch >= (self.min_epochs or 0) and self.global_step >= (self.min_steps or 0)

    def _stops(self) -> bool:
        """Tell whether training stops here, in the middle of an epoch."""
        if self.max_steps != -1 and self.global_step >= self.max_steps:
            return True
        if not self._asked:
            return False
        if self._may_stop():
            return True
        if not self._said_too_early:
            self._said_too_early = True
            rank_zero_info(
                f"Training was asked to stop after {self.progress.epoch} epochs and {self.global_step} steps and goes "
                "on: "
                f"`min_epochs={self.min_epochs}`, `min_steps={self.min_steps}` are not reached yet."
            )
        return False

    def _done(self) -> bool:
        """Tell whether training is over, between two epochs."""
        if self.max_epochs is not None and self.max_epochs != -1 and self.progress.epoch >= self.max_epochs:
            rank_zero_info(f"`Trainer.fit` stopped: `max_epochs={self.max_epochs}` reached.")
            return True
        if self._steps_are_done():
            rank_zero_info(f"`Trainer.fit` stopped: `max_steps={self.max_steps}` reached.")
            return True
        return self._stops()

    def _say_epoch_is_empty(self) -> None:
        problem = (
            f"The training loader yielded no batch in epoch {self.progress.epoch}. Expected at least one in each "
            "epoch: an iterator or generator can be read once only, pass a DataLoader or what else can be read again."
        )
        if self.max_epochs == -1:  # steps and time are counted by batches: nothing would ever end the run
            raise MisconfigurationException(problem)
        rank_zero_warn(problem)

    def _say_batch_is_none(self) -> None:
        _warnings.warn("The training loader yielded None: the batch is skipped. Expected a batch from each iteration.")
