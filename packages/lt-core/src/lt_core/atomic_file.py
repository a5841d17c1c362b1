"""Files that are written whole or not at all.

The content goes to a temporary file in the same folder, is flushed to the disk, and then takes the place of the target
by a rename, which POSIX and Windows do in one step. Whoever reads the target sees the old file or the new one, also
when the writer is killed at any instant. What a killed writer leaves behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import time
import uuid
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["remove_leftovers", "replacing_file"]

# Part of the target's name (for people), the machine, a unique part, and the process that writes.
_TEMPORARY = re.compile(r"\.(?P<machine>[0-9a-f]{8})-[0-9a-f]{8}\.tmp-(?P<pid>\d+)$")

# A leftover of another machine, or of a process whose number somebody else has now, is known by its age: no writer
# leaves its file alone for this long.
_STALE_AFTER_SECONDS = 24 * 60 * 60

# What file systems answer that cannot flush a folder. The rename has happened by then.
_FOLDERS_NOT_FLUSHED = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF}

_being_written: set[str] = set()


@contextmanager
def replacing_file(target: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that becomes ``target`` when the block ends without an exception.

    A symbolic link at ``target`` is replaced, not followed. Leftovers of dead writers in the folder are removed.

    Args:
        target: What to write; its folder must exist.

    Yields:
        The open temporary file.

    Raises:
        OSError: From the file system; the temporary file is gone then and the target unchanged.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = tempfile.TemporaryDirectory()
        >>> target = Path(folder.name, "notes.txt")
        >>> with replacing_file(target) as file:
        ...     _ = file.write(b"whole")
        >>> target.read_bytes(), len(list(target.parent.iterdir()))
        (b'whole', 1)
        >>> folder.cleanup()
    """
    remove_leftovers(target.parent)
    temporary = target.with_name(f"{target.name[:40]}.{_machine()}-{uuid.uuid4().hex[:8]}.tmp-{os.getpid()}")
    _being_written.add(temporary.name)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        # Also for KeyboardInterrupt: nothing is kept of a file that is not whole.
        temporary.unlink(missing_ok=True)
        raise
    finally:
        _being_written.discard(temporary.name)
    _flush_folder(target.parent)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove the temporary files of writers that are no more.

    Args:
        folder: Where to look; folders in it are not looked into.

    Returns:
        What was removed.
    """
    removed = []
    for path in folder.iterdir():
        found = _TEMPORARY.search(path.name)
        if found is None or path.name in _being_written:
            continue
        # Another process may remove the same leftover at this moment, or it belongs to somebody else: neither is a
        # reason not to write.
        with contextlib.suppress(OSError):
            if _is_stale(path, found["machine"], int(found["pid"])):
                path.unlink()
                removed.append(path)
    return removed


def _is_stale(path: Path, machine: str, pid: int) -> bool:
    if machine == _machine() and not _is_alive(pid):
        return True
    return time.time() - path.stat().st_mtime > _STALE_AFTER_SECONDS


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        # What this process writes is known: this is of an earlier one with the same number, as containers give again.
        return False
    if os.name == "nt":
        # There, os.kill would end the process.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _machine() -> str:
    # A process number means nothing on another machine that shares the folder.
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _FOLDERS_NOT_FLUSHED:
            raise
    finally:
        os.close(descriptor)
