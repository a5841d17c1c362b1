"""Where the loaders of one stage come from: passed to the trainer, a data module, or the module itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from lt_core.combined_loader import CombinedLoader
from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.hooks import is_overridden

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_core.module import LightningModule

__all__ = ["DataSource", "Prefix", "combine"]

Prefix = Literal["train", "val", "test", "predict"]

# How the loaders of a stage are passed to the trainer.
_ENTRY = {
    "train": "trainer.fit(model, train_loader)",
    "val": "trainer.validate(model, val_loader)",
    "test": "trainer.test(model, test_loader)",
    "predict": "trainer.predict(model, predict_loader)",
}


class DataSource:
    """The loaders of one stage, before they are asked for.

    What was passed directly wins over the data module, and the data module over the module.

    Args:
        prefix: The stage: ``train``, ``val``, ``test`` or ``predict``.
        module: The module, which may define ``<prefix>_dataloader``.
        loaders: What was passed to the trainer, None if nothing.
        datamodule: The data module, None if there is none.

    Example:
        >>> from lt_core.module import LightningModule
        >>> source = DataSource("train", LightningModule(), loaders=[[1, 2], [3]])
        >>> source.is_defined(), source.request()
        (True, [[1, 2], [3]])
        >>> DataSource("val", LightningModule()).is_defined()
        False
    """

    def __init__(self, prefix: Prefix, module: LightningModule, *, loaders: Any = None, datamodule: Any = None) -> None:
        self.prefix: Prefix = prefix
        self._loaders = loaders
        self._module = module
        self._owner = self._find_owner(module, datamodule)

    @property
    def hook_name(self) -> str:
        """The method that returns the loaders of this stage."""
        return f"{self.prefix}_dataloader"

    def is_given(self) -> bool:
        """Tell whether the loaders were passed to the trainer."""
        return self._loaders is not None

    def is_defined(self) -> bool:
        """Tell whether there is anything to ask for loaders."""
        return self._loaders is not None or self._owner is not None

    def request(self, call: Callable[[str, Callable[[], Any]], Any] | None = None) -> Any:
        """Return the loaders: one, or a collection of them.

        Args:
            call: Runs the method, given its name and itself, for example under a profiler.

        Returns:
            What was passed or what the method returned. None for validation or testing without data.

        Raises:
            MisconfigurationException: There are no loaders and the stage cannot do without.
            MisconfigurationTypeError: Something among them cannot be iterated over.
        """
        if self._loaders is not None:
            loaders = self._loaders
        elif self._owner is not None:
            hook = getattr(self._owner, self.hook_name)
            loaders = hook() if call is None else call(self.hook_name, hook)
        else:
            loaders = None
        if loaders is None:
            if self.prefix in ("val", "test") and self._owner is not None:
                return None
            raise self._missing()
        self._check(loaders)
        return loaders

    def _find_owner(self, module: LightningModule, datamodule: Any) -> Any:
        if datamodule is not None and is_overridden(self.hook_name, datamodule, DataHooks):
            return datamodule
        return module if is_overridden(self.hook_name, module, DataHooks) else None

    def _missing(self) -> MisconfigurationException:
        name = type(self._module).__name__
        fix = f"Write `{_ENTRY[self.prefix]}`, pass a data module, or define `def {self.hook_name}(self)` on `{name}`."
        if self._owner is not None:
            owner = type(self._owner).__name__
            return MisconfigurationException(
                f"`{owner}.{self.hook_name}` returned None. Expected a loader or a collection of loaders: is the"
                f" `return` missing? {fix}"
            )
        what = {"train": "training", "val": "validation", "test": "test", "predict": "prediction"}[self.prefix]
        return MisconfigurationException(
            f"There is no {what} data: no loader was passed, and neither a data module nor `{name}` has a"
            f" `{self.hook_name}`. Expected one of them. {fix}"
        )

    def _check(self, loaders: Any) -> None:
        try:
            leaves = (loaders if isinstance(loaders, CombinedLoader) else CombinedLoader(loaders)).flattened
        except MisconfigurationTypeError as error:
            raise self._not_iterable(loaders, error) from error
        for leaf in leaves:
            if isinstance(leaf, (str, bytes, type)):
                raise self._not_iterable(leaf, None)

    def _not_iterable(self, loaders: Any, error: Exception | None) -> MisconfigurationTypeError:
        if self._loaders is not None:
            origin = f"`{_ENTRY[self.prefix]}` got"
        else:
            origin = f"`{type(self._owner).__name__}.{self.hook_name}` returned"
        detail = "" if error is None else f" ({error})"
        return MisconfigurationTypeError(
            f"{origin} {loaders!r}, which is no loader{detail}. Expected a DataLoader, another iterable of batches, or"
            " a list, tuple or dict of them. Wrap a data set: `DataLoader(dataset, batch_size=32)`."
        )


def combine(loaders: Any, prefix: Prefix) -> CombinedLoader:
    """Return the loaders of a stage as one.

    Several training loaders are read side by side, until the longest ends; others one after another. A
    `CombinedLoader` is kept as it is.

    Args:
        loaders: One loader or a collection of them.
        prefix: The stage.

    Raises:
        MisconfigurationValueError: A `CombinedLoader` has a mode that the stage cannot use.

    Example:
        >>> combine([[1, 2], [3]], "train").mode, combine([[1, 2], [3]], "val").mode
        ('max_size_cycle', 'sequential')
    """
    if not isinstance(loaders, CombinedLoader):
        return CombinedLoader(loaders, "max_size_cycle" if prefix == "train" else "sequential")
    if prefix == "train" and loaders.mode == "sequential":
        raise MisconfigurationValueError(
            "The training data is a `CombinedLoader` with mode='sequential', in which each batch comes from another"
            " loader. Expected 'min_size', 'max_size' or 'max_size_cycle'. To train on one data set after another, join"
            " them: `DataLoader(torch.utils.data.ConcatDataset([…]))`."
        )
    if prefix == "predict" and loaders.mode != "sequential":
        raise MisconfigurationValueError(
            f"The prediction data is a `CombinedLoader` with mode={loaders.mode!r}. Expected 'sequential', because"
            " predictions are kept by loader. Write `CombinedLoader(loaders, mode='sequential')`."
        )
    return loaders
