"""Whether somebody put their own method in place of ours.

Callbacks tell the trainer which of their hooks have nothing to do (`Callback.uses_hook`). That may only be said of
our own method: what a subclass, or an assignment to the instance, put in its place must always be called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lt_core.callback import Callback

__all__ = ["is_replaced"]


def is_replaced(callback: Callback, owner: type[Callback], name: str) -> bool:
    """Tell whether ``callback`` has another method ``name`` than the one that ``owner`` defines.

    Args:
        callback: The callback that is asked about.
        owner: The class whose method is meant.
        name: The method's name.

    Example:
        >>> from lt_core.callback import Callback
        >>> class Ours(Callback):
        ...     def on_train_start(self, trainer, pl_module): ...
        >>> class Theirs(Ours):
        ...     def on_train_start(self, trainer, pl_module): ...
        >>> is_replaced(Ours(), Ours, "on_train_start"), is_replaced(Theirs(), Ours, "on_train_start")
        (False, True)
    """
    return name in vars(callback) or getattr(type(callback), name, None) is not getattr(owner, name, None)
