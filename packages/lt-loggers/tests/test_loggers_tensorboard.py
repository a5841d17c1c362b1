"""TensorBoardLogger: what it writes is read back with TensorBoard's own reader."""

from __future__ import annotations

import math
import pickle
import resource
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import nn

from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException, MissingPackageError
from lt_core.logger import DummyExperiment
from lt_core.rank_zero import rank_zero_only
from lt_loggers import TensorBoardLogger
from lt_loggers.tensorboard_backend import load_backend

pytestmark = [
    # The thread that writes prints the error that is also raised to the logger.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


def scalars(folder: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Read all scalars of a run: (step, value) by tag."""
    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def hparams_of(folder: str | Path) -> list[dict[str, Any]]:
    """Read what the hyperparameter dashboard shows: the parameters of each session."""
    reader = EventAccumulator(str(folder))
    reader.Reload()
    found = reader.summary_metadata.get("_hparams_/session_start_info")
    if found is None:
        return []
    start = HParamsPluginData.FromString(found.plugin_data.content).session_start_info
    return [{key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_rows_come_back_from_the_event_file(tmp_path: Path) -> None:
    """Each metric is a curve with its steps; numbers of all kinds, NaN and infinities are kept."""
    numpy = pytest.importorskip("numpy")
    logger = TensorBoardLogger(tmp_path)

    logger.log_metrics({"loss": torch.tensor(0.5), "acc": 1}, step=0)
    logger.log_metrics({"loss": numpy.float32(0.25), "epoch": 0}, step=numpy.int64(1))
    logger.log_metrics({"loss": math.inf, "step": 7.0}, step=2)
    logger.log_metrics({"bad": math.nan})
    logger.finalize("success")

    read = scalars(logger.log_dir)
    assert Path(logger.log_dir) == tmp_path / "lightning_logs" / "version_0"
    assert read["loss"] == [(0, 0.5), (1, 0.25), (2, math.inf)]
    assert read["acc"] == [(0, 1.0)]
    assert read["epoch"] == [(1, 0.0)]
    assert read["step"] == [(2, 7.0)]
    assert math.isnan(read["bad"][0][1])


def test_a_row_is_one_event(tmp_path: Path) -> None:
    """However many metrics a row has, it is handed to the writer once."""
    logger = TensorBoardLogger(tmp_path)
    handed = []
    file_writer = logger.experiment.file_writer
    original = file_writer.add_summary
    file_writer.add_summary = lambda *args: (handed.append(args), original(*args))

    logger.log_metrics({f"m{i}": float(i) for i in range(20)}, step=3)
    logger.finalize("success")

    assert len(handed) == 1
    assert len(scalars(logger.log_dir)) == 20


def test_a_mapping_of_numbers_is_one_chart(tmp_path: Path) -> None:
    """Its lines are in files of their own, as TensorBoard wants it."""
    logger = TensorBoardLogger(tmp_path)

    logger.log_metrics({"loss": {"train": 1.0, "val": torch.tensor(2.0)}}, step=3)
    logger.finalize("success")

    assert scalars(Path(logger.log_dir) / "loss_train") == {"loss": [(3, 1.0)]}
    assert scalars(Path(logger.log_dir) / "loss_val") == {"loss": [(3, 2.0)]}


@pytest.mark.parametrize("value", ["text", None, [1.0], torch.ones(2), {"a": "text"}])
def test_what_is_no_number_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    """It is a ValueError that names the metric; nothing of the row is written."""
    logger = TensorBoardLogger(tmp_path)

    with pytest.raises(ValueError, match=r"'loss.*one real number"):
        logger.log_metrics({"acc": 1.0, "loss": value}, step=0)
    logger.log_metrics({"other": 1.0}, step=1)
    logger.finalize("success")

    assert scalars(logger.log_dir) == {"other": [(1, 1.0)]}


def test_a_prefix_and_a_sub_folder_are_used(tmp_path: Path) -> None:
    """The prefix is joined with a dash; the sub folder holds events and hparams.yaml."""
    logger = TensorBoardLogger(tmp_path, name="a", version="b", prefix="fold0", sub_dir="c")

    logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.finalize("success")

    assert Path(logger.log_dir) == tmp_path / "a" / "b" / "c"
    assert logger.sub_dir == "c"
    assert scalars(logger.log_dir)["fold0-loss"] == [(0, 1.0)]
    assert (Path(logger.log_dir) / "hparams.yaml").is_file()


def test_hyperparameters_reach_the_dashboard_and_the_yaml_file(tmp_path: Path) -> None:
    """Nested values are flattened for the dashboard and kept in the file; the placeholder metric is logged."""
    logger = TensorBoardLogger(tmp_path)

    logger.log_hyperparams({"lr": 0.1, "net": {"sizes": [1, 2], "act": None, "bias": True}, "w": torch.ones(2)})
    logger.log_hyperparams(Namespace(seed=3), metrics={"score": 0.5}, step=2)
    with pytest.warns(UserWarning, match=r"'w' of type Tensor is not written to hparams.yaml"):
        logger.save()
    logger.finalize("success")

    assert scalars(logger.log_dir) == {"hp_metric": [(0, -1.0)], "score": [(2, 0.5)]}
    assert hparams_of(logger.log_dir) == [
        {"lr": 0.1, "net/sizes": "[1, 2]", "net/act": "None", "net/bias": True, "w": "tensor([1., 1.])"}
    ]
    written = yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text())
    assert written == {"lr": 0.1, "net": {"sizes": [1, 2], "act": None, "bias": True}, "seed": 3}


def test_the_placeholder_metric_does_not_come_back_with_a_second_run(tmp_path: Path) -> None:
    """Fit and then test log the same hyperparameters: a real hp_metric in between stays the last one."""
    logger = TensorBoardLogger(tmp_path)

    logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"hp_metric": 0.9}, step=5)
    logger.finalize("success")
    logger.log_hyperparams({"lr": 0.1})
    logger.finalize("success")

    assert scalars(logger.log_dir)["hp_metric"] == [(0, -1.0), (5, pytest.approx(0.9))]


def test_without_placeholder_hyperparameters_go_to_the_yaml_file_alone(tmp_path: Path) -> None:
    """default_hp_metric=False logs nothing to the dashboard unless a metric is given; one number will do."""
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)

    logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"a": 1.0}, step=0)
    logger.finalize("success")
    assert hparams_of(logger.log_dir) == []
    assert yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text()) == {"lr": 0.1}

    logger.log_hyperparams({"lr": 0.1}, metrics=0.75)
    logger.finalize("success")
    assert hparams_of(logger.log_dir) == [{"lr": 0.1}]
    assert scalars(logger.log_dir)["hp_metric"] == [(0, 0.75)]


def test_the_yaml_file_of_another_run_is_kept_and_the_own_one_follows_changes(tmp_path: Path) -> None:
    """A continued run does not overwrite what the first one was started with."""
    first = TensorBoardLogger(tmp_path, version=0)
    first.log_hyperparams({"lr": 0.1})
    first.save()
    first.log_hyperparams({"seed": 1})
    first.save()
    first.finalize("success")

    second = TensorBoardLogger(tmp_path, version=0)
    second.log_hyperparams({"lr": 0.5})
    second.finalize("success")

    assert yaml.safe_load((Path(first.log_dir) / "hparams.yaml").read_text()) == {"lr": 0.1, "seed": 1}


def test_rows_are_in_the_file_within_a_second_without_further_calls(tmp_path: Path) -> None:
    """save() right after another one does not wait for the disk; the writing thread flushes by itself."""
    logger = TensorBoardLogger(tmp_path)
    logger.log_metrics({"a": 0.0}, step=0)
    logger.save()
    flushed = []
    original = logger.experiment.flush
    logger.experiment.flush = lambda: (flushed.append(1), original())

    for step in range(1, 50):
        logger.log_metrics({"a": float(step)}, step=step)
        logger.save()
    assert len(flushed) <= 2

    deadline = time.monotonic() + 10
    while len(scalars(logger.log_dir)["a"]) < 50 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(scalars(logger.log_dir)["a"]) == 50
    logger.finalize("success")


def test_a_full_disk_costs_no_row_and_does_not_raise(tmp_path: Path) -> None:
    """It is said once; what was not flushed goes into a further file when there is room again."""
    logger = TensorBoardLogger(tmp_path)
    for step in range(20):
        logger.log_metrics({"a": float(step)}, step=step)
    logger.experiment.flush()
    size = max(path.stat().st_size for path in Path(logger.log_dir).iterdir())

    with file_size_limit(size + 10):
        with pytest.warns(UserWarning, match=r"cannot be written.*kept in memory"):
            _log_until_it_fails(logger, first=20)
        logger.log_metrics({"b": 1.0}, step=3)
        with pytest.warns(UserWarning, match="rows could not be written"):
            logger.finalize("failed")
    logger.log_metrics({"c": 1.0}, step=4)
    logger.finalize("failed")

    read = scalars(logger.log_dir)
    steps = {int(step) for step, _ in read["a"]}
    assert steps == set(range(max(steps) + 1))
    assert max(steps) >= 20
    assert read["b"] == [(3, 1.0)]
    assert read["c"] == [(4, 1.0)]


def _log_until_it_fails(logger: TensorBoardLogger, first: int) -> None:
    for step in range(first, first + 400):
        logger.log_metrics({"a": float(step)}, step=step)
        logger.save()
        if logger._retry is not None and logger._retry.failing:
            return
        time.sleep(0.02)


def test_a_look_at_the_experiment_tells_at_once_that_the_folder_cannot_be_used(tmp_path: Path) -> None:
    """Before training starts it is an error; in the middle it is not."""
    (tmp_path / "lightning_logs").write_text("a file in the way")
    logger = TensorBoardLogger(tmp_path, version=0)

    with pytest.raises(MisconfigurationException, match="Pass another save_dir"):
        logger.experiment  # noqa: B018 - a look at it opens the file
    with pytest.warns(UserWarning, match="cannot be written"):
        logger.log_metrics({"a": 1.0}, step=0)
    (tmp_path / "lightning_logs").unlink()
    logger.finalize("success")

    assert scalars(logger.log_dir) == {"a": [(0, 1.0)]}


def test_rows_after_the_end_open_a_further_file(tmp_path: Path) -> None:
    """Fit and then test on one logger: all rows are in the run's folder."""
    logger = TensorBoardLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, step=0)
    logger.finalize("success")
    logger.log_metrics({"a": 2.0}, step=1)
    logger.finalize("success")

    assert scalars(logger.log_dir) == {"a": [(0, 1.0), (1, 2.0)]}


def test_a_writer_that_the_user_closed_is_opened_again(tmp_path: Path) -> None:
    """Closing logger.experiment costs no later row."""
    logger = TensorBoardLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, step=0)
    logger.experiment.close()
    logger.log_metrics({"a": 2.0}, step=1)
    logger.finalize("success")

    assert [step for step, _ in scalars(logger.log_dir)["a"]] == [0, 1]


