"""Lines that are written while bars are drawn appear above them.

A line that a module prints, a warning or a line of the log would otherwise begin in the middle of a bar and leave half
of it behind. While bars are shown, standard output and standard error are exchanged for streams that take the bars
away, write whole lines, and put the bars back.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from lt_callbacks.progress.terminal import in_notebook, is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["LinesAbove"]


class _Above(io.TextIOBase):
    """Stands in for a stream; passes everything on unchanged once it is released.

    Args:
        stream: Where the text goes.
        owner: Who takes the bars away and puts them back.
    """

    def __init__(self, stream: TextIO, owner: LinesAbove) -> None:
        super().__init__()
        self.stream = stream
        self._owner: LinesAbove | None = owner
        self._begun = ""

    def write(self, text: str) -> int:
        owner = self._owner
        if owner is None or not owner.is_responsible():
            return self.stream.write(text)
        # Half a line waits for its other half: the bars would come between.
        lines, end, rest = text.rpartition("\n")
        if end:
            begun, self._begun = self._begun, ""
            owner.write(self.stream, f"{begun}{lines}\n")
        self._begun += rest
        return len(text)

    def release(self) -> None:
        owner, self._owner = self._owner, None
        if self._begun and owner is not None:
            self.stream.write(self._begun)
            self._begun = ""

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    # `TextIOBase` has these as attributes of its own, which would hide those of the stream.
    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.stream.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class LinesAbove:
    """Lets lines that are written elsewhere appear above bars.

    Args:
        lock: What is held while something is written.
        clear: Takes the bars away.
        restore: Puts them back.
        others: Tells whether somebody else draws bars, too; then nothing is held back.
    """

    def __init__(
        self,
        *,
        lock: Callable[[], AbstractContextManager[Any]],
        clear: Callable[[], None],
        restore: Callable[[], None],
        others: Callable[[], bool],
    ) -> None:
        self._lock = lock
        self._clear = clear
        self._restore = restore
        self._others = others
        self._process = os.getpid()
        self._exchanged: dict[str, _Above] = {}

    @staticmethod
    def beneath(stream: TextIO) -> TextIO:
        """Return the stream itself, without what stands in for it."""
        return stream.stream if isinstance(stream, _Above) else stream

    def start(self) -> None:
        """Exchange the standard streams that are shown together with the bars."""
        for name in ("stdout", "stderr"):
            stream: TextIO = getattr(sys, name)
            is_shown = is_terminal(stream) or in_notebook()
            if is_shown and name not in self._exchanged and not isinstance(stream, _Above):
                self._exchanged[name] = above = _Above(stream, self)
                setattr(sys, name, above)

    def stop(self) -> None:
        """Give the standard streams back, unless somebody has exchanged them since."""
        for name, above in self._exchanged.items():
            above.release()
            if getattr(sys, name) is above:
                setattr(sys, name, above.stream)
        self._exchanged = {}

    def is_responsible(self) -> bool:
        """Tell whether text is to be held back: not in a process that was forked off, nor beside other bars."""
        return os.getpid() == self._process and not self._others()

    def write(self, stream: TextIO, lines: str) -> None:
        """Write whole lines above the bars."""
        with self._lock():
            self._clear()
            stream.write(lines)
            stream.flush()
            self._restore()
