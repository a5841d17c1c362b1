"""Things that users name by a string: built in, registered at run time, or declared by an installed package.

Accelerators, strategies and precisions are all looked up the same way, so that a third party adds one under a name
of its own without a change here: by `Registry.register`, or by an entry point of its distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, overload

from lt_core.errors import (
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    MissingPackageError,
    did_you_mean,
)

__all__ = ["Registry"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Entry(Generic[T]):
    factory: Callable[..., T]
    description: str
    init_params: dict[str, Any] = field(default_factory=dict)


class Registry(Generic[T]):
    """Maps names to what makes the thing of that name.

    Args:
        kind: What the things are, in the singular and as messages say it: ``"strategy"``.
        entry_point_group: Where installed packages declare more of them, for example ``"lt.strategies"``. It is read
            when a name is asked for that was not registered; None for nowhere.

    Example:
        >>> numbers = Registry("number")
        >>> numbers.register("three", complex, "a small one", real=3)
        <class 'complex'>
        >>> @numbers.register("four")
        ... def four():
        ...     return 4
        >>> numbers.get("three"), numbers.get("four"), numbers.available()
        ((3+0j), 4, ['four', 'three'])
    """

    def __init__(self, kind: str, entry_point_group: str | None = None) -> None:
        self._kind = kind
        self._group = entry_point_group
        self._entries: dict[str, _Entry[T]] = {}

    @overload
    def register(
        self,
        name: str,
        factory: None = None,
        description: str = "",
        override: bool = False,  # noqa: FBT001, FBT002 -- the API we match
        **init_params: Any,
    ) -> Callable[[F], F]: ...

    @overload
    def register(
        self,
        name: str,
        factory: F,
        description: str = "",
        override: bool = False,  # noqa: FBT001, FBT002 -- the API we match
        **init_params: Any,
    ) -> F: ...

    def register(
        self,
        name: str,
        factory: Any = None,
        description: str = "",
        override: bool = False,  # noqa: FBT001, FBT002 -- the API we match
        **init_params: Any,
    ) -> Any:
        """Make ``factory`` known under a name; without ``factory``, return a decorator that does so.

        Args:
            name: What users write.
            factory: A class or function.
            description: One line for lists of what there is.
            override: Whether a name that is taken is given to this one.
            **init_params: What ``factory`` is called with.

        Returns:
            ``factory``, so that the class or function can be used as before.

        Raises:
            MisconfigurationException: The name is taken, or is no name.
            MisconfigurationTypeError: ``factory`` cannot be called.
        """
        if not isinstance(name, str) or not name:
            raise MisconfigurationTypeError(
                f"A {self._kind} is registered under {name!r}. A name was expected: write a string that is not empty."
            )
        if name in self._entries and not override:
            raise MisconfigurationException(
                f"A {self._kind} of the name {name!r} is registered already. A new name was expected. Choose another,"
                " or pass `override=True` to replace that one."
            )

        def enter(made_by: Any) -> Any:
            if not callable(made_by):
                raise MisconfigurationTypeError(
                    f"The {self._kind} {name!r} is registered with {made_by!r}, which cannot be called. A class or a"
                    " function was expected: register the class, not an instance."
                )
            self._entries[name] = _Entry(made_by, description, init_params)
            return made_by

        return enter if factory is None else enter(factory)

    def get(self, name: str) -> T:
        """Return a new thing of this name.

        Raises:
            MisconfigurationValueError: There is none of this name; the message holds those that there are.
            MissingPackageError: The package that declares it cannot be imported.
        """
        entry = self._entry(name)
        return entry.factory(**entry.init_params)

    def factory(self, name: str) -> Callable[..., T]:
        """Return what was registered under this name, uncalled; raises as `get` does."""
        return self._entry(name).factory

    def description(self, name: str) -> str:
        """Return the line that was registered with this name; raises as `get` does."""
        return self._entry(name).description

    def remove(self, name: str) -> None:
        """Forget a registered name.

        Raises:
            MisconfigurationValueError: Nothing is registered under it.
        """
        if name not in self._entries:
            raise self._unknown(name)
        del self._entries[name]

    def available(self) -> list[str]:
        """Return all names, sorted: those registered and those that installed packages declare."""
        return sorted({*self._entries, *(point.name for point in self._declared())})

    def __contains__(self, name: object) -> bool:
        return name in self._entries or any(point.name == name for point in self._declared())

    def __iter__(self) -> Iterator[str]:
        return iter(self.available())

    def __len__(self) -> int:
        return len(self.available())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._kind!r}: {', '.join(self.available())})"

    def _entry(self, name: str) -> _Entry[T]:
        found = self._entries.get(name)
        if found is not None:
            return found
        for point in self._declared():
            if point.name == name:
                return self._entries.setdefault(name, _Entry(self._load(point), f"declared by {point.value}"))
        raise self._unknown(name)

    def _declared(self) -> tuple[EntryPoint, ...]:
        return () if self._group is None else tuple(entry_points(group=self._group))

    def _load(self, point: EntryPoint) -> Callable[..., T]:
        distribution = point.dist.name if point.dist is not None else point.module.partition(".")[0]
        try:
            loaded: Any = point.load()
        except (ImportError, AttributeError) as error:
            raise MissingPackageError(
                f"The {self._kind} {point.name!r} is `{point.value}` of the package {distribution}, and could not be"
                f" imported: {error}. The package was expected to be installed whole. Run `pip install {distribution}`"
                " again, or use another one."
            ) from error
        if not callable(loaded):
            raise MisconfigurationTypeError(
                f"The {self._kind} {point.name!r} is `{point.value}` of the package {distribution}, which cannot be"
                f" called: {loaded!r}. A class or a function was expected. Tell its authors."
            )
        factory: Callable[..., T] = loaded
        return factory

    def _unknown(self, name: object) -> MisconfigurationValueError:
        names = self.available()
        return MisconfigurationValueError(
            f"There is no {self._kind} {name!r}. Expected one of: {', '.join(names) or 'none is registered'}."
            f"{did_you_mean(str(name), names)} A new one is made known by `register(name, cls)`"
            + (f" or an entry point in the group `{self._group}`." if self._group else ".")
        )
