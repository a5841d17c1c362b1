"""The tqdm bar that `TQDMProgressBar` draws; in a module of its own because importing it imports tqdm."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("ipywidgets") is not None:
    # Chooses the widget in notebooks.
    from tqdm.auto import tqdm as _tqdm
else:
    from tqdm import tqdm as _tqdm

__all__ = ["Tqdm"]

_WIDTH = 5


class Tqdm(_tqdm):  # type: ignore[misc,type-arg,unused-ignore]
    """A tqdm bar whose numbers keep their width, so that the line does not flicker."""

    # The bar is refreshed by the callback; tqdm's own watching thread would have nothing to do.
    monitor_interval = 0

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