def test_finalize_without_any_row_makes_no_file(tmp_path: Path) -> None:
    """A logger that was never used leaves no trace."""
    TensorBoardLogger(tmp_path).finalize("success")

    assert list(tmp_path.iterdir()) == []


def test_arguments_of_the_writer_are_handed_on(tmp_path: Path) -> None:
    """A suffix ends the file's name; purge_step hides old rows once and not the rows after it."""
    TensorBoardLogger(tmp_path, version=0).log_metrics({"a": 0.0}, step=5)
    logger = TensorBoardLogger(tmp_path, version=1, filename_suffix=".mine", purge_step=3)
    logger.log_metrics({"a": 1.0}, step=3)
    logger.finalize("success")
    logger.log_metrics({"a": 2.0}, step=4)
    logger.finalize("success")

    files = list(Path(logger.log_dir).iterdir())
    assert len(files) == 2
    assert all(path.name.endswith(".mine") for path in files)
    assert scalars(logger.log_dir) == {"a": [(3, 1.0), (4, 2.0)]}


def test_a_pickled_logger_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    """Copy and original write files of their own; no row is there twice."""
    logger = TensorBoardLogger(tmp_path, name="a")
    logger.log_metrics({"a": 1.0}, step=0)

    copy = pickle.loads(pickle.dumps(logger))
    copy.log_metrics({"a": 2.0}, step=1)
    copy.finalize("success")
    logger.finalize("success")

    assert copy.log_dir == logger.log_dir
    assert sorted(scalars(logger.log_dir)["a"]) == [(0, 1.0), (1, 2.0)]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    """On rank 1 all calls come to nothing and the experiment is a stand-in."""
    rank_zero_only.rank = 1
    try:
        logger = TensorBoardLogger(tmp_path, log_graph=True)
        logger.log_metrics({"a": 1.0}, step=0)
        logger.log_hyperparams({"a": 1})
        logger.log_graph(nn.Linear(1, 1))
        logger.save()
        logger.finalize("success")

        assert isinstance(logger.experiment, DummyExperiment)
    finally:
        del rank_zero_only.rank
    assert list(tmp_path.iterdir()) == []


