"""Cluster environments: who started the processes, and which of them this one is."""

from lt_loops.environments.base import ClusterEnvironment as ClusterEnvironment
from lt_loops.environments.detect import EnvironmentRegistry as EnvironmentRegistry
from lt_loops.environments.detect import detect_environment as detect_environment
from lt_loops.environments.kubeflow import KubeflowEnvironment as KubeflowEnvironment
from lt_loops.environments.lightning import LightningEnvironment as LightningEnvironment
from lt_loops.environments.lsf import LSFEnvironment as LSFEnvironment
from lt_loops.environments.mpi import MPIEnvironment as MPIEnvironment
from lt_loops.environments.slurm import SLURMEnvironment as SLURMEnvironment
from lt_loops.environments.torchelastic import TorchElasticEnvironment as TorchElasticEnvironment

__all__ = [
    "ClusterEnvironment",
    "EnvironmentRegistry",
    "KubeflowEnvironment",
    "LSFEnvironment",
    "LightningEnvironment",
    "MPIEnvironment",
    "SLURMEnvironment",
    "TorchElasticEnvironment",
    "detect_environment",
]
