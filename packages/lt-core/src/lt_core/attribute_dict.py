"""A dictionary whose keys can also be read and written as attributes.

Hyperparameters are read all over a module: ``self.hparams.lr`` is easier on the eye than ``self.hparams["lr"]``, and
both must work because existing code has both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AttributeDict"]


class AttributeDict(dict[str, Any]):
    """A dictionary with attribute access.

    A key that has the name of a dictionary's method, such as ``items``, is reached as an item only.

    Example:
        >>> config = AttributeDict({"lr": 0.1})
        >>> config.update(layers=2)
        >>> config.lr = 0.2
        >>> config
        "layers": 2
        "lr":     0.2
        >>> config["lr"] == config.lr
        True
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            # With `name` and `obj`, Python itself suggests a near key when it prints the traceback.
            raise AttributeError(
                f"There is no entry {name!r}. There are: {sorted(map(str, self))}. Read an optional one with"
                f" `.get({name!r}, default)`.",
                name=name,
                obj=self,
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"There is no entry {name!r} to delete.", name=name, obj=self) from None

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *(str(key) for key in self)]

    def __repr__(self) -> str:
        names = {str(key): value for key, value in self.items()}
        width = max(map(len, names), default=0) + 3
        return "\n".join(f'"{name}":'.ljust(width) + f" {names[name]}" for name in sorted(names))
