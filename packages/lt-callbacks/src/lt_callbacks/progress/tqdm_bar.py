"""The tqdm bar that `TQDMProgressBar` draws; in a module of its own because importing it imports tqdm."""

from __future__ import annotations

import importlib.util
from typing import Any

if importlib.util.find_spec("ipywidgets") is not None:
    # Chooses the widget in notebooks.
    from tqdm.auto import tqdm as _tqdm
else:
    from tqdm import tqdm as _tqdm

__all__ = ["Tqdm"]

_WIDTH = 5
_SHORTEST_BAR = 10
_ROOM_FOR_NUMBERS = 34

_NARROW = "{desc}{percentage:3.0f}% {n_fmt}/{total_fmt} [{remaining}, {rate_noinv_fmt}{postfix}]"
_OPEN_END = "{desc}{n_fmt}/{total_fmt} [{elapsed}, {rate_noinv_fmt}{postfix}]"


class Tqdm(_tqdm):  # type: ignore[misc,type-arg,unused-ignore]
    """A tqdm bar whose numbers keep their width, so that the line does not flicker.

    Attributes:
        adapts_format: Whether the bar leaves out parts that have no room or no meaning.
    """

    # The bar is refreshed by the callback; tqdm's own watching thread would have nothing to do.
    monitor_interval = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.adapts_format = False
        self.bar_format: str | None = None
        self._given: str | None = kwargs.get("bar_format")
        self._adapted = self._given
        self._is_away = False
        super().__init__(*args, **kwargs)

    @classmethod
    def all_bars(cls) -> list[Any]:
        """Return every bar of tqdm that is not closed, whoever drew it."""
        return list(_tqdm._instances)  # noqa: SLF001 - tqdm has no public name for it

    def adapt_format(self) -> None:
        """Leave out what has no room or no meaning, unless the bar was given another format since."""
        present: str | None = self.bar_format
        if not self.adapts_format or self._given is None or present != self._adapted:
            return
        digits = len(str(self.total or ""))
        text = len(self.desc or "") + len(str(self.postfix or ""))
        needed = text + 2 * digits + _ROOM_FOR_NUMBERS + _SHORTEST_BAR
        if not self.total:
            chosen = _OPEN_END
        else:
            chosen = self._given if needed <= (self.format_dict["ncols"] or needed) else _NARROW
        # Counts that keep their width leave the bar its length.
        self.bar_format = self._adapted = chosen.replace("{n_fmt}", f"{{n_fmt:>{digits}}}") if digits else chosen

    def display(self, *args: Any, **kwargs: Any) -> Any:
        """Draw the bar, or what it was told to."""
        self._is_away = False
        return super().display(*args, **kwargs)

    def take_away(self) -> None:
        """Remove the bar from the screen until it is drawn again."""
        if not self.disable and not self._is_away:
            self.clear(nolock=True)
            self._is_away = True

    def put_back(self) -> None:
        """Draw the bar if it was removed."""
        if not self.disable and self._is_away:
            self.refresh(nolock=True)

    @staticmethod
    def format_num(n: float | str) -> str:
        """Write a number in five characters or more.

        Example:
            >>> Tqdm.format_num(0.5), Tqdm.format_num(7), Tqdm.format_num("12"), Tqdm.format_num("ab")
            ('0.500', '7', '12.00', 'ab')
        """
        text = n if isinstance(n, str) else str(_tqdm.format_num(n))
        if isinstance(n, int) or "e" in text:
            return text
        try:
            float(text)
        except ValueError:
            return text
        if "." not in text and len(text) < _WIDTH:
            text += "."
        return text.ljust(_WIDTH, "0") if "." in text else text
