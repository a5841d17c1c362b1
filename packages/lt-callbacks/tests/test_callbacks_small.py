"""LearningRateMonitor, GradientAccumulationScheduler and LambdaCallback."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_callbacks import GradientAccumulationScheduler, LambdaCallback, LearningRateMonitor
from lt_core.errors import MisconfigurationException
from lt_core.logger import DummyLogger
from lt_core.testing import BoringModel, ManualOptimBoringModel, MiniTrainer, RandomDataset

torch.set_num_threads(1)


class Rows(DummyLogger):
    """Keeps the rows that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, {name: value for name, value in metrics.items() if name != "epoch"}))


def data(batches: int = 4) -> DataLoader[Any]:
    return DataLoader(RandomDataset(32, batches))


def rates(configure: Any, monitor: LearningRateMonitor, **kwargs: Any) -> list[tuple[int | None, dict[str, float]]]:
    class Model(BoringModel):
        def configure_optimizers(self) -> Any:
            return configure(self)

    logger = Rows()
    MiniTrainer(callbacks=[monitor], logger=logger, **{"log_every_n_steps": 2, "max_epochs": 2, **kwargs}).fit(
        Model(), data(), data(1)
    )
    return [row for row in logger.rows if row[1]]


def sgd(model: BoringModel, **kwargs: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **{"lr": 0.5, **kwargs})


def test_rates_are_logged_at_the_interval_of_their_scheduler() -> None:
    """A scheduler by epoch is logged at the start of each epoch."""

    def configure(model: BoringModel) -> Any:
        optimizer = sgd(model)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]

    monitor = LearningRateMonitor()

    rows = rates(configure, monitor)

    assert rows == [(0, {"lr-SGD": 0.5}), (4, {"lr-SGD": 0.25})]
    assert monitor.lrs == {"lr-SGD": [0.5, 0.25]}


def test_rates_by_step_follow_the_trainers_logging_interval() -> None:
    """Every second step is logged, once, also when two batches make one step."""
    monitor = LearningRateMonitor("step")

    assert [step for step, _ in rates(sgd, monitor)] == [1, 3, 5, 7]
    assert [step for step, _ in rates(sgd, monitor, accumulate_grad_batches=2)] == [1, 3]


def test_optimizers_without_scheduler_are_logged_at_both_intervals() -> None:
    """There is no interval of their own to follow."""
    rows = rates(sgd, LearningRateMonitor(), max_epochs=1)

    assert [step for step, _ in rows] == [0, 1, 3]


def test_groups_get_names_of_their_own_and_momentum_and_decay_are_added() -> None:
    """The documented names of keys."""

    def configure(model: BoringModel) -> Any:
        groups = [{"params": [model.layer.weight], "name": "w"}, {"params": [model.layer.bias], "lr": 0.1}]
        return torch.optim.SGD(groups, lr=0.5, momentum=0.9, weight_decay=0.01)

    rows = rates(configure, LearningRateMonitor("epoch", log_momentum=True, log_weight_decay=True), max_epochs=1)

    assert rows == [
        (
            0,
            {
                "lr-SGD/w": 0.5,
                "lr-SGD/w-momentum": 0.9,
                "lr-SGD/w-weight_decay": 0.01,
                "lr-SGD/pg2": 0.1,
                "lr-SGD/pg2-momentum": 0.9,
                "lr-SGD/pg2-weight_decay": 0.01,
            },
        )
    ]


def test_a_scheduler_names_its_rate() -> None:
    """The entry `name` of its configuration."""

    def configure(model: BoringModel) -> Any:
        optimizer = sgd(model)
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "name": "mine"}}

    assert rates(configure, LearningRateMonitor("epoch"), max_epochs=1) == [(0, {"mine": 0.5})]


def test_further_optimizers_of_a_class_are_numbered() -> None:
    """The second is `-1`."""
    monitor = LearningRateMonitor()
    trainer = MiniTrainer(logger=Rows())
    model = BoringModel()
    trainer.optimizers = [sgd(model), sgd(model), torch.optim.Adam(model.parameters())]
    trainer.lr_scheduler_configs = []

    monitor.on_train_start(trainer)

    assert list(monitor.lrs) == ["lr-SGD", "lr-SGD-1", "lr-Adam"]


def test_groups_that_share_a_name_are_refused() -> None:
    """The message names them."""

    def configure(model: BoringModel) -> Any:
        return torch.optim.SGD(
            [{"params": [model.layer.weight], "name": "a"}, {"params": [model.layer.bias], "name": "a"}], lr=0.1
        )

    with pytest.raises(MisconfigurationException, match=r"share the names \['a'\]"):
        rates(configure, LearningRateMonitor())


