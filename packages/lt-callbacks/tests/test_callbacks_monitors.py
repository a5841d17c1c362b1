"""DeviceStatsMonitor, ThroughputMonitor and what they measure with."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_callbacks import DeviceStatsMonitor, Throughput, ThroughputMonitor, measure_flops
from lt_callbacks import throughput_monitor as under_test
from lt_callbacks.peak_flops import peak_of
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MissingPackageError
from lt_core.logger import DummyLogger
from lt_core.testing import BoringModel, MiniTrainer, RandomDataset

torch.set_num_threads(1)


class Rows(DummyLogger):
    """Keeps the rows that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if set(metrics) != {"epoch"}:
            self.rows.append((step, metrics))


class Model(BoringModel):
    flops_per_batch = 100

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return batch


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(under_test.time, "perf_counter", lambda: self.now)


class Takes(Callback):
    """Lets time pass: seconds for each batch of a kind."""

    def __init__(self, clock: Clock, **seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def on_train_batch_start(self, *args: Any) -> None:
        self.clock.now += self.seconds.get("train", 0)

    def on_validation_batch_start(self, *args: Any) -> None:
        self.clock.now += self.seconds.get("validate", 0)

    def on_test_batch_start(self, *args: Any) -> None:
        self.clock.now += self.seconds.get("test", 0)

    def on_predict_batch_start(self, *args: Any) -> None:
        self.clock.now += self.seconds.get("predict", 0)


def data(batches: int = 4, size: int = 2) -> DataLoader[Any]:
    return DataLoader(RandomDataset(32, batches * size), batch_size=size)


def trainer_of(logger: DummyLogger, *callbacks: Callback, **kwargs: Any) -> MiniTrainer:
    return MiniTrainer(callbacks=list(callbacks), logger=logger, **{"log_every_n_steps": 1, **kwargs})


# -- the statistics of the device


def test_the_load_of_the_processor_is_logged_around_batches() -> None:
    """Under the callback's name, the hook and the statistic, in training, validation and test."""
    logger = Rows()
    trainer = trainer_of(logger, DeviceStatsMonitor(), log_every_n_steps=2)

    trainer.fit(Model(), data(), data(1))

    names = {"cpu_percent", "cpu_vm_percent", "cpu_swap_percent"}
    hooks = {name.split("/")[0] for _, row in logger.rows for name in row}
    training = [step for step, row in logger.rows if "DeviceStatsMonitor.on_train_batch_start/cpu_percent" in row]
    assert {name.split("/")[1] for _, row in logger.rows for name in row} == names
    assert hooks == {
        f"DeviceStatsMonitor.on_{stage}_batch_{edge}" for stage in ("train", "validation") for edge in ("start", "end")
    }
    assert training == [1, 3]


def test_a_subclass_logs_under_its_own_name_and_false_logs_nothing() -> None:
    """On the processor there is nothing but its own load."""

    class Mine(DeviceStatsMonitor):
        pass

    mine, none = Rows(), Rows()

    trainer_of(mine, Mine()).test(Model(), data(1))
    trainer_of(mine, Mine()).fit(Model(), data(1))
    trainer_of(none, DeviceStatsMonitor(cpu_stats=False)).fit(Model(), data(1))

    names = [name for _, row in mine.rows for name in row]
    assert all(".Mine.on_" in name for name in names)
    assert {".on_test_" in name for name in names} == {True, False}
    assert none.rows == []


def test_without_a_logger_there_is_nowhere_to_log_to() -> None:
    """Said when fit begins."""
    for monitor in (DeviceStatsMonitor(), ThroughputMonitor(len)):
        with pytest.raises(MisconfigurationException, match="Write `Trainer\\(logger=True\\)`"):
            MiniTrainer(callbacks=[monitor]).fit(Model(), data(1))


def test_a_missing_library_is_named_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first batch."""
    monkeypatch.setitem(sys.modules, "psutil", None)

    with pytest.raises(MissingPackageError, match=r'pip install "lt-callbacks\[stats\]"'):
        trainer_of(Rows(), DeviceStatsMonitor()).fit(Model(), data(1))


def test_an_argument_of_another_type_is_refused() -> None:
    """A string is neither."""
    with pytest.raises(MisconfigurationException, match="cpu_stats='yes'; expected True, False or None"):
        DeviceStatsMonitor(cpu_stats="yes")  # type: ignore[arg-type]


# -- throughput


def test_rates_are_averages_over_the_window() -> None:
    """Of the last updates, and for all processes without the word device."""
    throughput = Throughput(available_flops=1000.0, world_size=2, window_size=3)
    for index in range(1, 6):
        throughput.update(time=0.5 * index, batches=index, samples=4 * index, lengths=12 * index, flops=100)

    metrics = throughput.compute()

    assert metrics == {
        "time": 2.5,
        "batches": 5,
        "samples": 20,
        "lengths": 60,
        "device/batches_per_sec": 2.0,
        "device/samples_per_sec": 8.0,
        "device/items_per_sec": 24.0,
        "device/flops_per_sec": 200.0,
        "device/mfu": 0.2,
        "batches_per_sec": 4.0,
        "samples_per_sec": 16.0,
        "items_per_sec": 48.0,
        "flops_per_sec": 400.0,
    }


def test_before_the_window_is_full_there_are_totals_only() -> None:
    """And before the first update nothing."""
    throughput = Throughput(window_size=3)
    nothing = throughput.compute()
    throughput.update(time=1.0, batches=1, samples=2)

    assert nothing == {}
    assert throughput.compute() == {"time": 1.0, "batches": 1, "samples": 2}


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"time": 1.0, "batches": 2, "samples": 1}, "samples to be greater or equal than batches"),
        ({"time": 1.0, "batches": 2, "samples": 4, "lengths": 3}, "lengths to be greater or equal than samples"),
        ({"time": 0.5, "batches": 2, "samples": 4}, r"time=0.5 after 1.0; expected totals that grow"),
        ({"time": 2.0, "batches": 1, "samples": 4}, "batches=1 after 1"),
        ({"time": 2.0, "batches": 2, "samples": 4, "lengths": 9}, "lengths for 1 of 2 updates"),
    ],
)
def test_totals_that_contradict_each_other_are_refused(update: Any, message: str) -> None:
    """Rates of them would be wrong."""
    throughput = Throughput()
    throughput.update(time=1.0, batches=1, samples=2)

    with pytest.raises(ValueError, match=message):
        throughput.update(**update)


def test_training_logs_its_rates_when_steps_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation does not count as time of training."""
    logger, clock = Rows(), Clock(monkeypatch)
    monitor = ThroughputMonitor(len, length_fn=lambda batch: batch.numel(), window_size=2, available_flops=1000.0)

    trainer_of(logger, Takes(clock, train=0.5, validate=7.0), monitor, val_check_interval=1).fit(
        Model(), data(), data(3)
    )

    training = [(step, row) for step, row in logger.rows if "train/time" in row]
    validation = [(step, row) for step, row in logger.rows if "validate/time" in row]
    assert [(step, row["train/time"], row["train/samples"]) for step, row in training] == [
        (0, 0.5, 2),
        (1, 1.0, 4),
        (2, 1.5, 6),
        (3, 2.0, 8),
    ]
    assert training[3][1]["train/device/samples_per_sec"] == 4.0
    assert training[3][1]["train/device/items_per_sec"] == 128.0
    assert training[3][1]["train/device/flops_per_sec"] == 200.0
    assert training[3][1]["train/device/mfu"] == 0.2
    assert [step for step, _ in validation] == list(range(1, 13))
    assert validation[2][1]["validate/time"] == 21.0
    assert validation[3][1]["validate/time"] == 7.0


def test_an_accumulated_batch_is_counted_with_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is logged for an optimizer step, with all batches until then."""
    logger, clock = Rows(), Clock(monkeypatch)

    trainer_of(
        logger, Takes(clock, train=1.0), ThroughputMonitor(len), accumulate_grad_batches=3, limit_val_batches=0
    ).fit(Model(), data())

    assert [(step, row["train/batches"]) for step, row in logger.rows if "train/batches" in row] == [(0, 3), (1, 4)]


def test_evaluation_and_prediction_log_each_nth_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage under its own name."""
    logger, clock = Rows(), Clock(monkeypatch)
    trainer = trainer_of(
        logger, Takes(clock, validate=1.0, test=2.0, predict=4.0), ThroughputMonitor(len), log_every_n_steps=2
    )

    trainer.validate(Model(), data())
    trainer.test(Model(), data())
    trainer.predict(Model(), data())

    logged = [(step, name, row[name]) for step, row in logger.rows for name in row if name.endswith("/time")]
    assert logged == [
        (2, "validate/time", 2.0),
        (4, "validate/time", 4.0),
        (2, "test/time", 4.0),
        (4, "test/time", 8.0),
        (2, "predict/time", 8.0),
        (4, "predict/time", 16.0),
    ]


def test_a_module_without_a_count_of_operations_is_told_once() -> None:
    """The other rates are logged."""
    logger = Rows()

    with pytest.warns(UserWarning, match="`BoringModel` has no attribute `flops_per_batch`") as said:
        trainer_of(logger, ThroughputMonitor(len, window_size=2), limit_val_batches=0).fit(BoringModel(), data())

    rows = [row for _, row in logger.rows if "train/device/batches_per_sec" in row]
    assert len(said) == 1
    assert rows
    assert not any(name.endswith("flops_per_sec") for row in rows for name in row)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ThroughputMonitor(4), "batch_size_fn=4; expected a function of a batch"),  # type: ignore[arg-type]
        (lambda: ThroughputMonitor(len, 4), "length_fn=4; expected a function"),  # type: ignore[arg-type]
        (lambda: ThroughputMonitor(len, windw_size=4), r"unexpected arguments \['windw_size'\]"),
        (lambda: ThroughputMonitor(len, window_size=1), "window_size=1; expected a whole number of at least 2"),
        (lambda: Throughput(world_size=0), "world_size=0; expected a whole number of at least 1"),
    ],
)
def test_wrong_arguments_are_answered_with_what_to_write(make: Any, message: str) -> None:
    """Each is refused when the callback is made."""
    with pytest.raises(MisconfigurationException, match=message):
        make()


