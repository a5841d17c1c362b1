"""Processes of a PyTorchJob of Kubeflow: one in each pod."""

from __future__ import annotations

from lt_core.errors import MisconfigurationValueError
from lt_loops.environments.base import KnowsItsRanks
from lt_loops.environments.variables import read_number, read_text

__all__ = ["KubeflowEnvironment"]

_START = "run it in a PyTorchJob, or leave `KubeflowEnvironment()` out"


class KubeflowEnvironment(KnowsItsRanks):
    """Reads ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``; each pod is a machine with one process.

    It is never found out, since others set the same variables: pass ``Trainer(plugins=[KubeflowEnvironment()])``.
    """

    started_by = "Kubeflow"

    @property
    def main_address(self) -> str:
        return read_text("MASTER_ADDR", self.started_by, _START)

    @property
    def main_port(self) -> int:
        return read_number("MASTER_PORT", self.started_by, _START)

    @staticmethod
    def detect() -> bool:
        """Return False: whoever means it says so."""
        return False

    def world_size(self) -> int:
        return read_number("WORLD_SIZE", self.started_by, _START)

    def global_rank(self) -> int:
        return read_number("RANK", self.started_by, _START)

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return self.global_rank()

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Check that each pod has one process, and that there are as many machines as pods.

        Raises:
            MisconfigurationValueError: It is otherwise.
        """
        pods = self.world_size()
        if num_devices != 1 or num_nodes != pods:
            raise MisconfigurationValueError(
                f"Kubeflow has started {pods} pods with one process each (WORLD_SIZE), and `devices={num_devices}, "
                f"num_nodes={num_nodes}` ask for something else. Expected one device in each: write `devices=1, "
                f"num_nodes={pods}`; for several in each pod leave `KubeflowEnvironment()` out and set NODE_RANK=$RANK."
            )
