"""The checkpoint file: written whole or not at all, read safely.

A run can be killed at any instant, also while it saves, so the previous file stays until the new one is complete.
Files are read with ``weights_only=True``, because an ordinary pickle runs whatever code its author put into it.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import torch

from lt_core.atomic_file import replacing_file
from lt_core.checkpoint_values import unsafe_values, unwritable_values
from lt_core.errors import CheckpointError, MisconfigurationTypeError, did_you_mean

__all__ = ["CheckpointNotFoundError", "load_checkpoint_file", "save_checkpoint_file", "unsafe_values"]

CheckpointTarget: TypeAlias = str | os.PathLike[str] | IO[bytes]
MapLocation: TypeAlias = Callable[..., Any] | torch.device | str | dict[str, str] | None

_REMOTE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_UNSUPPORTED_GLOBAL = re.compile(r"Unsupported (?:global|class).*?(?:GLOBAL |class )([\w.]+)")

# What torch and pickle are known to raise for files that are cut off, damaged or no checkpoints at all.
_READ_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.PickleError,
    zipfile.BadZipFile,
)
_PICKLE_ERRORS = (AttributeError, TypeError, ValueError, RuntimeError, pickle.PickleError)

_WRITE_FIXES = {
    errno.ENOSPC: "Free space on that disk, or save to another one.",
    errno.EDQUOT: "Free space within your quota, or save to another disk.",
    errno.EFBIG: "Raise the limit on file sizes (`ulimit -f`), or save to another disk.",
    errno.EACCES: "Make the folder writable, or save to another one.",
    errno.EPERM: "Make the folder writable, or save to another one.",
    errno.EROFS: "Save to a file system that is mounted for writing.",
    errno.ENAMETOOLONG: "Give the file a shorter name.",
}


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint file at the path that was given."""


def save_checkpoint_file(checkpoint: Mapping[str, Any], path: CheckpointTarget) -> None:
    """Write a checkpoint so that at any instant a whole file is there: the previous one or this one.

    It is written beside the target, flushed to the disk and renamed. Missing folders are made. What killed writers
    left in the folder is removed.

    Args:
        checkpoint: What to save.
        path: Where to; or an open binary file, to which it is written as it stands.

    Raises:
        CheckpointError: The disk is full, the place cannot be written to, or a value cannot be pickled. The previous
            file is unchanged then.
        MisconfigurationTypeError: ``checkpoint`` is no mapping.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> file = Path(folder.name, "runs", "last.ckpt")
        >>> save_checkpoint_file({"epoch": 3, "state_dict": {"w": torch.ones(2)}}, file)
        >>> load_checkpoint_file(file)
        {'epoch': 3, 'state_dict': {'w': tensor([1., 1.])}}
        >>> folder.cleanup()
    """
    if not isinstance(checkpoint, Mapping):
        raise MisconfigurationTypeError(
            f"A checkpoint of type {type(checkpoint).__name__} is to be saved. A dictionary was expected. Wrap it:"
            ' {"state_dict": ...}.'
        )
    content = dict(checkpoint)
    if not isinstance(path, (str, os.PathLike)):
        _write(content, path, "the open file")
        path.flush()
        return
    target = _local(path, "saved to")
    try:
        if target.is_dir():
            raise CheckpointError(
                f"The checkpoint cannot be saved to {str(target)!r}: that is a folder. The path of a file was expected."
                f" Write {str(target / 'last.ckpt')!r}."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing_file(target) as file:
            _write(content, file, repr(str(target)))
    except OSError as error:
        raise _not_written(repr(str(target)), error) from error


def _write(content: dict[str, Any], file: IO[bytes], name: str) -> None:
    try:
        torch.save(content, file)
    except OSError as error:
        raise _not_written(name, error) from error
    except _PICKLE_ERRORS as error:
        cause = _what_torch_hides(error)
        if isinstance(cause, OSError):
            raise _not_written(name, cause) from error
        if cause is not None and not isinstance(cause, Exception):
            raise cause from None
        raise CheckpointError(
            f"The checkpoint {name} could not be written: {error}. Values that can be pickled were expected, and these"
            f" cannot: {unwritable_values(content)}. Leave them out, for example with"
            " save_hyperparameters(ignore=[...]), or return something else from `state_dict()`."
        ) from error


def _what_torch_hides(error: BaseException) -> BaseException | None:
    """Find the error of the disk, or the Ctrl-C, that torch covers with one of its own when it closes the archive."""
    cause = error.__context__
    while cause is not None:
        if isinstance(cause, OSError) or not isinstance(cause, Exception):
            return cause
        cause = cause.__context__
    return None


def _not_written(name: str, error: OSError) -> CheckpointError:
    code = error.errno if error.errno is not None else 0
    fix = _WRITE_FIXES.get(code, "Check the path and the disk, or save to another place.")
    return CheckpointError(
        f"The checkpoint {name} could not be written: {error.strerror or error}. A place with room that can be written"
        f" to was expected; an earlier file of that name is unchanged. {fix}"
    )


def _local(path: str | os.PathLike[str], use: str) -> Path:
    text = os.fspath(path)
    if not text:
        raise CheckpointError(
            f"A checkpoint is to be {use} the empty path ''. The path of a file was expected. Write, for example,"
            " 'last.ckpt'."
        )
    if _REMOTE.match(text):
        raise CheckpointError(
            f"A checkpoint is to be {use} {text!r}. The path of a local file was expected. Copy the file with the"
            " storage's own tool, or pass an open binary file."
        )
    return Path(text)


def load_checkpoint_file(
    path: CheckpointTarget,
    map_location: MapLocation = None,
    weights_only: bool | None = None,  # noqa: FBT001 - the order of torch.load's callers in existing code
) -> dict[str, Any]:
    """Read a checkpoint.

    Args:
        path: Where it is; or an open binary file.
        map_location: Where tensors go, as in ``torch.load``. None: to the device that they were saved from where this
            process has it, else to the CPU.
        weights_only: Whether only tensors, plain values and registered classes are accepted; None means True. False
            runs the code that the file asks for: for files whose author you trust.

    Returns:
        What was saved.

    Raises:
        CheckpointNotFoundError: There is no such file; the message names the checkpoints beside it.
        CheckpointError: The file is cut off or damaged, is no checkpoint, or needs classes that are not accepted.
    """
    safely = True if weights_only is None else weights_only
    source: Any = path
    name = "the open file"
    if isinstance(path, (str, os.PathLike)):
        source = _existing(_local(path, "read from"))
        name = repr(str(source))
    place = _saved_device_or_cpu if map_location is None else map_location
    try:
        content = torch.load(source, map_location=place, weights_only=safely)  # noqa: TID251 - the one place to read
    except torch.OutOfMemoryError:
        raise
    except _READ_ERRORS as error:
        raise _not_read(source, name, error, safely=safely) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{name} holds a {type(content).__name__}. A checkpoint, which is a dictionary, was expected. If it is a"
            " whole module, take its `state_dict()` and load that."
        )
    return dict(content)


