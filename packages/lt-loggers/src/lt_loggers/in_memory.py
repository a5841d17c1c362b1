"""Everything that was logged as a pandas frame: for notebooks, tests and quick plots, without any file.

Rows are kept as they come and become a frame when somebody asks for one, so that logging costs no more than a list.
They go into checkpoints, so that a resumed run has the whole history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_core.errors import MissingPackageError
from lt_core.logger import Logger
from lt_core.logger_params import add_prefix, convert_params
from lt_core.rank_zero import rank_zero_only
from lt_loggers.scalars import checked_metrics, scalar

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["InMemoryLogger"]


class InMemoryLogger(Logger):
    """Keep all rows in memory.

    Args:
        name: The experiment's name.
        version: Which run it is.
        prefix: What comes before each metric's name (not before ``step``), joined with ``-``; ``""`` for nothing.

    Attributes:
        rows: One dictionary for each call of :meth:`log_metrics`, with ``step`` among the names.
        hparams: All hyperparameters that were logged.

    Example:
        >>> logger = InMemoryLogger()
        >>> logger.log_metrics({"loss": 0.5}, step=0)
        >>> logger.log_metrics({"loss": 0.25, "acc": 0.9}, step=1)
        >>> logger.rows
        [{'step': 0, 'loss': 0.5}, {'step': 1, 'loss': 0.25, 'acc': 0.9}]
    """

    def __init__(self, name: str = "in_memory", version: int | str = 0, prefix: str = "") -> None:
        self.rows: list[dict[str, float | int]] = []
        self.hparams: dict[str, Any] = {}
        self._name = name
        self._version = version
        self._prefix = prefix

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._name

    @property
    def version(self) -> int | str:
        """Which run it is."""
        return self._version

    @property
    def frame(self) -> pd.DataFrame:
        """Everything logged so far: one row for each call, one column for each name, NaN for what a row has not.

        ``step`` is the first column, the others stand in the order in which they were first logged.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                "`InMemoryLogger.frame` needs the package `pandas`, which is not installed. Run `pip install pandas`,"
                " or read `InMemoryLogger.rows`, a list of dictionaries."
            ) from error
        return pd.DataFrame(self.rows, columns=self._columns())

    def plot(self, *names: str, x: str = "step", ax: Axes | None = None) -> Axes:
        """Draw metrics over steps.

        Args:
            names: Which metrics; none for all but ``step`` and ``epoch``.
            x: The metric on the x-axis, such as ``"epoch"``.
            ax: Where to draw; None for a new figure.

        Returns:
            The axes, on which everything can be changed: ``logger.plot("loss").set_yscale("log")``.

        Raises:
            MissingPackageError: matplotlib is not installed.
            KeyError: A name was never logged.
        """
        try:
            from matplotlib import pyplot as plt
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                "`InMemoryLogger.plot` needs the package `matplotlib`, which is not installed. Run"
                " `pip install matplotlib`, or draw `InMemoryLogger.rows` with what you have."
            ) from error
        known = self._columns()
        wanted = names or tuple(name for name in known if name not in ("step", "epoch", x))
        unknown = [name for name in (*wanted, x) if name not in known]
        if unknown:
            raise KeyError(f"No metric {unknown[0]!r} was logged. Expected one of {known}: pass one of these names.")
        axes = plt.subplots()[1] if ax is None else ax
        for name in wanted:
            points = [(row[x], row[name]) for row in self.rows if x in row and name in row]
            axes.plot([point[0] for point in points], [point[1] for point in points], marker=".", label=name)
        axes.set_xlabel(x)
        axes.legend()
        return axes

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row.

        Args:
            metrics: Numbers by name: Python or NumPy numbers or tensors of one element.
            step: The row's place on the x-axis, from 0. None takes the metric named ``step`` where there is one, else
                the number of rows so far. A metric named ``step`` beside another step is kept as ``logged_step``.

        Raises:
            MisconfigurationException: A value is no number.
        """
        checked = checked_metrics("InMemoryLogger", metrics)
        values = {name: scalar(name, value) for name, value in add_prefix(checked, self._prefix).items()}
        logged = values.pop("step", None)
        if step is None:
            step = len(self.rows) if logged is None else logged  # type: ignore[assignment]
        elif logged is not None and logged != step:
            values["logged_step"] = logged
        self.rows.append({"step": step, **values})  # type: ignore[dict-item]

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace | None = None) -> None:
        """Keep hyperparameters, beside those that were logged before.

        Args:
            params: Values by name; a Namespace or a dataclass instance will do.
        """
        self.hparams.update(convert_params(params))

    def state_dict(self) -> dict[str, Any]:
        """Return all rows."""
        return {"rows": [dict(row) for row in self.rows]} if self.rows else {}

    @rank_zero_only
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Have the rows that there were when the state was made.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        self.rows = [dict(row) for row in state_dict["rows"]]

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(["step", *(name for row in self.rows for name in row)]))
