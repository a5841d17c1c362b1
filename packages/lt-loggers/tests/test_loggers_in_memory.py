"""InMemoryLogger and LoggerCollection: everything logged, at hand; several as one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lt_core.errors import MissingPackageError
from lt_core.testing import KitModule, MiniTrainer, kit_loader
from lt_loggers import CSVLogger, InMemoryLogger, LoggerCollection


def test_a_run_is_a_frame(tmp_path: Path) -> None:
    """One row for each row of the CSV file beside it, NaN for what a row has not, `step` first."""
    pd = pytest.importorskip("pandas", reason="InMemoryLogger.frame is not tested: pandas is not installed here")
    memory, table = InMemoryLogger(), CSVLogger(tmp_path)
    trainer = MiniTrainer(logger=LoggerCollection([memory, table]), max_epochs=2, log_every_n_steps=1)

    trainer.fit(KitModule(), kit_loader(), kit_loader())

    frame = trainer.logger[0].frame
    written = pd.read_csv(Path(table.log_dir, "metrics.csv"))
    assert frame.columns[0] == "step"
    pd.testing.assert_frame_equal(frame[sorted(frame)], written[sorted(written)], check_dtype=False)
    assert memory.hparams == {"lr": 0.1}


def test_metrics_named_step_are_kept_beside_the_step() -> None:
    """Alone it is the row's step; beside another one it has a name of its own."""
    logger = InMemoryLogger(prefix="a")

    logger.log_metrics({"loss": torch.tensor(1.0)})
    logger = InMemoryLogger()
    logger.log_metrics({"loss": 1.0, "step": 5})
    logger.log_metrics({"loss": 2.0, "step": 5}, step=7)

    assert logger.rows == [{"step": 5, "loss": 1.0}, {"step": 7, "loss": 2.0, "logged_step": 5}]


def test_the_plot_has_a_line_for_each_metric_where_it_was_logged() -> None:
    """Rows without the metric leave no point; unknown names are told the known ones."""
    matplotlib = pytest.importorskip("matplotlib", reason="plots are not tested: matplotlib is not installed here")
    matplotlib.use("Agg")
    logger = InMemoryLogger()
    for step in range(4):
        logger.log_metrics({"loss": 1.0 / (step + 1)} if step % 2 else {"acc": 0.5, "epoch": step}, step=step)

    axes = logger.plot()

    lines = {line.get_label(): list(line.get_xdata()) for line in axes.get_lines()}
    assert lines == {"acc": [0, 2], "loss": [1, 3]}
    assert list(logger.plot("acc", x="epoch").get_lines()[0].get_xdata()) == [0, 2]
    with pytest.raises(KeyError, match=r"No metric 'los' was logged. Expected one of \['step', 'acc'"):
        logger.plot("los")


def test_a_missing_library_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are there without it."""
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    logger = InMemoryLogger()
    logger.log_metrics({"a": math.inf})

    with pytest.raises(MissingPackageError, match="pip install pandas"):
        _ = logger.frame
    with pytest.raises(MissingPackageError, match="pip install matplotlib"):
        logger.plot()


def test_the_state_is_the_history() -> None:
    """Rows after the state was made are not there after it is loaded."""
    logger = InMemoryLogger()
    logger.log_metrics({"a": 1.0}, step=0)
    state = logger.state_dict()
    logger.log_metrics({"a": 2.0}, step=1)

    logger.load_state_dict(state)

    assert logger.rows == [{"step": 0, "a": 1.0}]


def test_each_logger_of_a_collection_is_called_though_one_fails() -> None:
    """The exception comes when all have the row."""

    class Failing(InMemoryLogger):
        def log_metrics(self, metrics, step=None):  # type: ignore[no-untyped-def]
            raise OSError("no")

    last = InMemoryLogger()
    both = LoggerCollection([Failing(), last])

    with pytest.raises(OSError, match="no"):
        both.log_metrics({"a": 1.0}, step=3)

    assert last.rows == [{"step": 3, "a": 1.0}]
    with pytest.raises(TypeError, match="Expected loggers"):
        LoggerCollection([last, "csv"])  # type: ignore[list-item]
