"""Every logger is what a trainer expects of one: core's conformance kit, against the real libraries."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lt_core.logger import DummyLogger, Logger
from lt_core.testing import logger_checks
from lt_loggers import (
    CometLogger,
    CSVLogger,
    InMemoryLogger,
    LoggerCollection,
    MLFlowLogger,
    NeptuneLogger,
    TensorBoardLogger,
    WandbLogger,
)


def comet(folder: str) -> Logger:
    return CometLogger(online=False, project="p", offline_directory=folder, log_code=False, auto_output_logging=False)


LOGGERS: dict[str, tuple[str | None, Callable[[str], Logger]]] = {
    "CSVLogger": (None, CSVLogger),
    "TensorBoardLogger": ("tensorboard", TensorBoardLogger),
    "InMemoryLogger": (None, lambda folder: InMemoryLogger()),
    "DummyLogger": (None, lambda folder: DummyLogger()),
    "LoggerCollection": (None, lambda folder: LoggerCollection([CSVLogger(folder), InMemoryLogger()])),
    "WandbLogger": ("wandb", lambda folder: WandbLogger(save_dir=folder, offline=True)),
    "MLFlowLogger": ("mlflow", lambda folder: MLFlowLogger(save_dir=folder)),
    "MLFlowLogger-synchronous": ("mlflow", lambda folder: MLFlowLogger(save_dir=folder, synchronous=True)),
    "CometLogger": ("comet_ml", comet),
    "NeptuneLogger": ("neptune", lambda folder: NeptuneLogger(mode="offline", project="team/project")),
}


@pytest.fixture(autouse=True)
def _clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    # Quiet, and files in place of a database where that is not the matter.
    for name, value in {
        "WANDB_SILENT": "true",
        "COMET_DISABLE_AUTO_LOGGING": "1",
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }.items():
        monkeypatch.setenv(name, value)
    yield
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()


@pytest.mark.parametrize("name", LOGGERS)
@pytest.mark.parametrize("check", logger_checks(), ids=str)
@pytest.mark.filterwarnings("ignore")  # what the libraries say of each other is not the matter here
def test_each_logger_conforms(check: Callable[[Callable[[str], Logger]], None], name: str) -> None:
    """One behaviour that trainers rely on, of one logger."""
    package, make = LOGGERS[name]
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{name} is not tested: the package {package} is not installed here")

    check(make)
