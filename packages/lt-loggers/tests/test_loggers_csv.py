"""CSVLogger: the layout, rows that survive everything, continuing, failing disks, and what is refused."""

from __future__ import annotations

import csv
import math
import os
import pickle
import resource
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lt_core.errors import MisconfigurationException
from lt_core.logger import DummyExperiment
from lt_core.rank_zero import rank_zero_only
from lt_loggers import CSVLogger
from lt_loggers.csv_logs import ExperimentWriter
from lt_loggers.metrics_file import MetricsFile

LIVES = 3


def rows_of(path: Path | str) -> list[dict[str, str]]:
    """Read a metrics file with the csv module, without the cells that are empty."""
    with open(path, newline="") as file:
        return [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(file)]


def header_of(path: Path | str) -> list[str]:
    with open(path, newline="") as file:
        return next(csv.reader(file))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes: a write then goes through in part or not at all, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def metrics_path(logger: CSVLogger) -> Path:
    return Path(logger.log_dir) / "metrics.csv"


def test_rows_have_sorted_columns_and_empty_cells_for_what_is_missing(tmp_path: Path) -> None:
    """A name that appears later gets its column; earlier rows are empty there; the header is sorted with step in it."""
    logger = CSVLogger(tmp_path)

    logger.log_metrics({"lr": 0.1}, step=0)
    logger.save()
    logger.log_metrics({"train": 2.0, "epoch": 0}, step=1)
    logger.log_metrics({"val": 3.0, "epoch": 0}, step=1)
    logger.save()
    logger.log_metrics({"acc": 1.0}, step=3)
    logger.finalize("success")

    path = tmp_path / "lightning_logs" / "version_0" / "metrics.csv"
    assert header_of(path) == ["acc", "epoch", "lr", "step", "train", "val"]
    assert rows_of(path) == [
        {"lr": "0.1", "step": "0"},
        {"epoch": "0", "step": "1", "train": "2.0"},
        {"epoch": "0", "step": "1", "val": "3.0"},
        {"acc": "1.0", "step": "3"},
    ]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["metrics.csv"]


def test_each_saved_row_is_in_the_file_at_once(tmp_path: Path) -> None:
    """After save() nothing waits in this process."""
    logger = CSVLogger(tmp_path)

    for step in range(3):
        logger.log_metrics({"a": step / 2}, step=step)
        logger.save()

        assert len(rows_of(metrics_path(logger))) == step + 1


def test_a_row_is_appended_without_rewriting_the_file(tmp_path: Path) -> None:
    """The file stays the same file for rows of known columns, and becomes a new one for a new column."""
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"a": 1}, step=0)
    logger.save()
    before = metrics_path(logger).stat().st_ino

    for step in range(1, 50):
        logger.log_metrics({"a": step}, step=step)
        logger.save()
    after_rows = metrics_path(logger).stat().st_ino
    logger.log_metrics({"b": 1}, step=50)
    logger.save()

    assert after_rows == before
    assert metrics_path(logger).stat().st_ino != before
    assert [row["step"] for row in rows_of(metrics_path(logger))] == [str(step) for step in range(51)]


def test_without_a_trainer_rows_are_saved_every_n_steps(tmp_path: Path) -> None:
    """log_metrics itself saves when step + 1 is a multiple of flush_logs_every_n_steps."""
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=3)

    for step in range(2):
        logger.log_metrics({"a": 1.0}, step=step)
    assert not metrics_path(logger).exists()
    logger.log_metrics({"a": 1.0}, step=2)

    assert len(rows_of(metrics_path(logger))) == 3


def test_a_file_that_exists_is_continued(tmp_path: Path) -> None:
    """A given version keeps its rows: new ones, and new columns, come after them; rows without step count on."""
    first = CSVLogger(tmp_path, version=7)
    first.log_metrics({"a": 1.0})
    first.finalize("success")

    second = CSVLogger(tmp_path, version=7)
    assert second.experiment.metrics == []
    second.log_metrics({"a": 2.0, "b": 3.0})
    second.finalize("success")

    assert rows_of(metrics_path(second)) == [{"a": "1.0", "step": "0"}, {"a": "2.0", "b": "3.0", "step": "1"}]


