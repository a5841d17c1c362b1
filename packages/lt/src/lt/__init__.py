"""One namespace for those who train models: `import lt`, and everything is below it.

Names are looked up when they are first used, so that `import lt` costs next to nothing and loads no library that the
program does not need. The modules have the names that users of Lightning know: replace `import lightning.pytorch as pl`
by `import lt as pl`.

Example:
    >>> import lt
    >>> lt.seed_everything(7, verbose=False)
    7
    >>> lt.callbacks.EarlyStopping(monitor="val_loss").patience
    3
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt import (
        accelerators,
        callbacks,
        compat,
        core,
        data,
        demos,
        loggers,
        overrides,
        plugins,
        profilers,
        strategies,
        trainer,
        utilities,
    )
    from lt_core import Callback, LightningModule, seed_everything
    from lt_data import LightningDataModule
    from lt_loops import Trainer

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "LightningDataModule",
    "LightningModule",
    "Trainer",
    "accelerators",
    "callbacks",
    "compat",
    "core",
    "data",
    "demos",
    "loggers",
    "overrides",
    "plugins",
    "profilers",
    "seed_everything",
    "strategies",
    "trainer",
    "utilities",
]

_HOMES = {
    "Callback": "lt_core",
    "LightningDataModule": "lt_data",
    "LightningModule": "lt_core",
    "Trainer": "lt_loops",
    "seed_everything": "lt_core",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
    elif name in __all__:
        value = import_module(f"lt.{name}")
    else:
        raise AttributeError(
            f"module 'lt' has no attribute {name!r}. It has: {', '.join(__all__)}", name=name, obj=None
        )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
