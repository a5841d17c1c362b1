"""Layers that see the batches of all processes, under the name that users of Lightning import."""

from __future__ import annotations

from lt_loops.strategies.layer_sync import LayerSync, TorchSyncBatchNorm

__all__ = ["LayerSync", "TorchSyncBatchNorm"]