def test_a_monitor_without_logger_is_refused() -> None:
    """There is nowhere to log to."""
    with pytest.raises(MisconfigurationException, match="no logger"):
        MiniTrainer(callbacks=[LearningRateMonitor()]).fit(BoringModel(), data(), data(1))


def test_an_unknown_logging_interval_is_refused() -> None:
    """The message shows the choices."""
    with pytest.raises(MisconfigurationException, match="logging_interval='batch'; expected 'step'"):
        LearningRateMonitor("batch")  # type: ignore[arg-type]


def test_a_monitor_uses_only_the_hook_of_its_interval() -> None:
    """By epoch it costs nothing per batch."""
    assert not LearningRateMonitor("epoch").uses_hook("on_train_batch_start")
    assert not LearningRateMonitor("step").uses_hook("on_train_epoch_start")
    assert LearningRateMonitor().uses_hook("on_train_batch_start")


def test_accumulation_follows_the_schedule() -> None:
    """Four batches make four steps, then two, then one."""
    steps: list[int] = []
    watch = LambdaCallback(on_train_epoch_end=lambda trainer, module: steps.append(trainer.global_step))
    schedule = GradientAccumulationScheduler({1: 2, 2: 4})

    MiniTrainer(callbacks=[schedule, watch], max_epochs=3).fit(BoringModel(), data(), data(1))

    assert steps == [4, 6, 7]


def test_a_schedule_is_not_changed_for_its_owner() -> None:
    """The dict that was passed stays as it was."""
    given = {4: 2}

    schedule = GradientAccumulationScheduler(given)

    assert given == {4: 2}
    assert schedule.scheduling == {0: 1, 4: 2}
    assert schedule.going_to_accumulate_grad_batches()


@pytest.mark.parametrize(
    ("given", "kind", "part"),
    [
        ({}, TypeError, "at least one epoch"),
        ({-1: 2}, MisconfigurationException, r"epochs \[-1\]"),
        ({1.5: 2}, MisconfigurationException, r"epochs \[1.5\]"),
        ({1: 0}, MisconfigurationException, r"numbers of batches \[0\]"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(given: dict[Any, Any], kind: type[Exception], part: str) -> None:
    """The message holds what was received."""
    with pytest.raises(kind, match=part):
        GradientAccumulationScheduler(given)


def test_a_schedule_excludes_manual_optimization_and_the_trainers_own_number() -> None:
    """Both are found when training starts."""
    with pytest.raises(RuntimeError, match="manual optimization"):
        MiniTrainer(callbacks=[GradientAccumulationScheduler({1: 2})]).fit(ManualOptimBoringModel(), data(), data(1))
    with pytest.raises(ValueError, match="accumulate_grad_batches=3"):
        MiniTrainer(callbacks=[GradientAccumulationScheduler({1: 2})], accumulate_grad_batches=3).fit(
            BoringModel(), data(), data(1)
        )


def test_an_overridden_optimizer_step_is_mentioned() -> None:
    """It is called once per step, not once per batch."""

    class Model(BoringModel):
        def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            super().optimizer_step(*args, **kwargs)

    with pytest.warns(UserWarning, match="overrides optimizer_step"):
        MiniTrainer(callbacks=[GradientAccumulationScheduler({1: 2})]).fit(Model(), data(), data(1))


def test_functions_are_called_at_their_hooks() -> None:
    """In the order of the run, with what the hook gets."""
    seen: list[Any] = []
    callback = LambdaCallback(
        setup=lambda trainer, module, stage: seen.append(stage),
        on_train_batch_end=lambda trainer, module, outputs, batch, batch_idx: seen.append(batch_idx),
        on_train_end=lambda *args: seen.append("end"),
        on_fit_start=None,
    )

    MiniTrainer(callbacks=[callback]).fit(BoringModel(), data(2), data(1))

    assert seen == ["fit", 0, 1, "end"]


def test_a_function_for_no_hook_is_refused_with_the_nearest_name() -> None:
    """A misspelled hook would never be called."""
    with pytest.raises(TypeError, match="Did you mean `on_train_start`"):
        LambdaCallback(on_trian_start=print)
    with pytest.raises(TypeError, match="on_train_start='x'; expected a function"):
        LambdaCallback(on_train_start="x")  # type: ignore[arg-type]
