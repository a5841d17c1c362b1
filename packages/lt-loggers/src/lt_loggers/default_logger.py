"""The logger that a trainer takes when it is not told which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lt_core.rank_zero import WarningCache
from lt_loggers.csv_logs import CSVLogger
from lt_loggers.tensorboard import TensorBoardLogger
from lt_loggers.tensorboard_backend import tensorboard_available

if TYPE_CHECKING:
    import os

    from lt_core.logger import Logger

__all__ = ["default_logger"]

_said = WarningCache()


def default_logger(save_dir: str | os.PathLike[str]) -> Logger:
    """Return a TensorBoardLogger where event files can be written, else a CSVLogger (which is said once).

    Args:
        save_dir: The folder that holds all runs.

    Example:
        >>> default_logger("runs").name
        'lightning_logs'
    """
    if tensorboard_available():
        return TensorBoardLogger(save_dir)
    _said.info(
        "Metrics are logged to CSV files. For TensorBoard, run `pip install tensorboard`; to choose, pass `logger=`."
    )
    return CSVLogger(save_dir)
