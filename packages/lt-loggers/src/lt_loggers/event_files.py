"""The event files of a run folder: how far they reach, and back to there.

A run that is resumed logs again what came after its checkpoint. Event files are sequences of records that are only ever
appended to, so their sizes at the time of the checkpoint tell everything: what is longer is cut, and what a resumed run
has begun since is removed. A TensorBoard that is looking on meanwhile is told by the purge step of the next file.

The format of a record is TFRecord: length (8 bytes), its checksum (4), the event (length bytes), its checksum (4);
see https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details.
"""

from __future__ import annotations

import glob
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["RESUMED", "EventFiles"]

RESUMED = ".resumed"
"""How the names of files end that a resumed run has begun in the folder of the run before it."""

_PATTERN = "events.out.tfevents.*"
_LENGTH = struct.Struct("<Q")
_CHECKSUM_BYTES = 4


class EventFiles:
    """The event files that one logger has begun in its folder; others in there are left alone.

    Args:
        folder: The run's folder; it need not exist.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._own: set[str] = set()
        self._groups: set[str] = set()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Take the files that this process begins within the block for the logger's own."""
        before = self._names()
        yield
        self._own |= {name for name in self._names() - before if f".{os.getpid()}." in name}

    def add_groups(self, names: Iterable[str]) -> None:
        """Take the folders that ``SummaryWriter.add_scalars`` makes for charts of several lines for the logger's own.

        Args:
            names: The names of the charts.
        """
        # As the writer names them: `<chart>_<line>`, beside its own file.
        self._groups.update(name.replace("/", "_") for name in names)

    def state_dict(self) -> dict[str, Any]:
        """Return the size in bytes of each file, by its path from the folder, and the charts.

        Raises:
            OSError: The folder cannot be read.
        """
        sizes = {str(path.relative_to(self._folder)): path.stat().st_size for path in self._files()}
        return {"sizes": sizes, "groups": sorted(self._groups)}

    def cut(self, state: dict[str, Any]) -> int:
        """Take back what the files have gained since the state was made, and the files that a resumed run has begun.

        Args:
            state: What :meth:`state_dict` returned, maybe in another process.

        Returns:
            How many bytes were taken back.

        Raises:
            OSError: A file cannot be changed.
        """
        sizes = state["sizes"]
        self._own.update(name for name in sizes if os.path.dirname(name) == "")
        self._groups.update(state["groups"])
        cut = 0
        for path in {*self._files(), *self._folder.glob(_PATTERN + RESUMED)}:
            known, size = sizes.get(str(path.relative_to(self._folder))), path.stat().st_size
            if known is None and path.name.endswith(RESUMED):
                path.unlink()
                cut += size
            elif known is not None and size > known:
                os.truncate(path, known)
                cut += size - known
        return cut

    def last_step(self, parse: Callable[[bytes], Any]) -> int:
        """Return the highest step of all events in the folder; -1 where there is none.

        Args:
            parse: Makes an event of its bytes.

        Raises:
            OSError: A file cannot be read.
        """
        # Also those of others, whose events a purge step below theirs would hide.
        files = {*self._files(), *self._folder.glob(_PATTERN)}
        return max((parse(data).step for path in files for data in _records(path)), default=-1)

    def _names(self) -> set[str]:
        return {path.name for path in self._folder.glob(_PATTERN)}

    def _files(self) -> list[Path]:
        own = [self._folder / name for name in self._own]
        of_groups = (self._folder.glob(f"{glob.escape(group)}_*/{_PATTERN}") for group in self._groups)
        return [path for path in (*own, *(path for paths in of_groups for path in paths)) if path.is_file()]


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while len(header := file.read(_LENGTH.size + _CHECKSUM_BYTES)) == _LENGTH.size + _CHECKSUM_BYTES:
            [length] = _LENGTH.unpack_from(header)
            data = file.read(length)
            if len(data) < length:
                return
            file.seek(_CHECKSUM_BYTES, os.SEEK_CUR)
            yield data
