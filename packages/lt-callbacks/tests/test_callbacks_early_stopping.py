"""When EarlyStopping ends a run, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_callbacks import EarlyStopping, EarlyStoppingReason, Timer
from lt_core.errors import MisconfigurationException
from lt_core.single_process import SingleProcess
from lt_core.testing import BoringModel, MiniTrainer, RandomDataset

torch.set_num_threads(1)


class Scripted(BoringModel):
    """Logs a score per validation, and one per training epoch, from a given list."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = scores
        self.checks = 0

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.log("score", self.scores[min(self.checks, len(self.scores) - 1)])
            self.checks += 1

    def on_train_epoch_end(self) -> None:
        self.log("train_score", self.scores[min(self.trainer.current_epoch, len(self.scores) - 1)])


def fit(callback: Any, scores: list[float], validate: bool = True, **kwargs: Any) -> MiniTrainer:
    trainer = MiniTrainer(callbacks=[callback], **{"max_epochs": 10, **kwargs})
    trainer.fit(
        Scripted(scores), DataLoader(RandomDataset(32, 4)), DataLoader(RandomDataset(32, 1)) if validate else []
    )
    return trainer


@pytest.mark.parametrize(("patience", "epochs"), [(0, 3), (1, 3), (2, 4), (3, 5)])
def test_it_stops_after_as_many_checks_without_improvement(patience: int, epochs: int) -> None:
    """The best value is that of the second epoch; patience counts from there."""
    stopping = EarlyStopping("score", patience=patience)

    trainer = fit(stopping, [5.0, 4.0, 4.5, 4.5, 4.5, 4.5, 4.5])

    assert trainer.current_epoch == epochs
    assert stopping.stopped_epoch == epochs - 1
    assert stopping.best_score == 4.0
    assert stopping.stopping_reason is EarlyStoppingReason.PATIENCE_EXHAUSTED
    assert "did not improve" in (stopping.stopping_reason_message or "")


@pytest.mark.parametrize(
    ("arguments", "scores", "reason", "epochs"),
    [
        ({}, [1.0, float("nan")], EarlyStoppingReason.NON_FINITE_METRIC, 2),
        ({}, [float("inf")], EarlyStoppingReason.NON_FINITE_METRIC, 1),
        ({"stopping_threshold": 2.0}, [3.0, 2.0, 1.9, 1.0], EarlyStoppingReason.STOPPING_THRESHOLD, 3),
        ({"divergence_threshold": 9.0}, [3.0, 9.5], EarlyStoppingReason.DIVERGENCE_THRESHOLD, 2),
        ({"mode": "max", "stopping_threshold": 0.9}, [0.5, 0.95], EarlyStoppingReason.STOPPING_THRESHOLD, 2),
        ({"mode": "max", "divergence_threshold": 0.1}, [0.5, 0.05], EarlyStoppingReason.DIVERGENCE_THRESHOLD, 2),
        ({"min_delta": 0.5, "patience": 2}, [5.0, 4.6, 4.5, 4.4], EarlyStoppingReason.PATIENCE_EXHAUSTED, 3),
        ({"mode": "max", "min_delta": 0.5, "patience": 1}, [1.0, 1.5], EarlyStoppingReason.PATIENCE_EXHAUSTED, 2),
    ],
)
def test_each_reason_stops_at_the_right_epoch(
    arguments: dict[str, Any], scores: list[float], reason: EarlyStoppingReason, epochs: int
) -> None:
    """Thresholds are strict; a gain must exceed `min_delta`."""
    stopping = EarlyStopping("score", **arguments)

    trainer = fit(stopping, scores)

    assert stopping.stopping_reason is reason
    assert trainer.current_epoch == epochs


def test_nan_is_no_reason_when_finiteness_is_not_checked() -> None:
    """It counts as a check without improvement."""
    stopping = EarlyStopping("score", patience=2, check_finite=False)

    trainer = fit(stopping, [1.0, float("nan"), float("nan")])

    assert trainer.current_epoch == 3
    assert stopping.stopping_reason is EarlyStoppingReason.PATIENCE_EXHAUSTED


