"""What a logger is to a trainer, and the stand-ins where nothing is to be logged.

A trainer hands every logger the same calls, and callbacks and modules reach ``trainer.logger`` from every process. So
the base class has a harmless default for all that a logger may leave out, and :func:`rank_zero_experiment` gives the
processes that must not write an object which takes every call and does nothing.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from lt_core.rank_zero import rank_zero_only

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from lt_core.callback import Checkpoint

__all__ = ["LOGGER_JOIN_CHAR", "DummyExperiment", "DummyLogger", "Logger", "rank_zero_experiment"]

LOGGER_JOIN_CHAR = "-"
"""What stands between a logger's ``prefix`` and the name of a metric."""


class Logger(ABC):
    """Base class of loggers: derive from it to send metrics wherever you like.

    A trainer calls, in this order: ``experiment`` (read once before set-up), ``log_hyperparams``, ``log_graph`` and
    ``save`` when the run starts; ``log_metrics`` and ``save`` for each row; ``after_save_checkpoint`` when a checkpoint
    was written; ``finalize`` at the end. The calls come on all processes: guard what writes with
    :data:`~lt_core.rank_zero.rank_zero_only`.

    Example:
        >>> class PrintLogger(Logger):
        ...     name = "print"
        ...     version = 0
        ...
        ...     def log_metrics(self, metrics, step=None):
        ...         print(step, metrics)
        ...
        ...     def log_hyperparams(self, params, *args, **kwargs):
        ...         print(params)
        >>> PrintLogger().log_metrics({"loss": 0.5}, step=3)
        3 {'loss': 0.5}
    """

    LOGGER_JOIN_CHAR: ClassVar[str] = LOGGER_JOIN_CHAR

    experiment: Any = None
    """The object that does the writing, made on first use; None for a logger that has none."""

    @property
    @abstractmethod
    def name(self) -> str | None:
        """The experiment's name."""

    @property
    @abstractmethod
    def version(self) -> int | str | None:
        """Which run of the experiment this is."""

    @property
    def save_dir(self) -> str | None:
        """The folder that the logger was given; None when it writes no local files."""
        return None

    @property
    def root_dir(self) -> str | None:
        """The folder that holds all versions of the experiment; None when the logger writes no local files."""
        return None

    @property
    def log_dir(self) -> str | None:
        """The folder of this version; None when the logger writes no local files."""
        return None

    @property
    def group_separator(self) -> str:
        """What separates a group from a name in the keys that callbacks make."""
        return "/"

    def take_version(self, version: int | str) -> None:
        """Take over the version that rank 0 has found; called on the other ranks as a run begins.

        Args:
            version: Rank 0's `version`. By default nothing is done with it.
        """

    @abstractmethod
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record one row of metrics.

        Args:
            metrics: Values by name.
            step: Where on the x-axis the row belongs, from 0; None lets the logger count.
        """

    @abstractmethod
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Record the hyperparameters of the run.

        Args:
            params: Values by name; they may be nested.
            args: What a particular logger takes besides.
            kwargs: What a particular logger takes besides.
        """

    def log_graph(self, model: nn.Module, input_array: Tensor | None = None) -> None:
        """Record the graph of a model.

        Args:
            model: The model whose ``forward`` is recorded.
            input_array: What ``forward`` is called with; None for the model's ``example_input_array``.
        """

    def save(self) -> None:
        """Bring what was recorded to where it is kept. It comes after each row, so it has to be cheap."""

    def finalize(self, status: str) -> None:
        """End the experiment.

        Args:
            status: ``"success"``, ``"failed"`` or ``"finished"``.
        """
        self.save()

    def state_dict(self) -> dict[str, Any]:
        """Return where the logger stands, for a checkpoint; empty where there is nothing to keep.

        A run that is killed has logged rows since its last checkpoint, and logs them again when it is resumed from
        there. A logger that can take rows back says here how far it has come.

        Returns:
            Numbers, strings, lists, dicts and tensors, so that the checkpoint can be read safely.
        """
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go back to where the logger stood: what it has recorded since then is recorded again.

        A trainer calls this when a fit is resumed, for a logger whose class, name and version are those of the
        checkpoint.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """

    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:
        """Take notice of a checkpoint that was just written.

        Args:
            checkpoint_callback: Who wrote it; its ``best_model_path`` and ``last_model_path`` tell where.
        """


class DummyExperiment:
    """Takes every attribute, call and index and does nothing.

    Example:
        >>> experiment = DummyExperiment()
        >>> experiment[0].add_image("digits", None).anything() is experiment
        True
        >>> list(experiment)
        []
    """

    def __getattr__(self, name: str) -> DummyExperiment:
        _refuse_special(self, name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> DummyExperiment:
        return self

    def __getitem__(self, index: Any) -> DummyExperiment:
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> DummyExperiment:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class DummyLogger(Logger):
    """Stands where a logger is expected when nothing may be written, as in ``fast_dev_run``.

    It takes every method call and index, so that code made for a particular logger runs on.

    Example:
        >>> logger = DummyLogger()
        >>> logger.experiment.add_image("digits", None)  # doctest: +ELLIPSIS
        <...DummyExperiment object at ...>
        >>> logger.watch("model", log="all")
        >>> logger.name, logger.version
        ('', '')
    """

    def __init__(self) -> None:
        self._experiment = DummyExperiment()

    @property
    def experiment(self) -> DummyExperiment:
        """An object that takes every call and does nothing."""
        return self._experiment

    @property
    def name(self) -> str:
        """Always empty."""
        return ""

    @property
    def version(self) -> str:
        """Always empty."""
        return ""

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def __getitem__(self, index: Any) -> DummyLogger:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __getattr__(self, name: str) -> Callable[..., None]:
        _refuse_special(self, name)
        return _do_nothing


def rank_zero_experiment(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let the first process have the real experiment and all others one that does nothing.

    Args:
        fn: The method under ``@property`` that returns the real experiment.

    Returns:
        The method that gives a :class:`DummyExperiment` where ``rank_zero_only.rank`` is above 0.

    Example:
        >>> class Listed:
        ...     @property
        ...     @rank_zero_experiment
        ...     def experiment(self):
        ...         return []
        >>> Listed().experiment
        []
    """

    @functools.wraps(fn)
    def experiment(self: Any) -> Any:
        return fn(self) if rank_zero_only.rank == 0 else DummyExperiment()

    return experiment


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _refuse_special(owner: object, name: str) -> None:
    # `copy` and `pickle` ask for special methods by name and must not get one that does nothing.
    if name.startswith("__"):
        _no_attribute(owner, name)


def _no_attribute(owner: object, name: str) -> NoReturn:
    raise AttributeError(f"`{type(owner).__name__}` has no attribute {name!r}")
