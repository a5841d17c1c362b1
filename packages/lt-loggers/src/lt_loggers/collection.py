"""Several loggers as one.

A trainer takes a list of loggers. Older code reads ``trainer.logger`` as one object that stands for all of them, and
own training loops want one object to log to; this is it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationTypeError
from lt_core.logger import Logger

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LoggerCollection"]


class LoggerCollection(Logger):
    """Hand every call on to several loggers; it can be indexed and iterated over.

    Each logger gets each call, also when one before it raises: the exception goes on afterwards.

    Args:
        loggers: The loggers.

    Raises:
        MisconfigurationTypeError: One of them is no logger.

    Example:
        >>> from lt_loggers import InMemoryLogger
        >>> both = LoggerCollection([InMemoryLogger("a"), InMemoryLogger("b", version=1)])
        >>> both.log_metrics({"loss": 0.5}, step=0)
        >>> both[1].rows, both.name, both.version
        ([{'step': 0, 'loss': 0.5}], 'a_b', '0_1')
    """

    def __init__(self, loggers: Iterable[Logger]) -> None:
        self._loggers = list(loggers)
        for logger in self._loggers:
            if not isinstance(logger, Logger):
                raise MisconfigurationTypeError(
                    f"LoggerCollection got {logger!r}. Expected loggers: pass instances of classes"
                    " derived from `Logger`."
                )

    def __len__(self) -> int:
        return len(self._loggers)

    def __iter__(self) -> Iterator[Logger]:
        return iter(self._loggers)

    def __getitem__(self, index: int) -> Logger:
        return self._loggers[index]

    @property
    def experiment(self) -> list[Any]:
        """The experiments of all loggers, in order."""
        return [logger.experiment for logger in self._loggers]

    @property
    def name(self) -> str:
        """The different names, joined with ``_``."""
        return "_".join(dict.fromkeys(str(logger.name) for logger in self._loggers))

    @property
    def version(self) -> str:
        """The different versions, joined with ``_``."""
        return "_".join(dict.fromkeys(str(logger.version) for logger in self._loggers))

    @property
    def save_dir(self) -> str | None:
        """The folder of the first logger that has one."""
        return next((logger.save_dir for logger in self._loggers if logger.save_dir is not None), None)

    @property
    def root_dir(self) -> str | None:
        """The folder of all versions of the first logger that has one."""
        return next((logger.root_dir for logger in self._loggers if logger.root_dir is not None), None)

    @property
    def log_dir(self) -> str | None:
        """The folder of the run of the first logger that has one."""
        return next((logger.log_dir for logger in self._loggers if logger.log_dir is not None), None)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record a row with each logger; see the loggers."""
        self._each("log_metrics", metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Record hyperparameters with each logger; see the loggers."""
        self._each("log_hyperparams", params, *args, **kwargs)

    def log_graph(self, model: nn.Module, input_array: Any = None) -> None:
        """Record the graph with each logger; see the loggers."""
        self._each("log_graph", model, input_array)

    def save(self) -> None:
        """Save each logger."""
        self._each("save")

    def finalize(self, status: str) -> None:
        """End each logger; see the loggers."""
        self._each("finalize", status)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Tell each logger of a checkpoint."""
        self._each("after_save_checkpoint", checkpoint_callback)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the loggers that have one, by their place."""
        states = {str(index): logger.state_dict() for index, logger in enumerate(self._loggers)}
        return {index: state for index, state in states.items() if state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the loggers their states.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        for index, state in state_dict.items():
            self._loggers[int(index)].load_state_dict(state)

    def _each(self, method: str, *args: Any, **kwargs: Any) -> None:
        with ExitStack() as calls:  # makes all of them, whatever one raises; the last one first
            for logger in reversed(self._loggers):
                calls.callback(getattr(logger, method), *args, **kwargs)
