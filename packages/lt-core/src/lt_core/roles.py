"""Roles: what a trainer wants at its default and an installed package fills.

The packages do not know each other. A package that has, say, a progress bar declares it under the entry-point group
``lt.defaults``; a trainer asks for the role by name and gets whatever is installed, or nothing.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from lt_core.errors import MissingPackageError
from lt_core.rank_zero import WarningCache

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ROLE_GROUP", "load_role", "require_role"]

ROLE_GROUP = "lt.defaults"

# Which of lt's own distributions fills a role: for the install line when none is installed.
_FILLED_BY = {
    "checkpoint": "lt-callbacks",
    "logger": "lt-loggers",
    "model_summary": "lt-callbacks",
    "progress_bar": "lt-callbacks",
    "timer": "lt-callbacks",
}

_warnings = WarningCache()


def load_role(role: str) -> Callable[..., Any] | None:
    """Return what makes the default of a role, or None where no installed package fills it.

    Where several packages fill it, lt's own comes first, then the first by name; a warning names the others.

    Args:
        role: ``"checkpoint"``, ``"logger"``, ``"model_summary"``, ``"progress_bar"``, ``"timer"``, or one that a third
            party defines.

    Returns:
        A class or function to be called.

    Raises:
        MissingPackageError: The package that fills the role is installed, but something it imports is not.

    Example:
        >>> load_role("no such role") is None
        True
    """
    found = _fillers().get(role, ())
    if not found:
        return None
    chosen = found[0]
    if len(found) > 1:
        others = ", ".join(f"`{point.value}`" for point in found[1:])
        _warnings.warn(
            f"The role {role!r} is filled by more than one installed package: `{chosen.value}` is used and {others} is"
            " not. To use another, construct it and pass it to the trainer."
        )
    try:
        made: Callable[..., Any] = chosen.load()
    except ImportError as error:
        raise MissingPackageError(
            f"The default of the role {role!r} is `{chosen.value}`, which could not be imported: {error}. The package"
            f" that declares it was expected to be installed whole. Run `pip install {_distribution(chosen)}` again, or"
            " switch this default off in the trainer."
        ) from error
    return made


def require_role(role: str, wanted_by: str) -> Callable[..., Any]:
    """Return what makes the default of a role that the user asked for.

    Args:
        role: As for :func:`load_role`.
        wanted_by: What the user wrote, for example ``"Trainer(enable_checkpointing=True)"``.

    Raises:
        MissingPackageError: No installed package fills the role; the message holds the install line.
    """
    made = load_role(role)
    if made is not None:
        return made
    package = _FILLED_BY.get(role)
    fix = (
        f"Run `pip install {package}`."
        if package
        else f"Install a package that declares `{role}` under the entry-point group `{ROLE_GROUP}`."
    )
    raise MissingPackageError(
        f"{wanted_by} asks for the default of the role {role!r}, and no installed package fills it. {fix}"
    )


@lru_cache(maxsize=1)
def _fillers() -> dict[str, tuple[EntryPoint, ...]]:
    # Reading the metadata of everything that is installed takes milliseconds: once per process.
    found: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=ROLE_GROUP):
        # A package that is on the path twice (installed and in place) declares the same thing twice.
        found.setdefault(point.name, {}).setdefault(point.value, point)
    return {role: tuple(sorted(points.values(), key=_order)) for role, points in found.items()}


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    distribution = _distribution(point)
    return distribution not in _FILLED_BY.values(), distribution, point.value


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module.partition(".")[0]
