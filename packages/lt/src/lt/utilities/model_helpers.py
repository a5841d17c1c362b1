"""What existing code asks about models, under the names that users of Lightning import."""

from __future__ import annotations

from lt_core import Callback, LightningModule
from lt_core.errors import MisconfigurationTypeError
from lt_core.hooks import is_overridden as _is_overridden
from lt_data import LightningDataModule

__all__ = ["is_overridden"]

_BASES: tuple[type, ...] = (LightningModule, LightningDataModule, Callback)


def is_overridden(method_name: str, instance: object, parent: type | None = None) -> bool:
    """Tell whether `instance` has its own `method_name`.

    Args:
        method_name: The name of the method.
        instance: The object that may override it.
        parent: The class whose method is the default one; None: the base of modules, data modules or callbacks that
            `instance` is made of.

    Returns:
        True where the method differs from the parent's, or the parent has none.

    Raises:
        MisconfigurationTypeError: If `parent` is None and cannot be told from `instance`.

    Example:
        >>> from lt_core import LightningModule
        >>> class Mine(LightningModule):
        ...     def training_step(self, batch, batch_idx): ...
        >>> is_overridden("training_step", Mine()), is_overridden("validation_step", Mine())
        (True, False)
    """
    if parent is None:
        parent = next((base for base in _BASES if isinstance(instance, base)), None)
    if parent is None:
        raise MisconfigurationTypeError(
            f"`is_overridden` received {instance!r}, and no `parent`. Expected a LightningModule, a data module"
            " or a Callback, whose base is known. Pass the class to compare with: `parent=...`."
        )
    return _is_overridden(method_name, instance, parent)
