"""The LightningDataModule: everything about the data of an experiment in one object.

A module that knows no data can be trained on any; a data module that knows no model can be shared. It holds the four
steps that are otherwise scattered over scripts: get the data, split it, make loaders of it, and clean up.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import IO, TYPE_CHECKING, Any, ClassVar

from lt_core.combined_loader import CombinedLoader
from lt_core.data_hooks import DataHooks
from lt_core.hparams import HyperparametersMixin
from lt_core.loading import class_only_method, load_datamodule
from lt_data.dataset_loaders import dataset_loaders

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from lt_core.protocols import TrainerProtocol

__all__ = ["LightningDataModule"]

_LOADERS = {
    "Train dataloader": "train_dataloader",
    "Validation dataloader": "val_dataloader",
    "Test dataloader": "test_dataloader",
    "Predict dataloader": "predict_dataloader",
}


class LightningDataModule(DataHooks, HyperparametersMixin):
    """Base class for data: write ``prepare_data``, ``setup`` and the loaders you need.

    A trainer calls, at each entry point: ``prepare_data`` in one process of each node (or of all nodes, see
    ``prepare_data_per_node``), ``setup(stage)`` in every process, the loaders when they are needed, and
    ``teardown(stage)`` when the run ended well. ``on_before_batch_transfer``, ``transfer_batch_to_device`` and
    ``on_after_batch_transfer`` of a data module come before those of the module.

    Args:
        args: Any, so that classes of several bases can hand on what they received. They are not used.
        kwargs: Like ``args``.

    Attributes:
        name: A name for the data; None by default.
        trainer: The trainer that uses the data module, None outside of a run.
        prepare_data_per_node: Whether ``prepare_data`` runs once on each node (default) or once in all.
        allow_zero_length_dataloader_with_multiple_devices: Whether one rank may have no batches while others have some.

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader, TensorDataset, random_split
        >>> class Digits(LightningDataModule):
        ...     def __init__(self, batch_size: int = 4):
        ...         super().__init__()
        ...         self.save_hyperparameters()
        ...
        ...     def setup(self, stage):
        ...         self.train, self.val = random_split(TensorDataset(torch.ones(10, 2)), [8, 2])
        ...
        ...     def train_dataloader(self):
        ...         return DataLoader(self.train, batch_size=self.hparams.batch_size, shuffle=True)
        ...
        ...     def val_dataloader(self):
        ...         return DataLoader(self.val, batch_size=self.hparams.batch_size)
        >>> digits = Digits()
        >>> digits.setup("fit")
        >>> print(digits)
        {Train dataloader: size=8}
        {Validation dataloader: size=2}
        {Test dataloader: None}
        {Predict dataloader: None}
    """

    CHECKPOINT_HYPER_PARAMS_KEY: ClassVar[str] = "datamodule_hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME: ClassVar[str] = "datamodule_hparams_name"
    CHECKPOINT_HYPER_PARAMS_TYPE: ClassVar[str] = "datamodule_hparams_type"

    # Class-level defaults: a subclass that forgets `super().__init__()` has them, too.
    name: str | None = None
    trainer: TrainerProtocol | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    @classmethod
    def from_datasets(
        cls,
        train_dataset: Any = None,
        val_dataset: Any = None,
        test_dataset: Any = None,
        predict_dataset: Any = None,
        batch_size: int = 1,
        num_workers: int = 0,
        **datamodule_kwargs: Any,
    ) -> Self:
        """Make a data module of data sets that are there already.

        Args:
            train_dataset: A data set, or lists, tuples and mappings of data sets; None: nothing to train on. Its
                samples are shuffled unless it is an ``IterableDataset``.
            val_dataset: Likewise, to validate on, in its own order.
            test_dataset: Likewise, to test on, in its own order.
            predict_dataset: Likewise, to predict on, in its own order.
            batch_size: Samples in a batch, from 1. Also handed to ``__init__`` if it takes that name.
            num_workers: Worker processes of each loader; 0 (default) reads in the main process. Also handed to
                ``__init__`` if it takes that name.
            datamodule_kwargs: Further arguments of ``__init__``.

        Returns:
            A data module with a loader method for each data set that was given.

        Raises:
            MisconfigurationTypeError: A loader is asked for and what was given is no data set (a ``TypeError``).

        Example:
            >>> data = LightningDataModule.from_datasets(range(8), {"a": range(3), "b": range(5)}, batch_size=4)
            >>> len(data.train_dataloader())
            2
            >>> sorted(data.val_dataloader())
            ['a', 'b']
        """
        options = {"batch_size": batch_size, "num_workers": num_workers}
        datamodule = cls(**datamodule_kwargs, **_accepted(cls, options))
        given = {
            "train_dataloader": train_dataset,
            "val_dataloader": val_dataset,
            "test_dataloader": test_dataset,
            "predict_dataloader": predict_dataset,
        }
        for method, datasets in given.items():
            if datasets is not None:
                # No closure: the data module can then be pickled whenever its data sets can.
                make = partial(dataset_loaders, datasets, **options, shuffle=method == "train_dataloader")
                setattr(datamodule, method, make)
        return datamodule

    def state_dict(self) -> dict[str, Any]:
        """Return what of the data module must survive a restart; it is stored in checkpoints unless it is empty."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned when the checkpoint was saved.

        Args:
            state_dict: The state.
        """

    def on_exception(self, exception: BaseException) -> None:
        """Clean up when a run was interrupted.

        Args:
            exception: What interrupted it; it is raised again afterwards.
        """

    @class_only_method
    def load_from_checkpoint(
        cls,  # noqa: N805 - bound to the class by the decorator
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        weights_only: bool | None = None,  # noqa: FBT001 - the order of Lightning's signature
        **kwargs: Any,
    ) -> Any:
        """Make a data module from a checkpoint: its stored hyperparameters, then its state.

        Args:
            checkpoint_path: A path or an open binary file.
            map_location: Where tensors go, as in ``torch.load``; by default where they were, if that device exists.
            hparams_file: A ``.yaml``, ``.yml`` or ``.csv`` file whose values replace the stored hyperparameters.
            weights_only: Whether to read safe types only; None means True.
            kwargs: Arguments of ``__init__`` that win over the stored ones.

        Returns:
            A new data module. The method is called on the class; on an instance it is a ``TypeError``.

        Raises:
            CheckpointError: The file cannot be read.
            MisconfigurationTypeError: ``__init__`` needs an argument that is neither stored nor given.
        """
        return load_datamodule(cls, checkpoint_path, map_location, hparams_file, weights_only, **kwargs)

    def __str__(self) -> str:
        """Return one line for each of the four loaders, with the number of samples where it is known."""
        return "\n".join(f"{{{title}: {self._described(method)}}}" for title, method in _LOADERS.items())

    def _described(self, method: str) -> str:
        if getattr(type(self), method) is getattr(LightningDataModule, method) and method not in self.__dict__:
            return "None"
        try:
            loaders = getattr(self, method)()
        except Exception:  # noqa: BLE001 - any code of the user's may fail before `setup`; a print must not
            return "None"
        if isinstance(loaders, CombinedLoader):
            loaders = loaders.flattened
        sizes = [_size(loader) for loader in _flat(loaders)]
        if isinstance(loaders, (list, tuple, Mapping)):
            return " ; ".join(f"{number}. size={size}" for number, size in enumerate(sizes, start=1))
        return f"size={sizes[0]}"


def _accepted(cls: type, options: dict[str, Any]) -> dict[str, Any]:
    """Return those of the options that ``__init__`` takes by name."""
    parameters = inspect.signature(cls).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return options
    return {name: value for name, value in options.items() if name in parameters}


def _flat(loaders: Any) -> list[Any]:
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, (list, tuple)):
        return [loader for item in loaders for loader in _flat(item)]
    return [loaders]


def _size(loader: Any) -> str:
    dataset = getattr(loader, "dataset", None)
    try:
        return str(len(dataset))  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return "NA"