def test_a_batch_of_no_samples_is_an_error_that_names_the_function() -> None:
    """A rate of it would be wrong."""
    with pytest.raises(MisconfigurationException, match=r"`ThroughputMonitor\(batch_size_fn=…\)` returned 0"):
        trainer_of(Rows(), ThroughputMonitor(lambda batch: 0)).fit(Model(), data())


def test_operations_are_counted_forward_and_backward() -> None:
    """Two for each weight and sample forward; the same again backward for the weights, inputs need no gradient."""
    with torch.device("meta"):
        layer, x = torch.nn.Linear(32, 2, bias=False), torch.randn(5, 32)

    forward = measure_flops(layer, lambda: layer(x))
    both = measure_flops(layer, lambda: layer(x), torch.Tensor.sum)

    assert (forward, both) == (2 * 5 * 32 * 2, 2 * 2 * 5 * 32 * 2)


def test_the_peak_of_a_device_depends_on_the_arithmetic() -> None:
    """Where TF32 is allowed, float32 means that; a device that is not listed has none."""
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        highest = peak_of("NVIDIA H100 80GB HBM3", torch.float32)
        torch.set_float32_matmul_precision("high")
        high = peak_of("NVIDIA H100 80GB HBM3", torch.float32)
    finally:
        torch.set_float32_matmul_precision(before)

    assert (highest, high) == (67e12, 494.5e12)
    assert peak_of("NVIDIA H100 PCIe", torch.bfloat16) == 756e12
    assert peak_of("NVIDIA L40S", torch.float16) == 362e12
    assert peak_of("NVIDIA A10G", torch.float16) == 125e12
    assert peak_of("Tesla V100-SXM2-16GB", torch.int8) is None
    assert peak_of("Some GPU", torch.float32) is None
