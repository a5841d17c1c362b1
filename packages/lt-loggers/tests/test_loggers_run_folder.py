"""Where loggers keep a run, which version it gets, and which logger is the default."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lt_core.errors import MisconfigurationException
from lt_core.logger import Logger
from lt_core.roles import load_role
from lt_loggers import CSVLogger, TensorBoardLogger, default_logger
from lt_loggers.write_retry import WriteRetry

LOGGERS = [CSVLogger, TensorBoardLogger]


@pytest.mark.parametrize("kind", LOGGERS)
def test_the_folder_of_a_run_is_made_of_save_dir_name_and_version(kind: Any, tmp_path: Path) -> None:
    """Numbers get `version_` before them, strings are folder names, an empty name has no folder."""
    assert Path(kind(tmp_path).log_dir) == tmp_path / "lightning_logs" / "version_0"
    assert Path(kind(tmp_path, name="a", version=3).log_dir) == tmp_path / "a" / "version_3"
    assert Path(kind(tmp_path, name="a", version="best").log_dir) == tmp_path / "a" / "best"
    assert Path(kind(tmp_path, name="", version=1).log_dir) == tmp_path / "version_1"
    assert Path(kind(tmp_path, name=None, version=1).log_dir) == tmp_path / "version_1"
    logger = kind(tmp_path, name="a", version=3)
    assert (logger.save_dir, Path(logger.root_dir), logger.name, logger.version) == (
        str(tmp_path),
        tmp_path / "a",
        "a",
        3,
    )


@pytest.mark.parametrize("kind", LOGGERS)
def test_the_next_free_version_is_taken_when_first_asked_for(kind: Any, tmp_path: Path) -> None:
    """It is the highest number plus one, then stays; files and other names do not count."""
    logger = kind(tmp_path)
    for name in ("version_2", "version_10", "version_x", "version_11_old", "other"):
        (tmp_path / "lightning_logs" / name).mkdir(parents=True)
    (tmp_path / "lightning_logs" / "version_99").write_text("a file")

    assert logger.version == 11
    (tmp_path / "lightning_logs" / "version_11").mkdir()
    assert logger.version == 11


@pytest.mark.parametrize("kind", LOGGERS)
def test_variables_and_home_are_expanded_where_files_are_written(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """save_dir stays as given; versions are counted in the expanded folder."""
    monkeypatch.setenv("RUNS", "runs")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "runs" / "a" / "version_4").mkdir(parents=True)

    logger = kind("~/$RUNS", name="a")

    assert logger.save_dir == "~/$RUNS"
    assert Path(logger.log_dir) == tmp_path / "runs" / "a" / "version_5"


@pytest.mark.parametrize("kind", LOGGERS)
def test_a_remote_folder_is_refused(kind: Any) -> None:
    """No folder named after the protocol is made; the message says what to do."""
    with pytest.raises(MisconfigurationException, match=r"s3://bucket/logs.*local folder"):
        kind("s3://bucket/logs")


@pytest.mark.parametrize("version", [True, 1.5, Path("x")])
@pytest.mark.parametrize("kind", LOGGERS)
def test_a_version_of_another_type_is_refused(kind: Any, version: Any, tmp_path: Path) -> None:
    """It is a number, a folder name or None."""
    with pytest.raises(TypeError, match="whole number, a folder name, or None"):
        kind(tmp_path, version=version)


def test_the_default_is_tensorboard_where_it_can_be_written(tmp_path: Path) -> None:
    """The role `logger` is filled by default_logger."""
    logger = default_logger(str(tmp_path))

    assert isinstance(logger, TensorBoardLogger)
    assert logger.name == "lightning_logs"
    assert load_role("logger") is default_logger


def test_the_default_without_tensorboard_is_csv_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line names the package to install."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)

    loggers: list[Logger] = [default_logger(tmp_path), default_logger(tmp_path)]

    assert all(isinstance(logger, CSVLogger) for logger in loggers)
    assert caplog.text.count("pip install tensorboard") == 1


def test_importing_the_package_imports_no_writer_and_no_yaml() -> None:
    """Heavy and optional packages wait until they are needed."""
    program = (
        "import sys, torch, lt_core.logger, lt_core.data_hooks; before = set(sys.modules); import lt_loggers; "
        "print(sorted(set(m.split('.')[0] for m in set(sys.modules) - before)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['lt_core', 'lt_loggers']"


def test_a_failing_write_is_retried_after_the_interval_and_said_once() -> None:
    """Between two tries nothing is called; `now` tries in any case; only the given errors are caught."""
    tries = []

    def write() -> None:
        tries.append(1)
        raise OSError("no space")

    retry = WriteRetry("metrics.csv", interval=60)
    with pytest.warns(UserWarning, match=r"metrics.csv cannot be written: no space"):
        assert not retry.attempt(write)
    assert not retry.attempt(write)
    assert not retry.attempt(write, now=True)

    assert (len(tries), retry.failing) == (2, True)
    assert retry.attempt(lambda: None, now=True)
    assert not retry.failing
    with pytest.raises(KeyError):
        retry.attempt(lambda: {}["x"])