class Scaled(DataHooks, nn.Module):
    """A module with batch hooks, as a LightningModule has them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.example_input_array = torch.ones(1, 2)
        self.hooks_called: list[str] = []

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.hooks_called.append("before")
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.hooks_called.append("after")
        return batch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_the_graph_is_recorded_when_asked_for(tmp_path: Path) -> None:
    """The input goes through the module's batch hooks; without log_graph nothing happens."""
    model = Scaled()
    logger = TensorBoardLogger(tmp_path, log_graph=True)

    TensorBoardLogger(tmp_path, log_graph=False).log_graph(model)
    assert model.hooks_called == []
    logger.log_graph(model)
    logger.finalize("success")

    assert model.hooks_called == ["before", "after"]
    reader = EventAccumulator(logger.log_dir)
    reader.Reload()
    assert any("layer" in node.name for node in reader.Graph().node)


def test_the_graph_of_a_plain_module_is_recorded_with_a_given_input(tmp_path: Path) -> None:
    """A tuple holds the arguments of forward."""
    logger = TensorBoardLogger(tmp_path, log_graph=True)

    logger.log_graph(nn.Bilinear(2, 2, 1), (torch.ones(1, 2), torch.ones(1, 2)))
    logger.finalize("success")

    reader = EventAccumulator(logger.log_dir)
    reader.Reload()
    assert reader.Tags()["graph"]


