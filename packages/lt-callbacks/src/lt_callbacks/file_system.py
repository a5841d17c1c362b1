"""The few questions checkpoint callbacks ask of a file system, local or remote.

Local paths are answered by the standard library. A path with a scheme (``s3://…``) is answered through fsspec, which
is imported only then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lt_core.errors import MissingPackageError

__all__ = ["absolute", "exists", "is_local", "list_names", "why_not_writable", "write_text"]


def is_local(path: str | Path) -> bool:
    """Tell whether a path is on a file system that the operating system mounts.

    Example:
        >>> is_local("runs/last.ckpt"), is_local("s3://bucket/runs")
        (True, False)
    """
    scheme, separator, _ = str(path).partition("://")
    return not separator or scheme in ("file", "local")


def absolute(path: str | Path) -> str:
    """Return a local path with user folder and links resolved, a remote one unchanged."""
    return os.path.realpath(os.path.expanduser(_plain(path))) if is_local(path) else str(path)


def exists(path: str | Path) -> bool:
    """Tell whether something is there; a link whose target is gone counts."""
    if is_local(path):
        return os.path.lexists(_plain(path))
    return bool(_remote(path).exists(str(path)))


def list_names(folder: str | Path) -> list[str]:
    """Return the paths in a folder in alphabetical order; none if the folder does not exist."""
    if is_local(folder):
        plain = _plain(folder)
        return [os.path.join(plain, name) for name in sorted(os.listdir(plain))] if os.path.isdir(plain) else []
    remote = _remote(folder)
    return (
        sorted(remote.unstrip_protocol(name) for name in remote.ls(str(folder), detail=False))
        if remote.isdir(str(folder))
        else []
    )


def write_text(path: str | Path, text: str) -> None:
    """Write a text file."""
    if is_local(path):
        Path(_plain(path)).write_text(text, encoding="utf-8")
        return
    with _remote(path).open(str(path), "w") as file:
        file.write(text)


def why_not_writable(folder: str, wanted_by: str) -> str | None:
    """Say why a local folder neither is nor can become a folder that may be written to; None where it can.

    Nothing is created.

    Args:
        folder: The folder that will be written to.
        wanted_by: Whose argument it is, for the message.

    Example:
        >>> why_not_writable("/dev/null/runs", "ModelCheckpoint")[:46]
        "ModelCheckpoint cannot write to '/dev/null/run"
    """
    if not is_local(folder):
        return None
    present = Path(_plain(folder)).absolute()
    while not present.exists() and present != present.parent:
        present = present.parent
    if not present.is_dir():
        problem = f"`{present}` is a file"
    elif not os.access(present, os.W_OK | os.X_OK):
        problem = f"`{present}` may not be written to"
    else:
        return None
    return (
        f"{wanted_by} cannot write to {folder!r}: {problem}. Expected a folder that exists or can be made. Choose"
        " another `dirpath` (or `default_root_dir` of the trainer), or change the permissions."
    )


def _plain(path: str | Path) -> str:
    return str(path).partition("://")[2] if "://" in str(path) else str(path)


def _remote(path: str | Path) -> Any:
    """Return the fsspec file system of a remote path."""
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingPackageError(
            f"The path {str(path)!r} is on a remote file system, which needs fsspec. Install it with"
            " `pip install fsspec`, or use a local path."
        ) from error
    return url_to_fs(str(path))[0]
