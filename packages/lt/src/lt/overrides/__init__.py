"""Samplers for several ranks, under the names that users of Lightning import."""

from __future__ import annotations

from lt_core.distributed_sampler import (
    DistributedSamplerWrapper,
    UnrepeatedDistributedSampler,
    UnrepeatedDistributedSamplerWrapper,
)

__all__ = ["DistributedSamplerWrapper", "UnrepeatedDistributedSampler", "UnrepeatedDistributedSamplerWrapper"]
