"""Progress as plain lines, for output that is no terminal.

A log file or a CI page cannot redraw a line. There each phase leaves one line when it ends, and a long one a few on
its way: after one minute, two, four, and so on, at most half an hour apart.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PlainLines", "SteadyValues", "format_value"]

_FIRST_REPORT_AFTER = 60.0
_LONGEST_SILENCE = 1800.0


@dataclass
class _Phase:
    """One phase that is going on."""

    description: str
    started: float
    total: int | float
    skipped: int
    done: int = 0
    done_before: int = 0
    within: float = 0.0
    next_report: float = 0.0
    silence: float = _FIRST_REPORT_AFTER


class PlainLines:
    """Prints a line when a phase ends, and few while a long one goes on.

    Example:
        >>> lines = PlainLines()
        >>> lines.begin("train", "Epoch 0/2", total=63)
        >>> _ = lines.update("train", 63)
        >>> lines.end("train", {"loss": 0.25})  # doctest: +ELLIPSIS
        Epoch 0/2: 63/63 batches in ... s (... it/s) loss: 0.250
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}

    def begin(self, name: str, description: str, total: int | float, done: int = 0) -> None:
        """Begin a phase; beginning one that goes on adds another loader's batches to it.

        Args:
            name: What the phase is called in the other methods.
            description: What its line begins with.
            total: How many batches it has; ``inf`` when that is not known.
            done: How many of them were done in an earlier run.
        """
        phase = self._phases.get(name)
        if phase is not None:
            phase.done_before += phase.done
            phase.total += total
            phase.done = done
            return
        now = time.monotonic()
        self._phases[name] = _Phase(description, now, total, done, done, next_report=now + _FIRST_REPORT_AFTER)

    def update(self, name: str, done: int) -> bool:
        """Take note of how many batches of the loader at work are done; tell whether a report is due."""
        phase = self._phases.get(name)
        if phase is None:
            return False
        phase.done = done
        return time.monotonic() >= phase.next_report

    def report(self, name: str, metrics: Mapping[str, Any]) -> None:
        """Print how far a phase is; the next report comes after twice the time."""
        phase = self._phases[name]
        self._print(phase, metrics)
        phase.silence = min(2 * phase.silence, _LONGEST_SILENCE)
        phase.next_report = time.monotonic() + phase.silence

    def end(self, name: str, metrics: Mapping[str, Any] | None = None) -> None:
        """Print the line of a phase that has ended; a phase that never began has none."""
        phase = self._phases.pop(name, None)
        if phase is None:
            return
        self._print(phase, metrics or {})
        # A phase within another, validation within an epoch, is no part of the other's time.
        spent = time.monotonic() - phase.started
        for other in self._phases.values():
            other.within += spent

    def _print(self, phase: _Phase, metrics: Mapping[str, Any]) -> None:
        seconds = time.monotonic() - phase.started - phase.within
        done = phase.done_before + phase.done
        count = f"{done}" if math.isinf(phase.total) else f"{done}/{int(phase.total)}"
        rate = (done - phase.skipped) / seconds if seconds > 0 else 0.0
        items = "".join(f" {name}: {format_value(value)}" for name, value in metrics.items())
        print(f"{phase.description.strip()}: {count} batches in {seconds:.1f} s ({rate:.1f} it/s){items}", flush=True)


def format_value(value: Any, spec: str = ".3f") -> str:
    """Write a metric shortly: floats by ``spec``, everything else as it is.

    Example:
        >>> format_value(0.25), format_value(3), format_value(1e-5), format_value("v1")
        ('0.250', '3', '1.00e-05', 'v1')
    """
    if not isinstance(value, float):
        return str(value)
    if spec == ".3f" and value != 0 and abs(value) < 0.001:
        return f"{value:.2e}"
    return format(value, spec)


class SteadyValues:
    """Writes metrics so that they keep their width: each is as wide as the widest so far.

    Example:
        >>> steady = SteadyValues()
        >>> steady.text({"loss": -10.5}, ".3f"), steady.text({"loss": 0.25}, ".3f")
        ('loss: -10.500', 'loss:   0.250')
    """

    def __init__(self) -> None:
        self._widths: dict[str, int] = {}

    def text(self, metrics: Mapping[str, Any], spec: str = ".3f", delimiter: str = " ", equals: str = ": ") -> str:
        """Write metrics in one line.

        Args:
            metrics: The values by name.
            spec: The format of floats.
            delimiter: What stands between two metrics.
            equals: What stands between a name and its value.
        """
        items: list[str] = []
        for name, value in metrics.items():
            written = format_value(value, spec)
            if isinstance(value, float):
                self._widths[name] = width = max(self._widths.get(name, 0), len(written))
                written = written.rjust(width)
            items.append(f"{name}{equals}{written}")
        return delimiter.join(items)