def test_a_torn_last_row_is_cut_off_when_the_file_is_continued(tmp_path: Path) -> None:
    """What a crash of the machine left half written does not spoil the rows around it."""
    logger = CSVLogger(tmp_path, version=0)
    logger.log_metrics({"a": 1.0, "b": 2.0}, step=0)
    logger.save()
    with metrics_path(logger).open("ab") as file:
        file.write(b"1.2345,6.7")

    again = CSVLogger(tmp_path, version=0)
    with pytest.warns(UserWarning, match=r"ended within a row.*10 bytes"):
        again.experiment  # noqa: B018 - a look at it opens the file
    again.log_metrics({"a": 3.0, "b": 4.0}, step=1)
    again.save()

    assert rows_of(metrics_path(again)) == [
        {"a": "1.0", "b": "2.0", "step": "0"},
        {"a": "3.0", "b": "4.0", "step": "1"},
    ]


def test_a_file_that_no_logger_wrote_is_left_alone(tmp_path: Path) -> None:
    """The error comes at the first look, before any training, and the file is unchanged."""
    folder = tmp_path / "lightning_logs" / "mine"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("name,score\nann,3\n")

    with pytest.raises(MisconfigurationException, match=r"no logger wrote it.*another version"):
        CSVLogger(tmp_path, version="mine").experiment  # noqa: B018 - a look at it opens the file

    assert (folder / "metrics.csv").read_text() == "name,score\nann,3\n"


def test_a_file_with_unsorted_columns_and_uneven_rows_is_continued(tmp_path: Path) -> None:
    """Columns keep their order until a new one comes; cells that a row lacks are empty, those too many are left out."""
    path = tmp_path / "metrics.csv"
    path.write_text("step,b,a\n0,1,2\n1,3\n2,4,5,6\n")
    file = MetricsFile(str(path))

    file.append([{"a": 7, "step": 3}])
    assert header_of(path) == ["step", "b", "a"]
    file.append([{"c": 8, "step": 4}])

    assert path.read_text().split() == ["a,b,c,step", "2,1,,0", ",3,,1", "5,4,,2", "7,,,3", ",,8,4"]


def test_a_file_that_was_removed_meanwhile_is_begun_anew(tmp_path: Path) -> None:
    """The header is written again."""
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, step=0)
    logger.save()
    metrics_path(logger).unlink()

    logger.log_metrics({"a": 2.0}, step=1)
    logger.save()

    assert rows_of(metrics_path(logger)) == [{"a": "2.0", "step": "1"}]


def test_a_killed_process_leaves_every_saved_row_whole(tmp_path: Path) -> None:
    """A process is killed while it logs, with new columns on the way; the next one continues its file; three times."""
    # One process imports, and each life is a fork of it: imports are most of the time of a life.
    program = f"""
import os
from lt_loggers import CSVLogger
def live(life):
    logger, row = CSVLogger({str(tmp_path)!r}, version=0), 0
    while True:
        logger.log_metrics({{"life": life, "row": row, f"column_{{life}}_{{row // 500}}": row / 7}}, step=row)
        logger.save()
        row += 1
        os.write(1, f"{{life}} {{os.getpid()}} {{row}}\\n".encode())  # whole, or not at all
for life in range({LIVES}):
    pid = os.fork()
    if pid == 0:
        live(life)
    os.waitpid(pid, 0)
"""
    saved = dict.fromkeys(range(LIVES), 0)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as nursery:
        assert nursery.stdout is not None
        for line in nursery.stdout:
            life, pid, row = map(int, line.split())
            saved[life] = row
            if row == 700 * (life + 1):
                os.kill(pid, signal.SIGKILL)

    rows = rows_of(tmp_path / "lightning_logs" / "version_0" / "metrics.csv")
    for life in range(LIVES):
        mine = [row for row in rows if row["life"] == str(life)]
        assert len(mine) >= saved[life] >= 700
        for number, row in enumerate(mine):
            assert row["step"] == row["row"] == str(number)
            assert float(row[f"column_{life}_{number // 500}"]) == number / 7
            assert len(row) == 4


