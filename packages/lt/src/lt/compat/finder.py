"""`alias()`: from now on the names of Lightning are lt's, in this program and in the processes that it starts.

A finder in front of all others on `sys.meta_path` answers for the names of Lightning and for nothing else. So an
installed Lightning is never reached, and a name that lt lacks is an error there and then.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

from lt.compat.children import alias_in_children
from lt.compat.missing import explain
from lt.compat.module import AliasModule
from lt.compat.table import ROOTS, TABLE, canonical, row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AliasFinder", "alias"]


class AliasFinder:
    """Finds and loads the modules of lt under the names of Lightning.

    Example:
        >>> AliasFinder().find_spec("pytorch_lightning.callbacks").origin
        'lt.callbacks'
        >>> AliasFinder().find_spec("json") is None
        True
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module of Lightning, None for all others.

        Args:
            fullname: The module's full name.
            path: Where its package lies; not asked for here.
            target: The module to load anew; not asked for here.

        Raises:
            ModuleNotFoundError: lt has no such module.
        """
        if fullname.partition(".")[0] not in ROOTS:
            return None
        row = row_of(fullname)
        if row is None:
            # The name is that of the package that lacks it: a `from package import name` would else drop the message
            # and print its own.
            raise ModuleNotFoundError(explain(fullname, _names_beside(fullname)), name=fullname.rpartition(".")[0])
        # Each is a package: only for packages does `from module import name` ask here, and so explain, what is missing.
        return ModuleSpec(fullname, self, origin=", ".join(row.sources) or "lt", is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module for a spec of `find_spec`."""
        row = row_of(spec.name)
        assert row is not None, f"{spec.name} was found by find_spec"
        return AliasModule(spec.name, row)

    def exec_module(self, module: ModuleType) -> None:
        """Import what a module of `create_module` stands for."""
        assert isinstance(module, AliasModule), f"{module} was made by create_module"
        module.load()


def alias(*, children: bool = True) -> None:
    """Make the names of Lightning stand for lt's: `pytorch_lightning`, `lightning` and their modules of every era.

    An installed Lightning is not reached any more. Call it before anything imports Lightning, as in the first lines of
    a program or in `conftest.py`. A second call changes nothing.

    Args:
        children: Whether Python processes that this one starts do the same, through the environment.

    Raises:
        MisconfigurationException: Lightning itself was imported already.

    Example:
        >>> import subprocess, sys
        >>> program = '''
        ... import lt.compat
        ... lt.compat.alias()
        ... import pytorch_lightning as pl
        ... from pytorch_lightning.callbacks.early_stopping import EarlyStopping
        ... print(pl.Trainer is lt.Trainer, EarlyStopping is lt.callbacks.EarlyStopping, pl.__version__)
        ... '''
        >>> subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
        'True True 2.6.6...'
    """
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        loaded = [name for name in ROOTS if name in sys.modules]
        if loaded:
            from lt_core.errors import MisconfigurationException

            raise MisconfigurationException(
                f"`alias()` came too late: {', '.join(map(repr, loaded))} was imported already, and its classes are in "
                "use. Expected a program that has imported none of "
                f"{', '.join(ROOTS)}. Call `lt.compat.alias()` before the first such import, or start the program with "
                "`lt run script.py`."
            )
        sys.meta_path.insert(0, AliasFinder())
    if children:
        alias_in_children()


def _names_beside(fullname: str) -> list[str]:
    """Return the names that the same package has: its objects, and its modules in the table."""
    parent = fullname.rpartition(".")[0]
    package = sys.modules.get(parent)
    objects = package.offered() if isinstance(package, AliasModule) else []
    return [*objects, *(name.rpartition(".")[2] for name in TABLE if name.rpartition(".")[0] == canonical(parent))]
