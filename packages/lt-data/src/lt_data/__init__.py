"""Data modules, datasets, samplers, loaders and folds for lt."""

from __future__ import annotations

from lt_core.combined_loader import CombinedLoader
from lt_core.distributed_sampler import UnrepeatedDistributedSampler, UnrepeatedDistributedSamplerWrapper
from lt_data.datamodule import LightningDataModule
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