def test_with_several_validations_per_epoch_each_is_a_check() -> None:
    """Two validations per epoch use up a patience of three in two epochs."""
    stopping = EarlyStopping("score", patience=3)

    trainer = fit(stopping, [1.0, 2.0, 2.0, 2.0], val_check_interval=0.5)

    assert trainer.global_step == 8


def test_without_validation_it_checks_at_the_end_of_training_epochs_whatever_the_interval() -> None:
    """An interval for validations that never run must not switch the check off."""
    stopping = EarlyStopping("train_score", patience=1)

    trainer = fit(stopping, [1.0, 2.0], limit_val_batches=0, val_check_interval=2)

    assert trainer.current_epoch == 2


@pytest.mark.parametrize("interval", ["00:00:10:00", {"minutes": 10}, 1])
def test_a_time_or_a_batch_count_between_validations_means_to_check_at_their_end(interval: Any) -> None:
    """Left at its default, the moment is found without an error; the whole number 1 is "each batch"."""
    stopping = EarlyStopping("score")
    trainer = MiniTrainer(callbacks=[stopping])
    trainer.val_check_interval = interval

    stopping.setup(trainer, BoringModel(), "fit")

    assert stopping._check_on_train_epoch_end is False


def test_the_explicit_moment_is_kept() -> None:
    """`check_on_train_epoch_end=True` holds with any interval."""
    stopping = EarlyStopping("train_score", patience=1, check_on_train_epoch_end=True)

    trainer = fit(stopping, [1.0, 2.0], val_check_interval=0.5)

    assert trainer.current_epoch == 2


def test_a_missing_metric_is_an_error_with_the_nearest_name() -> None:
    """It is a RuntimeError too, as it has long been."""
    with pytest.raises(RuntimeError, match=r"Logged so far: 'score'.*Did you mean `score`") as caught:
        fit(EarlyStopping("scores"), [1.0])

    assert isinstance(caught.value, MisconfigurationException)


def test_a_missing_metric_is_passed_over_when_not_strict() -> None:
    """The run goes to its end; with `verbose` it is told why."""
    with pytest.warns(RuntimeWarning, match="was not logged"):
        trainer = fit(EarlyStopping("nothing", strict=False, verbose=True), [1.0], max_epochs=2)

    assert trainer.current_epoch == 2


def test_a_metric_that_changes_in_place_does_not_change_the_best_score() -> None:
    """The score is a copy."""
    stopping = EarlyStopping("score")
    running = torch.tensor(5.0)

    class Seen(MiniTrainer):
        @property
        def callback_metrics(self) -> dict[str, torch.Tensor]:
            return {"score": running}

    stopping._run_early_stopping_check(Seen())
    running.fill_(1.0)

    assert stopping.best_score == 5.0


def test_a_fast_dev_run_does_not_check() -> None:
    """A metric that is never logged is no error there."""
    trainer = fit(EarlyStopping("nothing"), [1.0], fast_dev_run=True)

    assert trainer.global_step == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"monitor": "a", "mode": "low"}, "mode='low'; expected 'min'"),
        ({"monitor": "a", "patience": -1}, "patience=-1; expected 0 or more"),
        ({"monitor": None}, "monitor=None; it needs the name"),
    ],
)
def test_arguments_that_cannot_work_are_refused_at_once(arguments: dict[str, Any], part: str) -> None:
    """The message says what was received and what was expected."""
    with pytest.raises(MisconfigurationException, match=part):
        EarlyStopping(**arguments)


def test_overriding_the_decision_changes_it() -> None:
    """Subclasses decide in `_evaluate_stopping_criteria`."""

    class AtTwo(EarlyStopping):
        def _evaluate_stopping_criteria(self, current: torch.Tensor) -> tuple[bool, str | None]:
            return bool(current == 2), "two"

    stopping = AtTwo("score")

    trainer = fit(stopping, [9.0, 2.0, 1.0])

    assert trainer.current_epoch == 2
    assert stopping.stopping_reason_message == "two"


