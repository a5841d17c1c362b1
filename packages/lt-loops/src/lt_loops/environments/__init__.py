"""Cluster environments: who started the processes, and which of them this one is.

The kinds are loaded when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lt_loops.environments.base import ClusterEnvironment as ClusterEnvironment

if TYPE_CHECKING:
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

_HOMES = {
    "EnvironmentRegistry": "detect",
    "KubeflowEnvironment": "kubeflow",
    "LSFEnvironment": "lsf",
    "LightningEnvironment": "lightning",
    "MPIEnvironment": "mpi",
    "SLURMEnvironment": "slurm",
    "TorchElasticEnvironment": "torchelastic",
    "detect_environment": "detect",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
