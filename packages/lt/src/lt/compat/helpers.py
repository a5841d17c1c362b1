"""Functions that packages import from Lightning and that lt itself has no use for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["get_filesystem"]


def get_filesystem(path: str | Path, **kwargs: Any) -> Any:
    """Return the file system, as fsspec knows it, that a path or URL lies on.

    Args:
        path: A path or a URL such as ``"memory://folder"``.
        kwargs: Options of that file system.

    Returns:
        An `fsspec.AbstractFileSystem`.

    Example:
        >>> get_filesystem("some/folder").protocol
        ('file', 'local')
    """
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    return url_to_fs(str(path), **kwargs)[0]
