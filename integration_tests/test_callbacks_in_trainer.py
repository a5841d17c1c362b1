"""Fine-tuning, prediction writers, pruning and monitors in the real Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

import lt
from lt.callbacks import (
    BackboneFinetuning,
    BasePredictionWriter,
    Callback,
    DeviceStatsMonitor,
    HistoryPlot,
    ModelPruning,
    SpikeDetection,
    ThroughputMonitor,
    TrainingSpikeException,
)
from lt.loggers import CSVLogger

torch.set_num_threads(1)


class Classifier(lt.LightningModule):
    """A head on a backbone."""

    def __init__(self, *, scheduled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scheduled = scheduled
        self.backbone = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh())
        self.head = nn.Linear(4, 1)
        self.rates: list[list[float]] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return batch[1]

    def on_train_epoch_start(self) -> None:
        self.rates.append([round(group["lr"], 8) for group in self.trainer.optimizers[0].param_groups])

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=0.01)
        if not self.scheduled:
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


X = torch.linspace(-1, 2, 20).reshape(10, 2)


def dataset() -> TensorDataset:
    return TensorDataset(X, torch.arange(10.0).unsqueeze(1))


def trainer_of(*callbacks: Callback, folder: Path, **kwargs: Any) -> lt.Trainer:
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 4,
        "logger": False,
        "enable_checkpointing": any(callback.role == "checkpoint" for callback in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    return lt.Trainer(callbacks=list(callbacks), **{**settings, **kwargs})


def fit(module: Classifier, *callbacks: Callback, folder: Path, **kwargs: Any) -> lt.Trainer:
    ckpt_path = kwargs.pop("ckpt_path", None)
    trainer = trainer_of(*callbacks, folder=folder, **kwargs)
    trainer.fit(module, DataLoader(dataset(), batch_size=5), DataLoader(dataset(), batch_size=5), ckpt_path=ckpt_path)
    return trainer


class SaveAt(Callback):
    role = "checkpoint"

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("step", [2, 3, 5, 6])
@pytest.mark.parametrize(
    "make",
    [
        lambda: BackboneFinetuning(unfreeze_backbone_at_epoch=1),
        lambda: ModelPruning("l1_unstructured", amount=0.3),
        lambda: ModelPruning("l1_unstructured", amount=0.3, use_lottery_ticket_hypothesis=False),
    ],
    ids=["backbone", "lottery", "pruning"],
)
def test_a_resumed_run_ends_with_the_same_bits(make: Any, step: int, tmp_path: Path) -> None:
    """Within an epoch, too: groups of the optimizer, what is trainable, and masks go on."""
    whole, resumed = Classifier(), Classifier()
    path = tmp_path / "resume.ckpt"

    fit(whole, make(), SaveAt(step, path), folder=tmp_path)
    fit(resumed, make(), folder=tmp_path, ckpt_path=path)

    assert {name: value.tolist() for name, value in resumed.state_dict().items()} == {
        name: value.tolist() for name, value in whole.state_dict().items()
    }
    assert [parameter.requires_grad for parameter in resumed.parameters()] == [True] * 6


def test_a_scheduler_and_the_backbone_s_rate_go_together(tmp_path: Path) -> None:
    """The scheduler steps both groups; the callback sets the backbone's when an epoch begins."""
    module = Classifier(scheduled=True)

    fit(module, BackboneFinetuning(unfreeze_backbone_at_epoch=1), folder=tmp_path)

    assert module.rates == [[0.01], [0.005, 0.0005], [0.0025, 0.001], [0.00125, 0.00125]]