def _saved_device_or_cpu(storage: Any, location: str) -> Any:
    kind, _, number = location.partition(":")
    present = {"cuda": torch.cuda.device_count, "xpu": torch.xpu.device_count, "mps": torch.mps.device_count}
    if kind in present and int(number or 0) >= present[kind]():
        return storage.cpu()
    return None  # torch puts it where it was


def _existing(path: Path) -> Path:
    if path.is_dir():
        raise CheckpointError(
            f"{str(path)!r} is a folder. The path of a checkpoint file was expected.{_nearby(path, '')}"
        )
    if not path.is_file():
        raise CheckpointNotFoundError(
            f"There is no checkpoint {str(path)!r}. The path of an existing file was expected."
            f"{_nearby(path.parent, path.name)}"
        )
    return path


def _nearby(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return f" Check the path: there is no folder {str(folder)!r} either."
    names = [file.name for file in sorted(folder.glob("*.ckpt"), key=_modified, reverse=True)]
    if not names:
        return f" Check the path: the folder {str(folder)!r} holds no .ckpt file."
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f" In {str(folder)!r} there are {', '.join(names[:5])}{more}.{did_you_mean(name, names)}"


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0  # removed in the meantime, or a link to nothing


def _not_read(source: Any, name: str, error: Exception, *, safely: bool) -> CheckpointError:
    if isinstance(error, OSError) and error.errno is not None:
        return CheckpointError(
            f"The checkpoint {name} could not be read: {error.strerror}. A file that can be read was expected. Check"
            " its permissions and the disk."
        )
    refused = sorted(set(_refused_classes(source, error))) if safely else []
    if refused:
        return CheckpointError(
            f"The checkpoint {name} holds objects of {', '.join(refused)}. Only tensors and plain values are read"
            " with weights_only=True, because anything else could run code. If you trust the file, pass"
            " weights_only=False, or register the classes with torch.serialization.add_safe_globals([...])."
        )
    if isinstance(error, (ImportError, AttributeError)) and not safely:
        return CheckpointError(
            f"The checkpoint {name} holds an object whose class cannot be found: {error}. The code that wrote it was"
            " expected to be importable. Import or define the class under that name before loading."
        )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if _is_whole(source):
        return CheckpointError(
            f"The checkpoint {name} is complete, but could not be read: {reason}. Values that this torch"
            f" ({torch.__version__}) can restore were expected. Check `map_location`, or load the file with the version"
            " that saved it."
        )
    return CheckpointError(
        f"{name} could not be read: {reason}. A whole checkpoint was expected: this file is cut off, damaged, or none."
        " Use another checkpoint of the run, or copy the file again."
    )


def _refused_classes(source: Any, error: Exception) -> Iterator[str]:
    _rewind(source)
    try:
        yield from torch.serialization.get_unsafe_globals_in_checkpoint(source)
    except _READ_ERRORS:
        # A file in torch's format from before 1.6, or none: the names that are known are those in the message.
        yield from _UNSUPPORTED_GLOBAL.findall(str(error))


def _is_whole(source: Any) -> bool:
    _rewind(source)
    try:
        return zipfile.is_zipfile(source)
    except zipfile.BadZipFile:
        return False


def _rewind(source: Any) -> None:
    if not isinstance(source, os.PathLike) and source.seekable():
        source.seek(0)
