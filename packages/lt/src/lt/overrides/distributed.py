"""Samplers for several ranks: see `lt_core.distributed_sampler`."""

from __future__ import annotations

from lt_core.distributed_sampler import (
    DistributedSamplerWrapper,
    UnrepeatedDistributedSampler,
    UnrepeatedDistributedSamplerWrapper,
)

__all__ = ["DistributedSamplerWrapper", "UnrepeatedDistributedSampler", "UnrepeatedDistributedSamplerWrapper"]
