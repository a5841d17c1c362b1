"""The conformance kit for loggers: what every trainer may expect of one.

Use it in a test of your logger::

    @pytest.mark.parametrize("check", logger_checks(), ids=str)
    def test_my_logger_conforms(check):
        check(lambda save_dir: MyLogger(save_dir))
"""

from __future__ import annotations

import math
import pickle
import tempfile
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lt_core.logger import Logger
from lt_core.rank_zero import rank_zero_only
from lt_core.testing.check import Check, Registry, require, run_checks
from lt_core.testing.kit_parts import KitModule, StopAt, kit_loader
from lt_core.testing.mini_trainer import MiniTrainer

__all__ = ["MakeLogger", "check_logger", "logger_checks"]

MakeLogger = Callable[[str], Logger]
"""Makes a fresh logger that writes under the folder it is given, if it writes files at all."""

_CHECKS = Registry()


def logger_checks() -> list[Check]:
    """Return all checks for loggers, to parametrise a test with."""
    return list(_CHECKS)


def check_logger(make_logger: MakeLogger) -> None:
    """Run all checks on a logger.

    Args:
        make_logger: Makes a fresh one.

    Raises:
        ConformanceError: Lists the behaviours that are missing.

    Example:
        >>> from lt_core.testing import RecordingLogger
        >>> check_logger(lambda save_dir: RecordingLogger())
    """
    run_checks(_CHECKS, make_logger)


def _fit(logger: Logger, folder: str, *callbacks: Any) -> None:
    trainer = MiniTrainer(
        callbacks=list(callbacks), logger=logger, max_epochs=2, log_every_n_steps=1, default_root_dir=folder
    )
    trainer.fit(KitModule(), kit_loader(), kit_loader())


@_CHECKS.add
def it_is_a_logger_with_a_place(make_logger: MakeLogger) -> None:
    """It derives from `Logger`; name, version and folders are of the documented types and stay what they are."""
    with tempfile.TemporaryDirectory() as folder:
        logger = make_logger(folder)
        require(isinstance(logger, Logger), f"{type(logger).__name__} does not derive from `lt_core.Logger`")
        before = (logger.name, logger.version, logger.save_dir, logger.log_dir, logger.root_dir)
        for place in before[2:]:
            require(place is None or isinstance(place, str), f"{place!r} is no path as a string, nor None")
        _fit(logger, folder)
        after = (logger.name, logger.version, logger.save_dir, logger.log_dir, logger.root_dir)
        require(before == after, f"(name, version, folders) changed from {before} to {after} in a run")


@_CHECKS.add
def it_takes_part_in_runs_one_after_the_other(make_logger: MakeLogger) -> None:
    """One instance serves a second fit after it was finalized."""
    with tempfile.TemporaryDirectory() as folder:
        logger = make_logger(folder)
        _fit(logger, folder)
        _fit(logger, folder)


@_CHECKS.add
def it_survives_an_exception_in_the_middle(make_logger: MakeLogger) -> None:
    """The exception reaches the caller unchanged; the logger ends as failed and works again."""
    with tempfile.TemporaryDirectory() as folder:
        logger, error = make_logger(folder), RuntimeError("in the middle")
        caught: BaseException | None = None
        try:
            _fit(logger, folder, StopAt("on_validation_start", error))
        except RuntimeError as raised:
            caught = raised
        require(caught is error, f"the exception reached the caller as {caught!r}")
        _fit(logger, folder)


@_CHECKS.add
def it_can_be_finalized_twice_and_unused(make_logger: MakeLogger) -> None:
    """`save` and `finalize` are harmless at any time, with every status."""
    with tempfile.TemporaryDirectory() as folder:
        unused = make_logger(folder)
        unused.save()
        unused.finalize("success")
        used = make_logger(folder)
        used.log_metrics({"a": 1.0}, step=0)
        for status in ("finished", "success", "failed"):
            used.save()
            used.finalize(status)


@_CHECKS.add
def it_takes_every_number(make_logger: MakeLogger) -> None:
    """NaN, infinities, integers, odd names, new names in later rows and rows without a step are all logged."""
    with tempfile.TemporaryDirectory() as folder:
        logger = make_logger(folder)
        logger.log_metrics({"a": 1.0, "b/c": 2}, step=0)
        logger.log_metrics({"a": math.nan, "late": math.inf, "val/loss dataloader_idx_0": -math.inf}, step=3)
        logger.log_metrics({"a": 3.0})
        logger.log_metrics({}, step=4)
        logger.save()
        logger.finalize("success")


@_CHECKS.add
def it_takes_hyperparameters_of_every_form(make_logger: MakeLogger) -> None:
    """Dicts, namespaces, nestings, None, paths, tensors, functions and classes are taken; a warning is no error."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = make_logger(folder)
        logger.log_hyperparams(
            {
                "lr": 0.1,
                "nested": {"layers": [1, 2], "deeper": {"on": True}},
                "nothing": None,
                "path": Path("data"),
                "tensor": torch.ones(2),
                "class": torch.nn.Linear,
                "function": math.sqrt,
                "text": "a\nb",
            }
        )
        logger.save()
        logger.finalize("success")
        other = make_logger(folder)
        other.log_hyperparams(Namespace(lr=0.2))
        other.finalize("success")


@_CHECKS.add
def it_can_be_pickled(make_logger: MakeLogger) -> None:
    """Launchers send loggers to other processes, before and after they were used."""
    with tempfile.TemporaryDirectory() as folder:
        logger = make_logger(folder)
        for _ in range(2):
            copied = pickle.loads(pickle.dumps(logger))
            places = (copied.name, copied.version, copied.save_dir)
            expected = (logger.name, logger.version, logger.save_dir)
            require(places == expected, f"the copy has (name, version, save_dir) {places}, expected {expected}")
            copied.log_metrics({"b": 1.0}, step=1)
            copied.finalize("success")
            logger.log_metrics({"a": 1.0}, step=0)
            logger.save()
        logger.finalize("success")


@_CHECKS.add
def it_writes_on_the_first_process_only(make_logger: MakeLogger) -> None:
    """On other processes every call is harmless and no file appears."""
    rank = rank_zero_only.rank
    with tempfile.TemporaryDirectory() as folder:
        rank_zero_only.rank = 1
        try:
            logger = make_logger(folder)
            _ = logger.experiment
            logger.log_hyperparams({"lr": 0.1})
            logger.log_metrics({"a": 1.0}, step=0)
            logger.log_graph(KitModule())
            logger.save()
            logger.finalize("success")
        finally:
            rank_zero_only.rank = rank
        files = [str(path) for path in Path(folder).rglob("*") if path.is_file()]
        require(not files, f"rank 1 wrote {files}")
