"""One process at a time prepares the same data on a machine.

Two runs that begin together would download into one folder and read each other's half-written files. Whoever calls
``prepare_data`` holds this lock meanwhile; the other waits, and then finds the data there.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["file_lock", "prepare_lock"]

_WAIT_SECONDS = 0.05

_held: set[Path] = set()


@contextmanager
def prepare_lock(owner: object) -> Iterator[None]:
    """Hold the lock under which an object prepares its data.

    All processes of one user on this machine that prepare data by the same class share one lock. Where the data lie on
    a disk that several machines share, let the attribute ``prepare_data_lock`` of the object be the path of a file
    there. The lock is the system's, and goes with the process that holds it, however that ends.

    Args:
        owner: A module or data module.

    Example:
        >>> with prepare_lock(object()):
        ...     pass  # owner.prepare_data()
    """
    given = getattr(owner, "prepare_data_lock", None)
    if given is not None:
        path = Path(given)
    else:
        kind = type(owner)
        name = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__}".encode()).hexdigest()[:16]
        user = getattr(os, "getuid", lambda: "user")()
        path = Path(tempfile.gettempdir()) / f"lt-prepare-{user}" / f"{kind.__name__}-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path in _held:  # preparing one's data may need another run in this process
        yield
        return
    with file_lock(path):
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for it as long as it takes.

    Args:
        path: The file; it is made if need be, and stays, because removing it would let two others in at once.

    Raises:
        OSError: From the file system, for example where it knows no locks.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder, file_lock(Path(folder, "lock")):
        ...     pass
    """
    with path.open("a+b") as file:
        _acquire(file)
        try:
            yield
        finally:
            _release(file)


def _acquire(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt  # Windows

        while True:
            file.seek(0)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
            except OSError:
                time.sleep(_WAIT_SECONDS)
            else:
                return
    fcntl.flock(file, fcntl.LOCK_EX)


def _release(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        return
    fcntl.flock(file, fcntl.LOCK_UN)