@pytest.mark.parametrize("example", [None, {"x": torch.ones(1)}])
def test_a_graph_without_usable_input_is_a_warning_that_says_what_to_set(tmp_path: Path, example: Any) -> None:
    """Nothing is recorded and nothing raises."""
    model = nn.Linear(1, 1)
    model.example_input_array = example

    with pytest.warns(UserWarning, match=r"Set `self.example_input_array`"):
        TensorBoardLogger(tmp_path, log_graph=True).log_graph(model)


def test_without_a_writer_package_the_install_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is a ModuleNotFoundError and comes when the logger is made."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)

    with pytest.raises(MissingPackageError, match=r"pip install tensorboard.*CSVLogger") as raised:
        TensorBoardLogger(tmp_path)

    assert isinstance(raised.value, ModuleNotFoundError)


def test_tensorboardx_writes_where_tensorboard_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files come from the other package."""
    pytest.importorskip("tensorboardX")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorboard", None)
        load_backend.cache_clear()
        logger = TensorBoardLogger(tmp_path, purge_step=0)
        logger.log_hyperparams({"lr": 0.1})
        logger.log_metrics({"loss": 0.5, "group": {"a": 1.0}}, step=3)
        logger.finalize("success")
        logger.log_metrics({"loss": 0.25}, step=4)
        logger.finalize("success")
        assert type(logger.experiment).__module__.startswith("tensorboardX")
        logger.finalize("success")
    load_backend.cache_clear()

    assert scalars(logger.log_dir)["loss"] == [(3, 0.5), (4, 0.25)]
    assert hparams_of(logger.log_dir) == [{"lr": 0.1}]
