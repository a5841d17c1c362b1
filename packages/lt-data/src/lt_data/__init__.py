"""Data modules, datasets, samplers, loaders and folds for lt."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lt_data.datamodule import LightningDataModule

if TYPE_CHECKING:
    from lt_core.combined_loader import CombinedLoader
    from lt_core.distributed_sampler import UnrepeatedDistributedSampler, UnrepeatedDistributedSamplerWrapper
    from lt_data.folding import (
        Fold,
        FoldDataModule,
        Folds,
        HeldOutRowError,
        KFoldDataModule,
        PurgedTimeSeriesSplit,
        folds,
    )
    from lt_data.frame_dataset import FrameDataset
    from lt_data.frame_loader import FrameLoader
    from lt_data.resumable_loader import ResumableDataLoader
    from lt_data.sampler import ResumableSampler

__all__ = [
    "CombinedLoader",
    "Fold",
    "FoldDataModule",
    "Folds",
    "FrameDataset",
    "FrameLoader",
    "HeldOutRowError",
    "KFoldDataModule",
    "LightningDataModule",
    "PurgedTimeSeriesSplit",
    "ResumableDataLoader",
    "ResumableSampler",
    "UnrepeatedDistributedSampler",
    "UnrepeatedDistributedSamplerWrapper",
    "folds",
]

_HOMES = {
    "CombinedLoader": "lt_core.combined_loader",
    "Fold": "lt_data.folding",
    "FoldDataModule": "lt_data.folding",
    "Folds": "lt_data.folding",
    "FrameDataset": "lt_data.frame_dataset",
    "FrameLoader": "lt_data.frame_loader",
    "HeldOutRowError": "lt_data.folding",
    "KFoldDataModule": "lt_data.folding",
    "PurgedTimeSeriesSplit": "lt_data.folding",
    "ResumableDataLoader": "lt_data.resumable_loader",
    "ResumableSampler": "lt_data.sampler",
    "UnrepeatedDistributedSampler": "lt_core.distributed_sampler",
    "UnrepeatedDistributedSamplerWrapper": "lt_core.distributed_sampler",
    "folds": "lt_data.folding",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
