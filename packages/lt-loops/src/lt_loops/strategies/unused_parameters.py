"""Name the parameters that took no part in the loss, of which DistributedDataParallel only says the numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lt_core.errors import LtError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["UnusedParametersError", "check_all_have_gradients", "explain_unfinished_reduction"]


class UnusedParametersError(LtError, RuntimeError):
    """Parameters took no part in the loss, so that ranks would wait for their gradients for ever."""


def check_all_have_gradients(module: nn.Module) -> None:
    """Check after the first backward pass that every trainable parameter got a gradient.

    Raises:
        UnusedParametersError: Some did not.
    """
    unused = [
        name for name, parameter in module.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    if unused:
        raise _error(unused)


def explain_unfinished_reduction(error: RuntimeError, module: nn.Module) -> UnusedParametersError | None:
    """Return what torch's complaint about an unfinished reduction means; None where it complains of something else."""
    text = str(error)
    if "Expected to have finished reduction in the prior iteration" not in text:
        return None
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    found = re.search(r"did not receive grad for rank \d+: ((?:\d+ ?)+)", text)
    numbers = [int(number) for number in found.group(1).split()] if found else []
    return _error([names[number] for number in numbers if number < len(names)])


def _error(unused: list[str]) -> UnusedParametersError:
    named = ", ".join(unused) if unused else "some (torch does not say which)"
    return UnusedParametersError(
        f"These parameters took no part in the loss that `training_step` returned: {named}. Expected all trainable "
        'parameters to take part in each step: write `Trainer(strategy="ddp_find_unused_parameters_true")`, freeze '
        "them (`parameter.requires_grad = False`), or use them."
    )