def test_a_full_disk_costs_no_row_and_does_not_raise(tmp_path: Path) -> None:
    """A write that goes through in part is taken back; it is said once; the rows are written when there is room."""
    logger = CSVLogger(tmp_path)
    for step in range(200):
        logger.log_metrics({"a": step + 0.5, "b": 1.0}, step=step)
    logger.save()
    whole = metrics_path(logger).read_bytes()

    with file_size_limit(len(whole) + 5):
        logger.log_metrics({"a": 200.5, "b": 1.0}, step=200)
        with pytest.warns(UserWarning, match=r"cannot be written.*kept in memory"):
            logger.save()
        for step in range(201, 205):
            logger.log_metrics({"a": step + 0.5, "b": 1.0}, step=step)
            logger.save()
        assert metrics_path(logger).read_bytes() == whole
        assert len(logger.experiment.metrics) == 5
        logger.log_metrics({"new column": 1.0}, step=205)
        with pytest.warns(UserWarning, match=r"6 rows could not be written to .*metrics.csv until the end of the run"):
            logger.finalize("failed")
    assert [entry.name for entry in metrics_path(logger).parent.iterdir()] == ["metrics.csv"]

    logger.finalize("failed")

    assert [row["step"] for row in rows_of(metrics_path(logger))] == [str(step) for step in range(206)]
    assert rows_of(metrics_path(logger))[-1] == {"new column": "1.0", "step": "205"}