class Writer(BasePredictionWriter):
    """Keeps what it is to write."""

    def __init__(self) -> None:
        super().__init__("batch_and_epoch")
        self.batches: list[Any] = []
        self.all: Any = None

    def write_on_batch_end(
        self, trainer: Any, pl_module: Any, prediction: Any, indices: Any, batch: Any, batch_idx: int, loader: int
    ) -> None:
        self.batches.append((loader, batch_idx, indices, prediction.flatten().int().tolist()))

    def write_on_epoch_end(self, trainer: Any, pl_module: Any, predictions: Any, batch_indices: Any) -> None:
        self.all = predictions, batch_indices


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:The predict loader shuffles")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_writer_knows_the_samples_of_each_batch(workers: int, tmp_path: Path) -> None:
    """In order, shuffled, and with a batch sampler of one's own; each target is the index of its sample."""
    loaders = [
        DataLoader(dataset(), batch_size=4, num_workers=workers),
        DataLoader(dataset(), batch_size=4, shuffle=True, num_workers=workers),
        DataLoader(dataset(), batch_sampler=BatchSampler(RandomSampler(dataset()), 3, drop_last=False)),
    ]
    writer = Writer()

    returned = trainer_of(writer, folder=tmp_path).predict(Classifier(), loaders, return_predictions=False)

    assert returned is None
    assert [indices for *_, indices, _ in writer.batches] == [targets for *_, targets in writer.batches]
    assert [indices for _, _, indices, _ in writer.batches[:3]] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    predictions, indices = writer.all
    assert [len(each) for each in predictions] == [3, 3, 4]
    assert [sorted(index for batch in each for index in batch) for each in indices] == [list(range(10))] * 3


def test_a_writer_leaves_the_loader_as_it_was(tmp_path: Path) -> None:
    """A limit reads fewer batches; the next run begins anew."""
    loader = DataLoader(dataset(), batch_size=4)
    before, writer = loader.batch_sampler, Writer()
    trainer = trainer_of(writer, folder=tmp_path, limit_predict_batches=2)

    first = trainer.predict(Classifier(), loader)
    second = trainer.predict(Classifier(), loader)

    assert loader.batch_sampler is before
    assert [indices for *_, indices, _ in writer.batches] == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
    assert first is not None
    assert second is not None
    assert [part.tolist() for part in first] == [part.tolist() for part in second]
    assert trainer.predict_loop.current_batch_indices is None


def test_monitors_and_the_plot_share_a_run(tmp_path: Path) -> None:
    """Rows of the device and of throughput beside the module's own, and a picture in the run's folder."""
    module = Classifier()
    module.flops_per_batch = 1000
    logger = CSVLogger(tmp_path)
    plot = HistoryPlot()

    fit(
        module,
        DeviceStatsMonitor(),
        ThroughputMonitor(lambda batch: len(batch[0]), window_size=2),
        plot,
        folder=tmp_path,
        logger=logger,
        log_every_n_steps=1,
    )

    header = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "DeviceStatsMonitor.on_train_batch_end/cpu_percent" in header
    assert {"train/device/samples_per_sec", "validate/device/samples_per_sec", "train_loss_step"} <= set(header)
    assert (Path(logger.log_dir) / "history.png").read_bytes()[:4] == b"\x89PNG"
    assert {name: len(values) for name, values in plot.history.items()} == {"train_loss_epoch": 4, "val_loss": 4}


def test_a_spike_ends_the_run_and_a_resumed_one_goes_on(tmp_path: Path) -> None:
    """The state is in the checkpoint, and the batches to leave out in the file."""

    class Jumps(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch, batch_idx) * (100 if self.global_step == 3 else 1)

    path = tmp_path / "resume.ckpt"

    with pytest.raises(TrainingSpikeException, match="batch 1"):
        fit(Jumps(), SpikeDetection(rtol=50.0), SaveAt(2, path), folder=tmp_path)
    resumed = SpikeDetection(rtol=50.0)
    fit(Classifier(), resumed, folder=tmp_path, ckpt_path=path, max_epochs=1)

    assert (tmp_path / "skip_batches.json").exists()
    assert len(resumed.state_dict()["running"]["recent"]) == 2
