"""The ``metrics.csv`` of a run: rows are appended, and each row that was written stays whole.

A training may be killed at any instant and may log a new name at any time. So rows are appended with one write each
time, a write that did not get through is taken back, and a new column is added by writing the file anew beside the old
one and renaming it. The file is rewritten for a new column only, never for a row.
"""

from __future__ import annotations

import codecs
import csv
import errno
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from lt_core.atomic_file import replacing_file
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

    @property
    def columns(self) -> list[str]:
        """The names of the columns, sorted."""
        self._look()
        return list(self._columns)

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

    def cut(self, num_rows: int, columns: Sequence[str], last_row: Row | None) -> int:
        """Take back the rows after the first ``num_rows``, and the columns that only they have, in one step.

        Args:
            num_rows: How many rows stay.
            columns: The columns that stay, sorted.
            last_row: The last row that stays, to tell whether this is the file that is meant; None if not known.

        Returns:
            How many rows were taken back. 0 where the file has no more rows, or has another last row or other columns:
            then another run wrote it.

        Raises:
            OSError: The file cannot be rewritten. It is as it was.
        """
        self._look()
        surplus = self._num_rows - num_rows
        if surplus <= 0 or not set(columns) <= set(self._columns):
            return 0
        with open(self.path, encoding="utf-8", newline="") as old:
            reader = csv.reader(old)
            kept = list(_rearranged(itertools.islice(reader, num_rows + 1), self._columns, list(columns)))[1:]
        if (
            last_row is not None
            and kept
            and list(kept[-1]) != [str(cell) for cell in next(_cells(columns, [last_row]))]
        ):
            return 0
        if kept:
            self._replace(list(columns), kept)
        else:
            os.remove(self.path)
        self._size = None
        return surplus

    def _replace(self, columns: list[str], cells: Iterable[Sequence[Any]]) -> None:
        with replacing_file(Path(self.path)) as file:
            writer = csv.writer(codecs.getwriter("utf-8")(file))
            writer.writerow(columns)
            writer.writerows(cells)

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
        with open(self.path, encoding="utf-8", newline="") as old:
            reader = csv.reader(old)
            kept = _rearranged(reader, next(reader), columns)
            self._replace(columns, itertools.chain(kept, _cells(columns, rows)))
        self._size = os.stat(self.path).st_size

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
    places = [old.index(column) if column in old else -1 for column in new]
    # With one place alone, itemgetter would return the cell itself.
    pick = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
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
