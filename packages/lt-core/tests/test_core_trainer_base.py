"""What every trainer has: stages, roles, metrics, and a run's beginning and end."""

from __future__ import annotations

import pytest
import torch

from lt_core import Callback, Checkpoint, DummyLogger, LogSink, RunningStage, TrainerBase, TrainerFn
from lt_core.metrics_board import MetricsBoard
from lt_core.state import TrainerState, TrainerStatus
from lt_core.testing import BoringModel, RecordingLogger


@pytest.mark.parametrize(
    ("flag", "stage"),
    [
        ("training", RunningStage.TRAINING),
        ("validating", RunningStage.VALIDATING),
        ("testing", RunningStage.TESTING),
        ("predicting", RunningStage.PREDICTING),
        ("sanity_checking", RunningStage.SANITY_CHECKING),
    ],
)
def test_a_stage_flag_is_the_stage(flag: str, stage: RunningStage) -> None:
    """Setting the flag sets the stage; another flag's False leaves it."""
    trainer = TrainerBase()
    assert not getattr(trainer, flag)

    setattr(trainer, flag, True)

    assert trainer.state.stage is stage
    assert trainer.evaluating == (flag in ("validating", "testing", "sanity_checking"))
    other = "training" if flag != "training" else "testing"
    setattr(trainer, other, False)
    assert getattr(trainer, flag)
    setattr(trainer, flag, False)
    assert trainer.state.stage is None


def test_callbacks_are_found_by_their_roles() -> None:
    """Never by importing a class."""

    class Bar(Callback):
        role = "progress_bar"

    class Stopper(Callback):
        role = "early_stopping"

    bar, stopper, first, second = Bar(), Stopper(), Checkpoint(), Checkpoint()
    trainer = TrainerBase([bar, stopper, first, second])

    assert trainer.checkpoint_callback is first
    assert trainer.checkpoint_callbacks == [first, second]
    assert trainer.early_stopping_callback is stopper
    assert trainer.progress_bar_callback is bar
    assert TrainerBase().checkpoint_callback is None


def test_the_first_logger_is_the_logger() -> None:
    """It can be set, also to None; its folder is the run's."""
    trainer = TrainerBase(loggers=[RecordingLogger(), DummyLogger()], default_root_dir="root")
    assert trainer.logger is trainer.loggers[0]
    trainer.logger = None
    assert trainer.loggers == []
    assert trainer.log_dir == "root"


def test_a_trainer_that_collects_nothing_lets_modules_log_into_the_void() -> None:
    """As a bare trainer does, with a warning."""
    trainer, module = TrainerBase(collect_metrics=False), BoringModel()
    trainer.attach(module)

    with pytest.warns(UserWarning, match="barebones"):
        module.log("barebones_metric", 1.0)
    assert trainer.callback_metrics == {}


def test_the_board_keeps_what_was_published_when_the_book_is_closed() -> None:
    """Metrics stay readable after a run, as tensors and as numbers."""
    trainer, module = TrainerBase(), BoringModel()
    trainer.attach(module)
    sink = trainer.log_sink
    sink.open("train")
    sink.fx = "training_step"
    module.log("a", torch.tensor(2.0), prog_bar=True)
    assert trainer.progress_bar_metrics == {"a": 2.0}
    sink.close()

    assert trainer.callback_metrics == {"a": torch.tensor(2.0)}
    assert trainer.logged_metrics == {"a": torch.tensor(2.0)}
    trainer.metrics_board.reset()
    assert trainer.progress_bar_metrics == {}


def test_a_board_without_values_is_empty() -> None:
    """Nothing logged, nothing to read."""
    board = MetricsBoard(LogSink())
    board.to_cpu()

    assert board.publish() == board.logged_metrics == board.progress_bar_metrics == {}


def test_the_state_knows_whether_a_run_has_ended() -> None:
    """Finished and interrupted runs have stopped."""
    assert not TrainerState(TrainerStatus.RUNNING, TrainerFn.FITTING).stopped
    assert TrainerState(TrainerStatus.FINISHED).stopped
    assert TrainerState(TrainerStatus.FINISHED).finished
    assert TrainerState(TrainerStatus.INTERRUPTED).stopped
    assert not TrainerState(TrainerStatus.INTERRUPTED).finished
    assert f"{TrainerFn.FITTING} {RunningStage.SANITY_CHECKING}" == "fit sanity_check"
    assert RunningStage.SANITY_CHECKING.dataloader_prefix == "val"


def test_ranks_of_a_single_process() -> None:
    """Everything a collective does is the identity."""
    trainer = TrainerBase()

    assert (trainer.global_rank, trainer.local_rank, trainer.node_rank, trainer.world_size) == (0, 0, 0, 1)
    assert trainer.is_global_zero
    assert trainer.strategy.broadcast("a") == "a"
    assert trainer.strategy.reduce_boolean_decision(True)


def test_removing_a_checkpoint_takes_files_folders_and_nothing(tmp_path) -> None:
    """What is gone already is no error."""
    strategy = TrainerBase().strategy
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").touch()
    (tmp_path / "file").touch()

    for name in ("folder", "file", "file"):
        strategy.remove_checkpoint(tmp_path / name)

    assert list(tmp_path.iterdir()) == []
