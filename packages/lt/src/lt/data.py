"""Data: modules, tables, loaders that know where they are, and folds."""

from __future__ import annotations

from lt_data import (
    CombinedLoader,
    Fold,
    FoldDataModule,
    Folds,
    FrameDataset,
    FrameLoader,
    HeldOutRowError,
    KFoldDataModule,
    LightningDataModule,
    PurgedTimeSeriesSplit,
    ResumableDataLoader,
    ResumableSampler,
    UnrepeatedDistributedSampler,
    UnrepeatedDistributedSamplerWrapper,
    folds,
)

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