@pytest.mark.parametrize("mine", [True, False])
def test_every_process_knows_why_the_run_stops(mine: bool) -> None:
    """One whose own value is fine gets the reason of the one whose value is not."""

    class OfTwo(SingleProcess):
        world_size = 2

        def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:  # noqa: A002 - the name of the protocol
            return decision if all else True

        def reduce(self, tensor: Any, group: Any = None, reduce_op: str | None = "mean") -> Any:
            assert reduce_op == "max"
            return torch.maximum(tensor, torch.tensor(EarlyStoppingReason.NON_FINITE_METRIC.value))

    class Seen(MiniTrainer):
        @property
        def callback_metrics(self) -> dict[str, torch.Tensor]:
            return {"score": torch.tensor(float("nan") if mine else 1.0)}

    stopping, trainer = EarlyStopping("score"), Seen()
    trainer.strategy = OfTwo(trainer)
    stopping._run_early_stopping_check(trainer)

    assert trainer.should_stop
    assert stopping.stopping_reason is EarlyStoppingReason.NON_FINITE_METRIC
    assert ("another process" in (stopping.stopping_reason_message or "")) is not mine


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_a_timer_ends_training_when_its_time_is_used_up(interval: str, tmp_path: Path) -> None:
    """By step after the first batch, by epoch after the first epoch."""
    timer = Timer(duration={"microseconds": 1}, interval=interval)
    stopped: list[int] = []

    class Watch(Scripted):
        def on_train_end(self) -> None:
            stopped.append(self.trainer.global_step)

    trainer = MiniTrainer(callbacks=[timer], max_epochs=5)
    trainer.fit(Watch([0.0]), DataLoader(RandomDataset(32, 4)), DataLoader(RandomDataset(32, 1)))

    assert stopped == [1 if interval == "step" else 4]
    assert timer.time_elapsed("train") > timer.time_elapsed("validate") >= 0
    assert timer.start_time("test") is None


def test_a_timer_uses_only_the_hooks_of_its_interval() -> None:
    """Without a limit it costs nothing per batch."""
    used = {
        name: [Timer(duration, interval).uses_hook(hook) for hook in ("on_train_batch_end", "on_train_epoch_end")]
        for name, duration, interval in (
            ("none", None, "step"),
            ("step", "00:00:01:00", "step"),
            ("epoch", "00:00:01:00", "epoch"),
        )
    }

    assert used == {"none": [False, False], "step": [True, False], "epoch": [False, True]}


@pytest.mark.parametrize("arguments", [{"duration": "1h"}, {"duration": 5}, {"interval": "batch"}])
def test_a_timer_refuses_what_is_no_duration_or_interval(arguments: dict[str, Any]) -> None:
    """The message shows the form that is understood."""
    with pytest.raises(MisconfigurationException, match="expected"):
        Timer(**arguments)


def test_processes_agree_on_a_deadline_without_a_collective_per_batch() -> None:
    """Both notice at the same batch, after few questions, although one clock is ahead."""
    from lt_callbacks.agreed_deadline import AgreedDeadline

    class First:
        world_size = 2

        def __init__(self) -> None:
            self.sent: list[Any] = []

        def broadcast(self, value: Any) -> Any:
            self.sent.append(value)
            return value

    class Second(First):
        def __init__(self, first: First) -> None:
            super().__init__()
            self.first = first

        def broadcast(self, value: Any) -> Any:
            self.sent.append(value)
            return self.first.sent[len(self.sent) - 1]

    import time

    first, deadlines = First(), (AgreedDeadline(), AgreedDeadline())
    second = Second(first)
    now = time.monotonic()
    noticed: list[tuple[bool, bool]] = []

    while not noticed or not any(noticed[-1]):
        noticed.append(
            (deadlines[0].passed(first, now + 0.2), deadlines[1].passed(second, now - 1000))  # type: ignore[arg-type]
        )
        time.sleep(0.001)

    assert noticed[-1] == (True, True)
    assert not any(a or b for a, b in noticed[:-1])
    assert len(first.sent) == len(second.sent) < len(noticed) / 2
