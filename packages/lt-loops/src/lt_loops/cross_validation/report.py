"""What a cross-validation found: metrics of each fold, out-of-fold predictions, checkpoints, and their ensemble."""

from __future__ import annotations

import math
import os
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lt_core.errors import MisconfigurationException, MissingPackageError
from lt_loops.cross_validation.run_fold import make_module_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lt_loops.cross_validation.protocol import FoldsProtocol
    from lt_loops.cross_validation.result import FoldResult
    from lt_loops.trainer import Trainer

__all__ = ["CrossValidationReport"]


class CrossValidationReport:
    """The results of all folds.

    Args:
        results: One for each fold, in order.
        folds: The folds.
        make_module: Makes a module, to load the folds' weights into.
        make_trainer: Makes a trainer of the arguments that it gets, to predict with.
        folder: Where the run keeps its files.

    Attributes:
        results: One for each fold, in order.
        folds: The folds.
        folder: Where the run keeps its files.
    """

    def __init__(
        self,
        results: list[FoldResult],
        folds: FoldsProtocol,
        make_module: Callable[..., Any],
        make_trainer: Callable[..., Trainer],
        folder: str,
    ) -> None:
        self.results = results
        self.folds = folds
        self.folder = folder
        self._make_module = make_module
        self._make_trainer = make_trainer

    # -- metrics

    @property
    def metric_names(self) -> list[str]:
        """All metrics that a fold has, sorted."""
        return sorted({name for result in self.results for name in result.metrics})

    def values(self, name: str) -> list[float]:
        """Return the values of one metric, in the order of folds; NaN for a fold without it.

        Raises:
            KeyError: No fold has it.
        """
        if name not in self.metric_names:
            raise KeyError(f"No fold logged {name!r}. Expected one of {self.metric_names}.")
        return [result.metrics.get(name, math.nan) for result in self.results]

    def mean(self, name: str) -> float:
        """Return the mean of a metric over folds."""
        return fmean(self.values(name))

    def std(self, name: str) -> float:
        """Return the sample standard deviation of a metric over folds; NaN for a single fold."""
        values = self.values(name)
        return stdev(values) if len(values) > 1 else math.nan

    @property
    def metrics(self) -> Any:
        """A pandas frame: a row for each fold, a column for each metric, and epochs, steps and checkpoint."""
        pandas = _import("pandas")
        rows = [
            {
                **{name: result.metrics.get(name, math.nan) for name in self.metric_names},
                "epochs": result.epochs,
                "steps": result.steps,
                "checkpoint": result.checkpoint,
            }
            for result in self.results
        ]
        return pandas.DataFrame(rows, index=pandas.RangeIndex(len(rows), name="fold"))

    @property
    def summary(self) -> Any:
        """A pandas frame: a row for each metric with its mean, standard deviation, least and greatest value."""
        pandas = _import("pandas")
        return pandas.DataFrame(
            {
                "mean": [self.mean(name) for name in self.metric_names],
                "std": [self.std(name) for name in self.metric_names],
                "min": [min(self.values(name)) for name in self.metric_names],
                "max": [max(self.values(name)) for name in self.metric_names],
            },
            index=pandas.Index(self.metric_names, name="metric"),
        )

    # -- predictions

    @property
    def predictions(self) -> Tensor | dict[str, Tensor] | None:
        """Out-of-fold predictions ``[num_rows, …]``: for each row that of the fold which did not train on it.

        A dict of them where ``predict_step`` returns a dict, None where there is no ``predict_step``.
        """
        found = [result.predictions for result in self.results]
        if any(each is None for each in found):
            return None
        names = list(found[0] or {})
        by_name = {name: self.folds.out_of_fold([(each or {}).get(name) for each in found]) for name in names}
        return by_name[""] if names == [""] else by_name

    @property
    def prediction_frame(self) -> Any:
        """A pandas frame with a row for each row of the data: the fold that predicted it, and the predictions.

        Raises:
            MisconfigurationException: Nothing was predicted.
        """
        pandas = _import("pandas")
        predictions = self.predictions
        if predictions is None:
            raise MisconfigurationException(
                "There are no predictions: the module has no `predict_step` of its own. Expected one that returns a "
                "row for each sample: write `def predict_step(self, batch, batch_idx)`."
            )
        columns: dict[str, Any] = {"fold": self._fold_of_rows().numpy()}
        for name, values in (predictions if isinstance(predictions, dict) else {"": predictions}).items():
            flat = values.reshape(len(values), -1)
            stem = name or "prediction"
            names = [stem] if flat.shape[1] == 1 else [f"{stem}_{index}" for index in range(flat.shape[1])]
            columns.update({each: flat[:, index].float().numpy() for index, each in enumerate(names)})
        return pandas.DataFrame(columns, index=pandas.RangeIndex(self.folds.num_rows, name="row"))

    def _fold_of_rows(self) -> Tensor:
        owner = torch.full((self.folds.num_rows,), -1, dtype=torch.int64)
        for result in self.results:
            owner[self.folds[result.index].val_indices] = result.index
        return owner

    # -- models

    @property
    def checkpoints(self) -> list[str]:
        """The best checkpoint of each fold."""
        return [result.checkpoint for result in self.results]

    def modules(self) -> list[Any]:
        """Return the module of each fold with its best weights, in evaluation mode, on the CPU."""
        from lt_core.checkpoint_file import load_checkpoint_file

        modules = []
        for result in self.results:
            module = make_module_for(self._make_module, self.folds[result.index])
            module.load_state_dict(load_checkpoint_file(result.checkpoint, map_location="cpu")["state_dict"])
            modules.append(module.eval())
        return modules

    def predict(self, loader: Iterable[Any]) -> Any:
        """Predict with the ensemble of all folds: the mean of what their modules predict.

        Args:
            loader: Batches, read once for each fold; it must give the same ones in the same order each time.

        Returns:
            A tensor ``[N, …]`` on the CPU, or a dict of them where ``predict_step`` returns a dict.
        """
        from torch.utils.data import DataLoader

        if isinstance(loader, (list, tuple)):  # batches, where a trainer would see several loaders
            loader = DataLoader(loader, batch_size=None)  # type: ignore[arg-type]
        total: dict[str, Tensor] = {}
        for module in self.modules():
            trainer = self._make_trainer(
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            outputs = trainer.predict(module, loader) or []
            named = [output if isinstance(output, dict) else {"": output} for output in outputs]
            for name in named[0] if named else ():
                mean = torch.cat([each[name] for each in named]).double() / len(self.results)
                total[name] = total[name] + mean if name in total else mean
        single = {name: value.to(torch.get_default_dtype()) for name, value in total.items()}
        return single[""] if list(single) == [""] else single

    # -- for people

    def __str__(self) -> str:
        names = self.metric_names
        header = ["fold", *names, "epochs"]
        rows = [
            [str(result.index), *(f"{result.metrics.get(name, math.nan):.4g}" for name in names), str(result.epochs)]
            for result in self.results
        ]
        rows.append(["mean", *(f"{self.mean(name):.4g}" for name in names), ""])
        rows.append(["std", *(f"{self.std(name):.2g}" for name in names), ""])
        widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, *rows]
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        lines.insert(-2, "  ".join("-" * width for width in widths))
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw each metric over the folds, with its mean and spread.

        Args:
            path: Where to write a picture as well; None for nowhere.

        Returns:
            A matplotlib figure.
        """
        figures = _import("matplotlib.figure", "matplotlib")
        names = self.metric_names
        figure = figures.Figure(figsize=(1.2 + 2.6 * max(len(names), 1), 3.2), layout="constrained")
        for axes, name in zip(figure.subplots(1, max(len(names), 1), squeeze=False)[0], names, strict=False):
            values, mean, spread = self.values(name), self.mean(name), self.std(name)
            axes.bar(range(len(values)), values, color="tab:blue", alpha=0.75)
            axes.axhline(mean, color="black", linewidth=1)
            if not math.isnan(spread):
                axes.axhspan(mean - spread, mean + spread, color="black", alpha=0.12)
            axes.set_title(f"{name}\n{mean:.4g} ± {spread:.2g}", fontsize=10)
            axes.set_xlabel("fold")
            axes.set_xticks(range(len(values)))
        if path is not None:
            figure.savefig(os.fspath(path), dpi=120)
        return figure

    def save(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write the table as text and, where pandas is installed, all frames as CSV files.

        Args:
            folder: Where to; by default the run's own folder.

        Returns:
            The folder.
        """
        target = Path(folder if folder is not None else self.folder)
        target.mkdir(parents=True, exist_ok=True)
        (target / "report.txt").write_text(f"{self}\n")
        try:
            _import("pandas")
        except MissingPackageError:
            return target
        self.metrics.to_csv(target / "metrics.csv")
        self.summary.to_csv(target / "summary.csv")
        if self.predictions is not None:
            self.prediction_frame.to_csv(target / "predictions.csv")
        return target


def _import(module: str, package: str | None = None) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = package or module
        raise MissingPackageError(
            f"The report of a cross-validation needs {name} for this, which is not installed. Install it with "
            f"`pip install {name}`."
        ) from error
