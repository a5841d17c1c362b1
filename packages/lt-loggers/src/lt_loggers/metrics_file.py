"""The ``metrics.csv`` of a run: rows are appended, and each row that was written stays whole.

A training may be killed at any instant and may log a new name at any time. So rows are appended with one write each
time, a write that did not get through is taken back, and a new column is added by writing the file anew beside the old
one and renaming it. The file is rewritten for a new column only, never for a row.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import rank_zero_warn

__all__ = ["MetricsFile"]

Row = Mapping[str, "float | int"]


class MetricsFile:
    """Appends rows to a CSV file whose columns are sorted by name; what a row does not have stays empty.

    A file that exists is continued. It is looked at when the first row is written or counted.

    Args:
        path: The file. Its folder is made when it is missing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._columns: list[str] = []
        self._num_rows = 0
        self._size: int | None = None  # None: not looked at yet

    @property
    def num_rows(self) -> int:
        """How many rows the file holds."""
        self._look()
        return self._num_rows

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows at the end; all of them or, when it raises, none.

        Args:
            rows: Values by column.

        Raises:
            OSError: The rows could not be written. The file is as it was.
        """
        if not rows:
            return
        self._look()
        names = set(self._columns)
        names.update(*rows)
        if len(names) == len(self._columns):
            self._write_at_end(_lines(self._columns, rows))
        else:
            columns = sorted(names)
            if self._size:
                self._rewrite(columns, rows)
            else:
                header = _lines(columns, [dict(zip(columns, columns, strict=True))])  # type: ignore[arg-type]
                self._write_at_end(header + _lines(columns, rows))
            self._columns = columns
        self._num_rows += len(rows)

    def _write_at_end(self, data: bytes) -> None:
        with _open_for_append(self.path) as file:
            start = file.seek(0, os.SEEK_END)
            try:
                written = file.write(data)
            except OSError:
                file.truncate(start)
                raise
            if written != len(data):
                file.truncate(start)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        self._size = start + len(data)

    def _rewrite(self, columns: list[str], rows: Sequence[Row]) -> None:
        temporary = f"{self.path}.tmp-{os.getpid()}"
        try:
            with (
                open(self.path, encoding="utf-8", newline="") as old,
                open(temporary, "w", encoding="utf-8", newline="") as new,
            ):
                reader = csv.reader(old)
                writer = csv.writer(new)
                writer.writerow(columns)
                writer.writerows(_rearranged(reader, next(reader), columns))
                writer.writerows(_cells(columns, rows))
                new.flush()
                os.fsync(new.fileno())
                size = os.fstat(new.fileno()).st_size
            os.replace(temporary, self.path)
        except OSError:
            _remove(temporary)
            raise
        self._size = size

    def _look(self) -> None:
        """Learn columns and number of rows from the file, unless it is as this object left it."""
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            size = 0
        if size == self._size:
            return
        self._columns, self._num_rows = [], 0
        if size:
            size = _cut_torn_end(self.path)
        if size:
            self._columns, self._num_rows = _read_shape(self.path)
        self._size = size


def _lines(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows(_cells(columns, rows))
    return text.getvalue().encode()


def _cells(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[list[Any]]:
    return ([row.get(column, "") for column in columns] for row in rows)


def _rearranged(rows: Iterable[list[str]], old: list[str], new: list[str]) -> Iterator[tuple[str, ...]]:
    """Put the cells of rows with the columns ``old`` where the columns ``new`` have them."""
    # Each row gets one empty cell at its end, which is what new columns hold.
    pick = itemgetter(*[old.index(column) if column in old else -1 for column in new])
    width = len(old)
    for row in rows:
        del row[width:]
        row.extend([""] * (width + 1 - len(row)))
        yield pick(row)


def _open_for_append(path: str) -> io.FileIO:
    try:
        return open(path, "ab", buffering=0)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        return open(path, "ab", buffering=0)


def _read_shape(path: str) -> tuple[list[str], int]:
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        columns = next(reader)
        repeated = {column for column in columns if columns.count(column) > 1}
        if repeated or "step" not in columns:
            raise MisconfigurationException(
                f"The file {path!r} has the columns {columns!r}, so no logger wrote it. A metrics file has a column"
                " `step` and no column twice. Move it away, or give the logger another version or save_dir."
            )
        return columns, sum(1 for _ in reader)


def _cut_torn_end(path: str) -> int:
    """Cut off a row without its line end, as a crash of the machine may leave it; return the file's size."""
    with open(path, "rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end == size:
            return size
        file.truncate(end)
    rank_zero_warn(
        f"The file {path!r} ended within a row, which was cut off ({size - end} bytes). Each row ends with a line end."
        " The run goes on after the last whole row."
    )
    return end


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
