"""The strategy seam: how the module is placed, stepped, saved and combined over processes.

A strategy is a thin layer around one of torch's engines. The loops ask it for functions once per run
(`Strategy.step_function`) and call those, so a strategy that changes nothing costs nothing per batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lt_loops.checkpoint_io import CheckpointIO, TorchCheckpointIO
from lt_loops.precision import Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch.optim import Optimizer

    from lt_core.log import Exchange
    from lt_core.module import LightningModule
    from lt_loops.accelerators import Accelerator
    from lt_loops.environments import ClusterEnvironment
    from lt_loops.launchers import Launcher
    from lt_loops.ranks.board import RankBoard
    from lt_loops.strategies.layer_sync import LayerSync

__all__ = ["Strategy"]


class Strategy(ABC):
    """Base of all strategies.

    Args:
        accelerator: The kind of device; a trainer fills it in when left out.
        checkpoint_io: Reads and writes checkpoint files; plain files by default.
        precision_plugin: The arithmetic; ``32-true`` by default.

    Attributes:
        strategy_name: The name under which it is registered.
        launcher: Starts the processes; None where there is one only.
        board: What the processes of this machine tell each other without a collective; None where there is one only.
        layer_sync: Puts in layers that see the batches of all processes; None where there are none.
        takes_layer_sync: Whether it puts in such layers.
        num_nodes: How many machines take part.
        cluster_environment: Who started the processes; None where there is one only and nobody said.
        timeout: How long a process may wait for the others.
        uneven_batches: While an evaluation reads a loader of which the ranks have unequal numbers of batches, these
            numbers; None otherwise. Collectives refuse to be called then, because some ranks would wait for ever.
    """

    strategy_name: str = ""
    launcher: Launcher | None = None
    board: RankBoard | None = None
    layer_sync: LayerSync | None = None
    takes_layer_sync: bool = False
    num_nodes: int = 1
    cluster_environment: ClusterEnvironment | None = None
    timeout: timedelta = timedelta(minutes=30)
    uneven_batches: tuple[int | float, ...] | None = None

    accelerator: Accelerator | None
    checkpoint_io: CheckpointIO
    precision_plugin: Precision
    lightning_module: LightningModule | None
    model: nn.Module | None

    def __init__(
        self,
        accelerator: Accelerator | None = None,
        checkpoint_io: CheckpointIO | None = None,
        precision_plugin: Precision | None = None,
    ) -> None:
        self.accelerator = accelerator
        self.checkpoint_io = checkpoint_io if checkpoint_io is not None else TorchCheckpointIO()
        self.precision_plugin = precision_plugin if precision_plugin is not None else Precision()
        self.lightning_module = None
        self.model = None

    # -- ranks and devices

    @property
    def has_devices(self) -> bool:
        """Whether it was made with devices of its own, so that a trainer need not find any."""
        return True

    @property
    @abstractmethod
    def root_device(self) -> torch.device:
        """The device of this process."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this process is the first of all."""
        return self.global_rank == 0

    @property
    def global_rank(self) -> int:
        """The number of this process among all."""
        return 0

    @property
    def local_rank(self) -> int:
        """The number of this process on its node."""
        return 0

    @property
    def node_rank(self) -> int:
        """The number of this node."""
        return 0

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return 1

    @property
    def exchange(self) -> Exchange | None:
        """Combines logged totals of all ranks; None where there is one."""
        return None

    @abstractmethod
    def barrier(self, name: str | None = None) -> None:
        """Wait for all processes."""

    @abstractmethod
    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return the object of process ``src`` on every process."""

    def gather_objects(self, obj: Any) -> list[Any]:
        """Return the objects of all processes, in the order of ranks; they are pickled."""
        return [obj]

    @abstractmethod
    def all_gather(self, tensor: Tensor, group: Any = None, *, sync_grads: bool = False) -> Tensor:
        """Return the tensors ``[…]`` of all processes as ``[world_size, …]``; unchanged in a single process."""

    @abstractmethod
    def reduce(self, tensor: Any, group: Any = None, reduce_op: str | None = "mean") -> Any:
        """Combine a tensor over processes; anything else is returned unchanged."""

    @abstractmethod
    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:  # noqa: A002, FBT001, FBT002 -- API
        """Agree on a decision: ``all`` processes must want it, or any."""

    def use_devices(self, devices: list[torch.device]) -> None:
        """Take the devices that the trainer found for a strategy made by its name.

        Args:
            devices: This node's devices. By default they are ignored: the strategy finds its own.
        """

    def check(self, *, chosen_freely: bool) -> None:
        """Check what can be checked before any process starts.

        Args:
            chosen_freely: Whether the user named neither a strategy nor devices.
        """
        if chosen_freely:
            from lt_loops.strategies.checks import warn_of_processes_that_ignore_each_other

            warn_of_processes_that_ignore_each_other()

    # -- a run

    def connect(self, module: LightningModule) -> None:
        """Take the module of the run."""
        self.lightning_module = module
        self.model = module

    def setup_environment(self) -> None:
        """Start what must exist before any user hook: the device, later the process group."""
        if self.accelerator is not None:
            self.accelerator.setup_device(self.root_device)

    def setup(self, trainer: Any) -> None:
        """Convert the module to the precision and move it to its device."""
        if self.accelerator is not None:
            self.accelerator.setup(trainer)
        module = self._module
        self.model = self.precision_plugin.convert_module(module)
        self.model_to_device()

    def model_to_device(self) -> None:
        """Move the module to the root device."""
        self._module.to(self.root_device)

    @property
    def _module(self) -> LightningModule:
        if self.lightning_module is None:
            raise RuntimeError(
                f"`{type(self).__name__}` has no module yet. Expected `connect(module)` to be called first."
            )
        return self.lightning_module

    @contextmanager
    def model_context(self) -> Iterator[None]:
        """Create the module's tensors on the root device and in the precision's dtype (`configure_model`)."""
        with ExitStack() as stack:
            stack.enter_context(self.precision_plugin.module_init_context())
            stack.enter_context(self.tensor_init_context())
            yield

    def tensor_init_context(self, empty_init: bool | None = None) -> AbstractContextManager[Any]:  # noqa: FBT001 -- API
        """Create tensors on the root device; with ``empty_init`` without filling them."""
        device = torch.device(self.root_device)
        stack = ExitStack()
        stack.enter_context(device)
        if empty_init:
            from lt_loops.strategies.empty_init import EmptyInit

            stack.enter_context(EmptyInit())
        return stack

    def model_sharded_context(self) -> AbstractContextManager[None]:
        """Shard tensors as they are created; does nothing here."""
        return nullcontext()

    def step_function(self, name: str) -> Callable[..., Any]:
        """Return what runs a step: the module's own method, unless forward hooks of a wrapper must fire.

        Args:
            name: ``training_step``, ``validation_step``, ``test_step`` or ``predict_step``.
        """
        function: Callable[..., Any] = getattr(self._module, name)
        return function

    def setup_optimizers(self, optimizers: list[Optimizer]) -> None:
        """Take the optimizers of a fit, right after ``configure_optimizers``."""

    @property
    def after_first_backward(self) -> Callable[[], None] | None:
        """Called once, after the first backward pass of automatic optimisation; None for nothing to do."""
        return None

    @property
    def before_backward(self) -> Callable[[Tensor], None] | None:
        """Called before each backward pass of manual optimisation; None for nothing to do."""
        return None

    @property
    def no_sync(self) -> Callable[[], AbstractContextManager[Any]] | None:
        """Makes a context in which gradients are not combined over ranks; None where they never are."""
        return None

    def combine_gradients(self, module: nn.Module) -> None:
        """Average the gradients over ranks, after backward passes within `no_sync` that nothing has followed."""

    def teardown(self) -> None:
        """Free the device: the module goes back to the CPU."""
        if self.lightning_module is not None:
            self.lightning_module.cpu()
        self.precision_plugin.teardown()
        if self.accelerator is not None:
            self.accelerator.teardown()
        self.checkpoint_io.teardown()

    def on_exception(self, exception: BaseException) -> None:
        """The run was interrupted."""

    # -- files

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; the first process writes."""
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, filepath, storage_options=storage_options)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: FBT001
        """Read a checkpoint."""
        return self.checkpoint_io.load_checkpoint(checkpoint_path, map_location="cpu", weights_only=weights_only)

    def remove_checkpoint(self, filepath: str | Path) -> None:
        """Remove a checkpoint file or folder; the first process removes."""
        if self.is_global_zero:
            self.checkpoint_io.remove_checkpoint(filepath)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the module's full state."""
        return self._module.state_dict()
