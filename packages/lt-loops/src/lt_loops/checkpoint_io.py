"""How checkpoints reach their place and come back: from this thread, or from another while training goes on.

The file format itself is core's; what is here decides when a file is written and by whom, and is what a third party
replaces to keep checkpoints elsewhere.
"""

from __future__ import annotations

import copy
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from lt_core.checkpoint_file import load_checkpoint_file, save_checkpoint_file
from lt_core.errors import CheckpointError, MisconfigurationTypeError

__all__ = ["AsyncCheckpointIO", "CheckpointIO", "TorchCheckpointIO"]

PathLike = str | os.PathLike[str]


class CheckpointIO(ABC):
    """Saves, loads and removes checkpoints; derive from it to keep them elsewhere."""

    @abstractmethod
    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any | None = None) -> None:
        """Save a checkpoint.

        Args:
            checkpoint: Its content.
            path: Where to.
            storage_options: What else the storage takes.
        """

    @abstractmethod
    def load_checkpoint(
        self,
        path: PathLike,
        map_location: Any | None = None,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
    ) -> dict[str, Any]:
        """Return the content of a checkpoint.

        Args:
            path: Where it is.
            map_location: The device that tensors go to, as in `torch.load`; None for the processor.
            weights_only: Whether to read safe types only; None means True.
        """

    @abstractmethod
    def remove_checkpoint(self, path: PathLike) -> None:
        """Remove a checkpoint, file or folder; one that is gone already is no error."""

    def teardown(self) -> None:
        """Finish what is under way and give back what is held."""


class TorchCheckpointIO(CheckpointIO):
    """Files on a local disk, each written whole or not at all.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = os.path.join(folder.name, "last.ckpt")
        >>> TorchCheckpointIO().save_checkpoint({"epoch": 1}, path)
        >>> TorchCheckpointIO().load_checkpoint(path)
        {'epoch': 1}
        >>> folder.cleanup()
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any | None = None) -> None:
        """Save a checkpoint; missing folders are made.

        Args:
            checkpoint: Its content.
            path: Where to.
            storage_options: A local disk takes none; must be None.

        Raises:
            MisconfigurationTypeError: There are storage options.
            CheckpointError: The file cannot be written.
        """
        if storage_options is not None:
            raise MisconfigurationTypeError(
                f"`storage_options={storage_options!r}` was given for a checkpoint on a local disk, which takes none."
                " None was expected. Leave the argument out, or pass a `CheckpointIO` of your own that knows them:"
                " `Trainer(plugins=[...])`."
            )
        save_checkpoint_file(checkpoint, path)

    def load_checkpoint(
        self,
        path: PathLike,
        map_location: Any | None = None,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
    ) -> dict[str, Any]:
        return load_checkpoint_file(path, "cpu" if map_location is None else map_location, weights_only)

    def remove_checkpoint(self, path: PathLike) -> None:
        target = Path(path)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


class AsyncCheckpointIO(CheckpointIO):
    """Writes checkpoints in another thread, while training goes on.

    The content is copied on the caller's thread, so that training may change it at once. One checkpoint is written at
    a time: a second one waits for the first. Removals asked for meanwhile are carried out after it, and only if it
    was written: the previous checkpoint goes when the new one is whole.

    Args:
        checkpoint_io: What writes; by default `TorchCheckpointIO`.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = os.path.join(folder.name, "last.ckpt")
        >>> checkpoint_io = AsyncCheckpointIO()
        >>> checkpoint_io.save_checkpoint({"epoch": 1}, path)
        >>> checkpoint_io.teardown()  # waits
        >>> TorchCheckpointIO().load_checkpoint(path)
        {'epoch': 1}
        >>> folder.cleanup()
    """

    def __init__(self, checkpoint_io: CheckpointIO | None = None) -> None:
        self.checkpoint_io: CheckpointIO = TorchCheckpointIO() if checkpoint_io is None else checkpoint_io
        self._executor: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._removing: list[Future[None]] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: PathLike, storage_options: Any | None = None) -> None:
        """Copy the content and hand it to the other thread.

        Args:
            checkpoint: Its content.
            path: Where to.
            storage_options: Passed on to the wrapped ``checkpoint_io``.

        Raises:
            Exception: Whatever the previous save failed with; this one is not started then.
            CheckpointError: The content cannot be copied.
        """
        self._wait()
        content = _snapshot(checkpoint)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing = self._executor.submit(self._save, content, path, storage_options)

    def load_checkpoint(
        self,
        path: PathLike,
        map_location: Any | None = None,
        weights_only: bool | None = None,  # noqa: FBT001 -- the API we match
    ) -> dict[str, Any]:
        self._wait()
        return self.checkpoint_io.load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: PathLike) -> None:
        writing = self._writing
        if writing is None or self._executor is None or (writing.done() and writing.exception() is None):
            self.checkpoint_io.remove_checkpoint(path)
        else:
            self._removing.append(self._executor.submit(self._remove_after, writing, path))

    def teardown(self) -> None:
        """Wait for the other thread and end it.

        Raises:
            Exception: Whatever the last save failed with.
        """
        try:
            self._wait()
        finally:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None
            self.checkpoint_io.teardown()

    def _save(self, content: dict[str, Any], path: PathLike, storage_options: Any | None) -> None:
        if storage_options is None:
            self.checkpoint_io.save_checkpoint(content, path)
        else:
            self.checkpoint_io.save_checkpoint(content, path, storage_options)

    def _remove_after(self, writing: Future[None], path: PathLike) -> None:
        if writing.exception() is None:
            self.checkpoint_io.remove_checkpoint(path)

    def _wait(self) -> None:
        pending = [*([self._writing] if self._writing is not None else []), *self._removing]
        self._writing = None
        self._removing = []
        failures = [error for error in (future.exception() for future in pending) if error is not None]
        if failures:
            raise failures[0]


def _snapshot(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Copy everything, tensors included; what shares memory in the original shares it in the copy."""
    memo: dict[int, Any] = {}
    kept: list[Any] = []  # keeps what was made here alive as long as its id stands in `memo`
    _detach_into(checkpoint, memo, kept)
    try:
        return dict(copy.deepcopy(checkpoint, memo))
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint cannot be copied, to be written in another thread: {error}. Values were expected that"
            " `copy.deepcopy` can copy: numbers, strings, tensors without history, and containers of them. Store"
            " `tensor.detach()`, or save without `AsyncCheckpointIO`."
        ) from error


def _detach_into(data: Any, memo: dict[int, Any], kept: list[Any]) -> None:
    # deepcopy refuses tensors with a history; what is saved is their value.
    if isinstance(data, Tensor):
        if not data.is_leaf:
            detached = data.detach()
            memo[id(data)] = copy.deepcopy(detached, memo)
            kept.append(detached)
    elif isinstance(data, Mapping):
        for value in data.values():
            _detach_into(value, memo, kept)
    elif isinstance(data, (list, tuple)):
        for value in data:
            _detach_into(value, memo, kept)
