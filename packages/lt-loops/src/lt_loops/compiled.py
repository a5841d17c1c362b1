"""Modules that went through ``torch.compile``: unwrapped for the trainer, their steps compiled."""

from __future__ import annotations

from typing import Any

from torch import nn

from lt_core.errors import MisconfigurationTypeError
from lt_core.module import LightningModule

__all__ = ["from_compiled", "to_uncompiled"]

_METHODS = ("forward", "training_step", "validation_step", "test_step", "predict_step")


def from_compiled(model: nn.Module) -> LightningModule:
    """Return the LightningModule inside a compiled one, with compiled forward and steps.

    Args:
        model: What ``torch.compile`` returned for a LightningModule.

    Raises:
        MisconfigurationTypeError: There is no LightningModule inside.
    """
    wrapped: Any = model
    module = wrapped._orig_mod  # noqa: SLF001 -- torch has no public name for the module inside
    if not isinstance(module, LightningModule):
        raise MisconfigurationTypeError(
            f"The compiled model holds a {type(module).__name__}. Expected a LightningModule: compile it, or compile "
            "the parts "
            "of a LightningModule in its `__init__`."
        )
    for name in _METHODS:
        function = getattr(module, name)
        # In a second run with the same compiled module its methods are compiled already: torch keeps the plain ones.
        function = getattr(function, "_torchdynamo_orig_callable", function)
        object.__setattr__(module, name, wrapped.dynamo_ctx(function))
    return module


def to_uncompiled(module: LightningModule) -> LightningModule:
    """Undo `from_compiled`."""
    for name in _METHODS:
        module.__dict__.pop(name, None)
    return module
