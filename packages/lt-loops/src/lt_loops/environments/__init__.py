"""Cluster environments: who started the processes, and which of them this one is."""

from lt_loops.environments.base import ClusterEnvironment as ClusterEnvironment
from lt_loops.environments.detect import detect_environment as detect_environment
from lt_loops.environments.lightning import LightningEnvironment as LightningEnvironment

__all__ = ["ClusterEnvironment", "LightningEnvironment", "detect_environment"]