def test_a_folder_that_cannot_be_made_costs_no_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows and hyperparameters are written once the folder can be made, and that is said."""
    (tmp_path / "lightning_logs").write_text("a file in the way")
    logger = CSVLogger(tmp_path, version=0)

    with pytest.warns(UserWarning, match="cannot be written"):
        logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"a": 1.0}, step=0)
    logger.save()
    (tmp_path / "lightning_logs").unlink()
    logger.log_metrics({"a": 2.0}, step=1)
    logger.finalize("success")

    assert len(rows_of(metrics_path(logger))) == 2
    assert yaml.safe_load((metrics_path(logger).parent / "hparams.yaml").read_text()) == {"lr": 0.1}
    assert caplog.text.count("can be written again") == 1


def test_a_look_at_the_experiment_tells_at_once_that_the_folder_cannot_be_used(tmp_path: Path) -> None:
    """Before training starts it is an error, not a warning in the middle."""
    (tmp_path / "lightning_logs").write_text("a file in the way")

    with pytest.raises(MisconfigurationException, match="Pass another save_dir"):
        CSVLogger(tmp_path, version=0).experiment  # noqa: B018 - a look at it opens the folder


def test_hyperparameters_are_collected_in_a_yaml_file(tmp_path: Path) -> None:
    """Later calls add to earlier ones; a Namespace will do."""
    logger = CSVLogger(tmp_path)

    logger.log_hyperparams({"lr": 0.1, "nested": {"a": [1, 2]}})
    logger.log_hyperparams(Namespace(batch_size=4))

    text = (Path(logger.log_dir) / "hparams.yaml").read_text()
    assert yaml.safe_load(text) == {"batch_size": 4, "lr": 0.1, "nested": {"a": [1, 2]}}
    assert logger.experiment.hparams["batch_size"] == 4


def test_every_kind_of_number_is_taken(tmp_path: Path) -> None:
    """Python and NumPy numbers, tensors of one element, NaN and infinities can be read back."""
    numpy = pytest.importorskip("numpy")
    logger = CSVLogger(tmp_path)

    values = {
        "a": 1,
        "b": 0.1,
        "c": torch.tensor(0.5, requires_grad=True),
        "d": torch.tensor([3]),
        "e": numpy.float32(0.25),
        "f": numpy.array(7),
        "g": math.nan,
        "h": -math.inf,
        "i": torch.tensor(0.5, dtype=torch.bfloat16),
    }
    logger.log_metrics(values, step=numpy.int64(4))
    logger.save()

    row = rows_of(metrics_path(logger))[0]
    assert math.isnan(float(row.pop("g")))
    assert row == {
        "a": "1",
        "b": "0.1",
        "c": "0.5",
        "d": "3",
        "e": "0.25",
        "f": "7",
        "h": "-inf",
        "i": "0.5",
        "step": "4",
    }


@pytest.mark.parametrize("value", ["text", None, [1.0], {"a": 1}, torch.ones(2), 1j, torch.tensor(1j)])
def test_what_is_no_number_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    """The row is not logged; the message names the metric and what a logger takes."""
    logger = CSVLogger(tmp_path)

    with pytest.raises(ValueError, match=r"'loss'.*one real number"):
        logger.log_metrics({"loss": value}, step=0)

    assert logger.experiment.metrics == []


@pytest.mark.parametrize("metrics", [3.0, {1: 2.0}, [("a", 1.0)]])
def test_metrics_that_are_no_mapping_of_names_are_refused(tmp_path: Path, metrics: Any) -> None:
    """The message shows the form to write."""
    with pytest.raises(TypeError, match=r'log_metrics\(\{"loss": 0.5\}, step=3\)'):
        CSVLogger(tmp_path).log_metrics(metrics)


def test_a_metric_named_step_is_the_step_of_the_row(tmp_path: Path) -> None:
    """It stands in the column step, fractions as they are; beside a different step it has a column of its own."""
    logger = CSVLogger(tmp_path)

    logger.log_metrics({"a": 1.0, "step": 12.0})
    logger.log_metrics({"a": 2.0, "step": 13}, step=13)
    logger.log_metrics({"a": 3.0}, step=13.5)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match=r"step=3 with a metric named 'step' of 14"):
        logger.log_metrics({"a": 4.0, "step": 14}, step=3)
    logger.log_metrics({"a": 5.0, "step": 15}, step=4)  # said once: with warnings as errors this would fail
    logger.save()

    rows = rows_of(metrics_path(logger))
    assert [row["step"] for row in rows] == ["12", "13", "13.5", "3", "4"]
    assert [row.get("logged_step", "") for row in rows] == ["", "", "", "14", "15"]


def test_a_prefix_stands_before_names_but_not_before_step(tmp_path: Path) -> None:
    """It is joined with a dash."""
    logger = CSVLogger(tmp_path, prefix="fold0")

    logger.log_metrics({"loss": 1.0}, step=2)
    logger.save()

    assert rows_of(metrics_path(logger)) == [{"fold0-loss": "1.0", "step": "2"}]


def test_names_with_commas_quotes_and_other_letters_are_kept(tmp_path: Path) -> None:
    """The csv module reads them back, also after the file was rewritten."""
    names = ["a,b", 'say "x"', "größe", "val/acc"]
    logger = CSVLogger(tmp_path)

    for step, name in enumerate(names):
        logger.log_metrics({name: 1.5}, step=step)
        logger.save()

    assert rows_of(metrics_path(logger)) == [{name: "1.5", "step": str(step)} for step, name in enumerate(names)]


def test_a_pickled_logger_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """The copy does not repeat rows that wait in the original."""
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, step=0)

    copy = pickle.loads(pickle.dumps(logger))
    copy.log_metrics({"a": 2.0}, step=1)
    copy.save()
    logger.save()

    assert copy.log_dir == logger.log_dir
    assert sorted(row["step"] for row in rows_of(metrics_path(logger))) == ["0", "1"]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    """On rank 1 all calls come to nothing and the experiment is a stand-in."""
    rank_zero_only.rank = 1
    try:
        logger = CSVLogger(tmp_path)
        logger.log_metrics({"a": 1.0}, step=99)
        logger.log_hyperparams({"a": 1})
        logger.save()
        logger.finalize("success")

        assert isinstance(logger.experiment, DummyExperiment)
    finally:
        del rank_zero_only.rank
    assert list(tmp_path.iterdir()) == []


def test_a_flush_interval_below_one_is_refused(tmp_path: Path) -> None:
    """The message says what to pass to have each row written at once."""
    with pytest.raises(ValueError, match=r"flush_logs_every_n_steps=0.*Pass 1"):
        CSVLogger(tmp_path, flush_logs_every_n_steps=0)


def test_the_writer_can_be_used_on_its_own(tmp_path: Path) -> None:
    """ExperimentWriter has the rows that wait and the paths."""
    writer = ExperimentWriter(str(tmp_path / "run"))

    writer.log_metrics({"a": 1.0})
    assert writer.metrics == [{"a": 1.0, "step": 0}]
    writer.save()

    assert writer.metrics == []
    assert rows_of(writer.metrics_file_path) == [{"a": "1.0", "step": "0"}]


def test_a_file_that_grew_under_the_logger_is_looked_at_again(tmp_path: Path) -> None:
    """Rows that another process has added are counted, its columns are kept."""
    file = MetricsFile(str(tmp_path / "metrics.csv"))
    file.append([{"a": 1, "step": 0}])
    MetricsFile(str(tmp_path / "metrics.csv")).append([{"b": 2, "step": 1}])

    assert file.num_rows == 2
    file.append([{"a": 3, "step": 2}])

    assert rows_of(tmp_path / "metrics.csv")[1:] == [{"b": "2", "step": "1"}, {"a": "3", "step": "2"}]
