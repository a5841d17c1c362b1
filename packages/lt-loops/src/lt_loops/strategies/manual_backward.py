"""DistributedDataParallel in manual optimisation: several backward passes in one forward pass of the module.

DistributedDataParallel expects one backward pass for each forward pass and prepares for it at the end of the forward
pass. Within a manual step the backward passes run before that end is reached, so the preparation is done before each
of them instead.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.nn.parallel import DistributedDataParallel

__all__ = ["prepare_for_backward", "without_preparing"]


def without_preparing(wrapped: DistributedDataParallel, step: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``step`` such that the wrapper prepares for no backward pass of its own.

    Args:
        wrapped: The wrapper.
        step: Runs its forward pass.
    """

    @functools.wraps(step)
    def run(*args: Any, **kwargs: Any) -> Any:
        wrapped.require_backward_grad_sync = False
        try:
            return step(*args, **kwargs)
        finally:
            wrapped.require_backward_grad_sync = True
            wrapped.require_forward_param_sync = True  # the next forward pass begins with equal buffers

    return run


def prepare_for_backward(wrapped: DistributedDataParallel, loss: Tensor) -> None:
    """Get the wrapper ready for one backward pass.

    Args:
        wrapped: The wrapper.
        loss: Where the pass begins; the parameters that it does not reach are marked as done.
    """
    if not torch.is_grad_enabled():
        return
    searches = wrapped.find_unused_parameters and not wrapped.static_graph
    reducer = wrapped.reducer
    reducer._rebuild_buckets()  # noqa: SLF001 -- what forward does, which has no public name
    reducer.prepare_for_backward([loss] if searches else [])
