"""Which package writes TensorBoard's event files: torch's writer where ``tensorboard`` is installed, or tensorboardX.

Both are optional and slow to import, so they are looked for without importing and imported when the first file opens.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lt_core.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TensorBoardBackend", "load_backend", "tensorboard_available"]

_file_numbers = itertools.count()


@dataclass(frozen=True)
class TensorBoardBackend:
    """The parts of a writer package that the logger uses.

    Attributes:
        writer: The class ``SummaryWriter``.
        summary: The protocol buffer class ``Summary``.
        event: The protocol buffer class ``Event``.
        hparams: Makes the three summaries of the hyperparameter dashboard from parameters and metrics.
        errors: What the package raises when a file cannot be written.
        file_id: What has to be in a new file's name besides what the package puts there, so that no file is opened a
            second time.
    """

    writer: Callable[..., Any]
    summary: Any
    event: Any
    hparams: Callable[[dict[str, Any], dict[str, Any]], tuple[Any, Any, Any]]
    errors: tuple[type[BaseException], ...]
    file_id: Callable[[], str]


def tensorboard_available() -> bool:
    """Whether one of the packages that write event files is installed.

    Example:
        >>> isinstance(tensorboard_available(), bool)
        True
    """
    return _installed("tensorboard") or _installed("tensorboardX")


def require_backend(wanted_by: str) -> None:
    """Raise when no writer package is installed.

    Args:
        wanted_by: What the user wrote.

    Raises:
        MissingPackageError: Neither package is installed.
    """
    if not tensorboard_available():
        raise MissingPackageError(
            f"{wanted_by} needs the package `tensorboard` or `tensorboardX`, and neither is installed."
            " Run `pip install tensorboard`, or use CSVLogger, which needs no further package."
        )


@lru_cache(maxsize=1)
def load_backend() -> TensorBoardBackend:
    """Import the writer package.

    Raises:
        MissingPackageError: Neither package is installed.
    """
    require_backend("Writing event files")
    if _installed("tensorboard"):
        from tensorboard.compat import tf
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        # Where TensorFlow is installed, tensorboard writes through it, and its errors are no OSError.
        return TensorBoardBackend(SummaryWriter, Summary, Event, hparams, (OSError, tf.errors.OpError), lambda: "")
    return TensorBoardBackend(
        writer=import_module("tensorboardX").SummaryWriter,
        summary=import_module("tensorboardX.proto.summary_pb2").Summary,
        event=import_module("tensorboardX.proto.event_pb2").Event,
        hparams=import_module("tensorboardX.summary").hparams,
        errors=(OSError,),
        # Its names differ by the second only, and it begins a file of the same name anew.
        file_id=lambda: f".{os.getpid()}.{next(_file_numbers)}",
    )


def _installed(package: str) -> bool:
    return find_spec(package) is not None
