"""A callback made of functions, for the small things that deserve no class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lt_core.callback import Callback
from lt_core.errors import MisconfigurationTypeError, did_you_mean
from lt_core.hooks import hook_names

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LambdaCallback"]

_STATE_METHODS = ("state_dict", "load_state_dict")


class LambdaCallback(Callback):
    """Make a callback of functions, one for each hook.

    Args:
        **hooks: Functions by the name of the hook they are for; each gets what the hook gets:
            ``(trainer, pl_module, …)``. None leaves the hook alone.

    Raises:
        TypeError: A name is no callback hook, or a value cannot be called.

    Example:
        >>> callback = LambdaCallback(setup=lambda trainer, pl_module, stage: print(f"{stage} begins"))
        >>> callback.setup(None, None, "fit")
        fit begins
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        super().__init__()
        known = [name for name in hook_names("callback") if name not in _STATE_METHODS]
        for name, function in hooks.items():
            if name not in known:
                raise MisconfigurationTypeError(
                    f"LambdaCallback got the unexpected argument {name!r}; expected the name of a callback"
                    f" hook.{did_you_mean(name, known)} The hooks are: {', '.join(sorted(known))}."
                )
            if function is not None and not callable(function):
                raise MisconfigurationTypeError(
                    f"LambdaCallback got {name}={function!r}; expected a function. Write for example"
                    f" `{name}=lambda *args: print('{name}')`."
                )
            if function is not None:
                setattr(self, name, function)
