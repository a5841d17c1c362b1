"""Layers that see the batches of all processes, put in for training and taken out afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from lt_core.errors import MisconfigurationException

__all__ = ["LayerSync", "TorchSyncBatchNorm", "check_layers_can_sync"]


class LayerSync(ABC):
    """Base of what replaces layers by synchronised ones."""

    @abstractmethod
    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the layers of ``model``, in place."""

    @abstractmethod
    def revert(self, model: nn.Module) -> nn.Module:
        """Put back layers that work in a single process, in place."""


class _BatchNorm(nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 -- the class without the check has no public name
    """Batch norm over whatever number of dimensions comes: which one it was is not known any more."""

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 -- torch's name
        if input.dim() < 2:
            raise ValueError(f"Batch norm got an input of shape {tuple(input.shape)}. Expected at least [N, C].")


class TorchSyncBatchNorm(LayerSync):
    """Replaces batch norm by `torch.nn.SyncBatchNorm`.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm2d(3))
        >>> sync = TorchSyncBatchNorm()
        >>> type(sync.apply(model)[0]).__name__
        'SyncBatchNorm'
        >>> type(sync.revert(model)[0]).__name__
        'BatchNorm2d'
    """

    def __init__(self) -> None:
        self._replaced: dict[str, nn.Module] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace each batch norm; parameters and buffers stay the same objects."""
        kind = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 -- the common base has no public name
        for name, layer in list(model.named_modules()):
            if isinstance(layer, kind) and not isinstance(layer, nn.SyncBatchNorm):
                self._replaced[name] = layer
                _put(model, name, nn.SyncBatchNorm.convert_sync_batchnorm(layer))
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the former layers back, with what the synchronised ones have learned."""
        for name, layer in list(model.named_modules()):
            if not isinstance(layer, nn.SyncBatchNorm):
                continue
            former = self._replaced.get(name)
            if former is None:
                former = _BatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine, True)  # noqa: FBT003
            former._parameters.update(layer._parameters)  # noqa: SLF001 -- the same objects, so optimizers keep them
            former._buffers.update(layer._buffers)  # noqa: SLF001
            former.train(layer.training)
            _put(model, name, former)
        self._replaced.clear()
        return model


def check_layers_can_sync(layer_sync: LayerSync, model: nn.Module, device: torch.device) -> None:
    """Check before training what torch finds out in the first step: its synchronised batch norm needs a GPU.

    Raises:
        MisconfigurationException: There is a batch norm, and the device is the CPU.
    """
    if device.type != "cpu" or not isinstance(layer_sync, TorchSyncBatchNorm):
        return
    kind = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 -- the common base has no public name
    found = [name for name, layer in model.named_modules() if isinstance(layer, kind)]
    if found:
        raise MisconfigurationException(
            f"`Trainer(sync_batchnorm=True)` met {', '.join(found)} on the CPU, where torch's `SyncBatchNorm` does not "
            "compute. Expected a GPU, or layers that need no synchronisation: leave `sync_batchnorm` out, use "
            "`torch.nn.GroupNorm`, or pass a `LayerSync` of your own by `plugins=[…]`."
        )


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    path, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(path), attribute, layer)
