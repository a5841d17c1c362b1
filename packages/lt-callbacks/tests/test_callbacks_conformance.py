"""Every callback passes core's conformance kit: construct, fit twice, exceptions, state, pickling."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lt_callbacks
from lt_callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    BasePredictionWriter,
    DeviceStatsMonitor,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    HistoryPlot,
    LambdaCallback,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    ModelSummary,
    OnExceptionCheckpoint,
    ProgressBar,
    RichModelSummary,
    RichProgressBar,
    SpikeDetection,
    StochasticWeightAveraging,
    ThroughputMonitor,
    Timer,
    TQDMProgressBar,
    WeightAveraging,
)
from lt_core.callback import Callback, Checkpoint
from lt_core.logger import DummyLogger
from lt_core.testing import callback_checks

torch.set_num_threads(1)


class WithLogger:
    """Gives the kit's trainer, which has none, a logger: without one a monitor refuses to run."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        trainer.logger = DummyLogger()
        super().setup(trainer, pl_module, stage)  # type: ignore[misc]


class RatesWithLogger(WithLogger, LearningRateMonitor):
    pass


class StatsWithLogger(WithLogger, DeviceStatsMonitor):
    pass


class ThroughputWithLogger(WithLogger, ThroughputMonitor):
    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        pl_module.flops_per_batch = 7
        super().setup(trainer, pl_module, stage)


class FinetunesTheKit(BackboneFinetuning):
    """Gives the kit's module a backbone."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if not hasattr(pl_module, "backbone"):
            pl_module.backbone = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
        super().setup(trainer, pl_module, stage)


class FreezesNothing(BaseFinetuning):
    def freeze_before_training(self, pl_module: Any) -> None:
        pass

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        optimizer.param_groups[0]["lr"] *= 0.5


class PrunesTheKit(ModelPruning):
    """Prunes the module itself, whose one weight is all there is."""

    def filter_parameters_to_prune(self, parameters_to_prune: Any = ()) -> Any:
        return [(self.model, "weight")]

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.model = pl_module
        super().setup(trainer, pl_module, stage)
        self.model = None


class WritesNothing(BasePredictionWriter):
    def write_on_batch_end(self, *args: Any) -> None:
        pass

    def write_on_epoch_end(self, *args: Any) -> None:
        pass


def batch_size(batch: Any) -> int:
    return len(batch[0])


def do_nothing(*args: Any) -> None:
    pass


MAKERS: dict[type[Callback], Callable[[], Callback]] = {
    BackboneFinetuning: FinetunesTheKit,
    BaseFinetuning: FreezesNothing,
    BasePredictionWriter: lambda: WritesNothing("batch_and_epoch"),
    DeviceStatsMonitor: StatsWithLogger,
    EMAWeightAveraging: lambda: EMAWeightAveraging(decay=0.5),
    EarlyStopping: lambda: EarlyStopping("val_loss"),
    GradientAccumulationScheduler: lambda: GradientAccumulationScheduler({1: 2}),
    HistoryPlot: HistoryPlot,
    LambdaCallback: lambda: LambdaCallback(on_train_batch_end=do_nothing),
    LearningRateMonitor: RatesWithLogger,
    ModelCheckpoint: lambda: ModelCheckpoint("checkpoints", monitor="val_loss", save_last=True),
    ModelPruning: lambda: PrunesTheKit("l1_unstructured", amount=0.5),
    ModelSummary: ModelSummary,
    OnExceptionCheckpoint: lambda: OnExceptionCheckpoint("."),
    ProgressBar: ProgressBar,
    RichModelSummary: RichModelSummary,
    RichProgressBar: RichProgressBar,
    SpikeDetection: lambda: SpikeDetection(rtol=1000.0),
    StochasticWeightAveraging: lambda: StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1),
    TQDMProgressBar: TQDMProgressBar,
    ThroughputMonitor: lambda: ThroughputWithLogger(batch_size, window_size=2),
    Timer: lambda: Timer(duration="00:01:00:00"),
    WeightAveraging: WeightAveraging,
}
"""How to make each callback; a base class, by a subclass that does the least."""

ABSTRACT = {Callback, Checkpoint}
"""Classes of core's that have no behaviour of their own."""


def callbacks_of_the_package() -> set[type[Callback]]:
    exported = (getattr(lt_callbacks, name) for name in lt_callbacks.__all__)
    return {each for each in exported if inspect.isclass(each) and issubclass(each, Callback)}


def test_the_list_names_all_callbacks_of_the_package() -> None:
    """Who adds a callback adds it here."""
    listed = set(MAKERS) | ABSTRACT

    assert listed == callbacks_of_the_package()


@pytest.mark.filterwarnings("ignore:The indices of the samples of a batch are not known")
@pytest.mark.filterwarnings("ignore:The checkpoint folder .* is not empty")
@pytest.mark.parametrize("check", callback_checks(), ids=str)
@pytest.mark.parametrize("kind", MAKERS, ids=lambda kind: kind.__name__)
def test_the_callback_conforms(
    kind: type[Callback], check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each behaviour that trainers, checkpoints and launchers rely on is there."""
    monkeypatch.chdir(tmp_path)

    made = MAKERS[kind]()

    assert isinstance(made, kind)
    check(MAKERS[kind])
