"""Where the ranks of a run come from: whoever started the processes says who is who."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["ClusterEnvironment"]


class ClusterEnvironment(ABC):
    """Base of all cluster environments: tells a process its number, and where to meet the others.

    Derive from it for a scheduler that is not known here, and pass an instance: ``Trainer(plugins=[MyCluster()])``. A
    distribution that declares it in the entry-point group ``lt.environments`` has it found by `detect`, or by its name.

    Attributes:
        started_by: Who starts the processes, as the line about the topology says it; the class's name if empty.
    """

    started_by: str = ""

    @property
    @abstractmethod
    def creates_processes_externally(self) -> bool:
        """Whether somebody else starts the processes, so that the trainer must not."""

    @property
    @abstractmethod
    def main_address(self) -> str:
        """The name or address of the machine of rank 0."""

    @property
    @abstractmethod
    def main_port(self) -> int:
        """The port on which rank 0 is met."""

    @staticmethod
    @abstractmethod
    def detect() -> bool:
        """Whether this process was started by this kind of environment."""

    @abstractmethod
    def world_size(self) -> int:
        """How many processes there are in all."""

    @abstractmethod
    def set_world_size(self, size: int) -> None:
        """Take the number of processes that the trainer found; ignored by those that know it themselves."""

    @abstractmethod
    def global_rank(self) -> int:
        """The number of this process among all."""

    @abstractmethod
    def set_global_rank(self, rank: int) -> None:
        """Take the number that the trainer found; ignored by those that know it themselves."""

    @abstractmethod
    def local_rank(self) -> int:
        """The number of this process on its machine."""

    @abstractmethod
    def node_rank(self) -> int:
        """The number of this machine."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Check what the trainer was told against what the environment says.

        Args:
            num_devices: Devices on each machine.
            num_nodes: Machines.

        Raises:
            MisconfigurationValueError: They contradict each other.
        """

    def teardown(self) -> None:
        """Undo what was changed in the process's environment."""


class KnowsItsRanks(ClusterEnvironment):
    """Base of the environments whose ranks somebody else has given out: what the trainer counts is ignored."""

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def set_world_size(self, size: int) -> None:
        """Return: the number of processes is known."""

    def set_global_rank(self, rank: int) -> None:
        """Return: the number of this process is known."""
