"""A module under an old name: it has the very objects of lt, and says plainly what lt lacks."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from lt.compat.missing import explain
from lt.compat.table import Row, row_of

__all__ = ["AliasModule"]

_ABSENT = object()


class AliasModule(ModuleType):
    """Stands for modules of lt under a name of Lightning.

    Args:
        name: The full name under which it is imported.
        row: What it stands for.

    Example:
        >>> module = AliasModule("pytorch_lightning.callbacks.base", Row(("lt.callbacks.callback",)))
        >>> module.Callback.__name__
        'Callback'
    """

    _row: Row

    def __init__(self, name: str, row: Row) -> None:
        super().__init__(name, f"{name}, as lt has it.")
        self._row = row

    def load(self) -> None:
        """Import what this module stands for.

        Raises:
            ModuleNotFoundError: It stands for a library that is not installed.
        """
        libraries = {source.partition(".")[0]: source for source in self._row.sources}
        try:
            for source in self._row.sources:
                import_module(source)
        except ModuleNotFoundError as error:
            if error.name not in libraries:
                raise
            raise ModuleNotFoundError(
                f"{self.__name__!r} stands for {libraries[error.name]!r} in this program, and {error.name!r} is not "
                f"installed. Expected the library. Write `pip install {error.name}`.",
                name=error.name,
            ) from error

    def offered(self) -> list[str]:
        """Return the public names of what this module stands for, without loading any of them."""
        names: dict[str, None] = {}
        for source in self._row.sources:
            names.update(dict.fromkeys(getattr(import_module(source), "__all__", ())))
        names.update(dict.fromkeys(name for name in self._row.names if not name.startswith("_")))
        return list(names)

    def _find(self, name: str) -> Any:
        """Return the object of that name, `_ABSENT` where there is none."""
        if name in self._row.names:
            home, _, attribute = self._row.names[name].partition(":")
            return getattr(import_module(home), attribute)
        if name.startswith("__"):
            return _ABSENT
        for source in self._row.sources:
            value = getattr(import_module(source), name, _ABSENT)
            if value is not _ABSENT and not isinstance(value, ModuleType):
                return value
        below = f"{self.__name__}.{name}"
        # A module of lt is met under the name by which it was asked for, so that what it lacks is explained, too.
        return _ABSENT if row_of(below) is None else import_module(below)

    def _public(self) -> list[str]:
        return [name for name in self.offered() if self._find(name) is not _ABSENT]

    def __getattr__(self, name: str) -> Any:
        # `__all__` is made when a star import asks: to make it loads every module of lt.
        value = self._public() if name == "__all__" else self._find(name)
        if value is _ABSENT:
            if name.startswith("__"):
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
            raise AttributeError(explain(f"{self.__name__}.{name}", self.offered()), name=name, obj=self)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._public(), *self._row.names})
