"""Find out who started this process; other packages add environments through the group ``lt.environments``."""

from __future__ import annotations

from lt_loops.environments.base import ClusterEnvironment
from lt_loops.environments.kubeflow import KubeflowEnvironment
from lt_loops.environments.lightning import LightningEnvironment
from lt_loops.environments.lsf import LSFEnvironment
from lt_loops.environments.mpi import MPIEnvironment
from lt_loops.environments.slurm import SLURMEnvironment
from lt_loops.environments.torchelastic import TorchElasticEnvironment
from lt_loops.registry import Registry

__all__ = ["EnvironmentRegistry", "detect_environment"]

EnvironmentRegistry: Registry[ClusterEnvironment] = Registry("cluster environment", "lt.environments")

# torchrun comes before SLURM, which may have started it.
_IN_ORDER: dict[str, type[ClusterEnvironment]] = {
    "torchelastic": TorchElasticEnvironment,
    "slurm": SLURMEnvironment,
    "lsf": LSFEnvironment,
    "mpi": MPIEnvironment,
    "kubeflow": KubeflowEnvironment,
    "lightning": LightningEnvironment,
}

for _name, _kind in _IN_ORDER.items():
    EnvironmentRegistry.register(_name, _kind, f"Processes started by {_name}")


def detect_environment() -> ClusterEnvironment:
    """Return the environment that started this process.

    Those of installed packages and those registered under a new name are asked first, in the order of their names:
    whoever adds one knows its cluster better. Then torchelastic, SLURM, LSF and MPI; the trainer's own comes last.

    Example:
        >>> type(detect_environment()).__name__
        'LightningEnvironment'
    """
    added = [name for name in EnvironmentRegistry.available() if name not in _IN_ORDER]
    for name in (*added, *_IN_ORDER):
        kind = EnvironmentRegistry.factory(name)
        if isinstance(kind, type) and issubclass(kind, ClusterEnvironment) and kind.detect():
            return EnvironmentRegistry.get(name)
    return LightningEnvironment()
