"""Measures the statistics of batch normalisation anew, for weights that no forward pass has ever seen.

Averaged weights give other activations than the weights that were averaged, and no average of their statistics tells
which (Izmailov et al., arXiv:1803.05407, section 3.2). One pass over the training data does.
"""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from lt_core.combined_loader import CombinedLoader
from lt_core.seed import isolate_rng

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["normalisations", "refresh_batch_norm"]


def normalisations(module: torch.nn.Module) -> list[_BatchNorm]:
    """Return the layers of a module that keep statistics of the batches they see, and are not frozen.

    Example:
        >>> layers = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(3).eval(), torch.nn.Linear(3, 1))
        >>> [layer.num_features for layer in normalisations(layers)]
        [2]
    """
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]


@torch.no_grad()
def refresh_batch_norm(trainer: Trainer, pl_module: LightningModule) -> None:
    """Run ``training_step`` on the training batches once, without gradients, hooks and logging.

    Args:
        trainer: Whose training data, precision and limits count.
        pl_module: In training mode, with its final weights.
    """
    layers = normalisations(pl_module)
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the average over all batches
    precision: Any = getattr(trainer.strategy, "precision_plugin", None)
    context: AbstractContextManager[Any] = nullcontext() if precision is None else precision.forward_context()
    step = _step_of(pl_module)
    try:
        with isolate_rng(), _without_logging(pl_module):
            for batch_idx, fetched in enumerate(_batches(trainer)):
                batch = pl_module.on_before_batch_transfer(fetched, 0)
                batch = pl_module.transfer_batch_to_device(batch, trainer.strategy.root_device, 0)
                batch = pl_module.on_after_batch_transfer(batch, 0)
                batch = batch if precision is None else precision.convert_input(batch)
                with context:
                    step(batch, batch_idx)
    finally:
        for layer, momentum in zip(layers, kept, strict=True):
            layer.momentum = momentum


def _step_of(pl_module: LightningModule) -> Callable[[Any, int], Any]:
    parameters = inspect.signature(pl_module.training_step).parameters.values()
    if len(parameters) > 1 or any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return pl_module.training_step
    return lambda batch, batch_idx: pl_module.training_step(batch)


def _batches(trainer: Trainer) -> Iterator[Any]:
    loader, limit = trainer.train_dataloader, trainer.num_training_batches
    several = isinstance(loader, (list, tuple, dict))
    for batch_idx, fetched in enumerate(CombinedLoader(loader, "max_size_cycle") if several else loader):
        if batch_idx >= limit:
            return
        yield fetched[0] if several else fetched


@contextmanager
def _without_logging(pl_module: LightningModule) -> Iterator[None]:
    # No epoch is running that the values could belong to.
    def ignore(*_: Any, **__: Any) -> None:
        """Log nothing."""

    pl_module.log = ignore  # type: ignore[method-assign]
    pl_module.log_dict = ignore  # type: ignore[method-assign]
    try:
        yield
    finally:
        del pl_module.log, pl_module.log_dict
