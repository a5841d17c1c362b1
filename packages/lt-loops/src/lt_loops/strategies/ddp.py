"""Data parallelism with torch's DistributedDataParallel: each process trains on its part of each batch."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from lt_core.errors import MisconfigurationException, MisconfigurationValueError
from lt_loops.strategies.forward_redirection import through_wrapper
from lt_loops.strategies.layer_sync import TorchSyncBatchNorm, check_layers_can_sync
from lt_loops.strategies.manual_backward import prepare_for_backward, without_preparing
from lt_loops.strategies.parallel import ParallelStrategy
from lt_loops.strategies.unused_parameters import check_all_have_gradients, explain_unfinished_reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from torch import Tensor
    from torch.optim import Optimizer

    from lt_loops.accelerators import Accelerator
    from lt_loops.checkpoint_io import CheckpointIO
    from lt_loops.environments import ClusterEnvironment
    from lt_loops.launchers import Launcher
    from lt_loops.precision import Precision
    from lt_loops.strategies.layer_sync import LayerSync

__all__ = ["DDPStrategy"]

StartMethod = Literal["popen", "spawn", "fork", "forkserver"]
_START_METHODS = ("popen", "spawn", "fork", "forkserver")


class DDPStrategy(ParallelStrategy):
    """One process for each device; gradients are averaged while the backward pass runs.

    Args:
        accelerator: The kind of device; a trainer fills it in when left out.
        parallel_devices: This machine's devices; a trainer fills them in when left out.
        cluster_environment: Who started the processes; found out when left out.
        checkpoint_io: Reads and writes checkpoint files.
        precision_plugin: The arithmetic.
        ddp_comm_state: The first argument of ``ddp_comm_hook``.
        ddp_comm_hook: How gradients are combined: a hook of `torch.distributed.algorithms.ddp_comm_hooks`.
        ddp_comm_wrapper: Wraps ``ddp_comm_hook``.
        model_averaging_period: With post-local SGD, average the weights each that many steps.
        process_group_backend: ``"nccl"``, ``"gloo"``, …; by default the one that fits the device.
        timeout: How long a process may wait for the others before the run counts as stalled.
        start_method: How the processes are started: ``"popen"`` runs the script again for each, ``"spawn"``,
            ``"fork"`` and ``"forkserver"`` run only the call of the trainer in them.
        kwargs: Further arguments of `torch.nn.parallel.DistributedDataParallel`, such as
            ``find_unused_parameters``, ``static_graph`` and ``gradient_as_bucket_view``.

    Raises:
        MisconfigurationValueError: An unknown ``start_method``, or averaging without a hook that needs it.

    Example:
        >>> DDPStrategy(find_unused_parameters=True, start_method="spawn").strategy_name
        'ddp_spawn'
    """

    takes_layer_sync = True

    def __init__(
        self,
        accelerator: Accelerator | None = None,
        parallel_devices: list[torch.device] | None = None,
        cluster_environment: ClusterEnvironment | None = None,
        checkpoint_io: CheckpointIO | None = None,
        precision_plugin: Precision | None = None,
        ddp_comm_state: object | None = None,
        ddp_comm_hook: Callable[..., Any] | None = None,
        ddp_comm_wrapper: Callable[..., Any] | None = None,
        model_averaging_period: int | None = None,
        process_group_backend: str | None = None,
        timeout: timedelta | None = None,
        start_method: StartMethod = "popen",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            accelerator,
            parallel_devices,
            cluster_environment,
            checkpoint_io,
            precision_plugin,
            process_group_backend,
            timeout,
        )
        if start_method not in _START_METHODS:
            raise MisconfigurationValueError(
                f"`DDPStrategy(start_method={start_method!r})` is no way to start a process. Expected one of "
                f"{list(_START_METHODS)}."
            )
        if (ddp_comm_state is not None or ddp_comm_wrapper is not None) and ddp_comm_hook is None:
            raise MisconfigurationValueError(
                "`DDPStrategy` got `ddp_comm_state` or `ddp_comm_wrapper` without `ddp_comm_hook`, which would use "
                "them. Expected the hook as well: pass `ddp_comm_hook=…`."
            )
        self.start_method = start_method
        self._comm = (ddp_comm_state, ddp_comm_hook, ddp_comm_wrapper)
        self._averaging_period = model_averaging_period
        self._ddp_arguments = kwargs
        self._launcher: Launcher | None = None
        self._wrapped: DistributedDataParallel | None = None
        self._searches = False
        self.layer_sync: LayerSync | None = None

    @property
    def strategy_name(self) -> str:  # type: ignore[override]
        """The name under which it is registered."""
        return "ddp" if self.start_method == "popen" else f"ddp_{self.start_method}"

    @property
    def launcher(self) -> Launcher | None:  # type: ignore[override]
        """Starts the processes, unless somebody else has."""
        if self._launcher is None and not self.cluster_environment.creates_processes_externally:
            from lt_loops.launchers.choose import choose_launcher

            self._launcher = choose_launcher(self, self.start_method)
        return self._launcher

    # -- a run

    def setup(self, trainer: Any) -> None:
        """Move the module to its device; wrap it for training, make all processes' weights equal otherwise."""
        if trainer.arguments.sync_batchnorm and self.layer_sync is None:
            self.layer_sync = TorchSyncBatchNorm()
        super().setup(trainer)
        module = self._module
        if not trainer.fitting:
            self._copy_states_of_rank_zero()
            return
        if self.layer_sync is not None:
            check_layers_can_sync(self.layer_sync, module, self.root_device)
            self.layer_sync.apply(module)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise MisconfigurationException(
                f"`{type(module).__name__}` has no trainable parameter, so there are no gradients to combine. Expected "
                "one at least: train it on one device (`devices=1`), or let its parameters require gradients."
            )
        self._wrap()

    def _wrap(self) -> None:
        module = self._module
        arguments = dict(self._ddp_arguments)
        if not module.automatic_optimization:
            # Each loss of a manual step touches some of the parameters only.
            arguments.setdefault("find_unused_parameters", True)
        device = self.root_device
        self._searches = bool(arguments.get("find_unused_parameters")) or bool(arguments.get("static_graph"))
        with self._side_stream():
            self._wrapped = DistributedDataParallel(
                module, device_ids=[device.index] if device.type == "cuda" else None, **arguments
            )
        state, hook, wrapper = self._comm
        if hook is not None:
            self._wrapped.register_comm_hook(state, wrapper(hook) if wrapper is not None else hook)
        self.model = self._wrapped

    def _side_stream(self) -> AbstractContextManager[Any]:
        # A graph capture later needs the wrapper to be made on another stream than the default one.
        if self.root_device.type != "cuda":
            return nullcontext()
        return torch.cuda.stream(torch.cuda.Stream())

    def _copy_states_of_rank_zero(self) -> None:
        for tensor in self._module.state_dict().values():
            if isinstance(tensor, torch.Tensor):
                dist.broadcast(tensor, 0)

    def setup_optimizers(self, optimizers: list[Optimizer]) -> None:
        """Average the weights after some of the steps, where ``model_averaging_period`` asks for it."""
        if self._averaging_period is None:
            return
        from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager

        state = self._comm[0]
        averager = PeriodicModelAverager(
            period=self._averaging_period, warmup_steps=getattr(state, "start_localSGD_iter", 0)
        )
        module = self._module
        optimizers[0].register_step_post_hook(lambda *_: averager.average_parameters(module.parameters()))

    def step_function(self, name: str) -> Callable[..., Any]:
        """Return what runs a step: training goes through DistributedDataParallel, evaluation does not."""
        wrapped, module = self._wrapped, self._module
        if wrapped is None or name != "training_step":
            return super().step_function(name)
        inner = through_wrapper(wrapped, module, name)
        if not module.automatic_optimization:
            return without_preparing(wrapped, inner)
        if self._searches:
            return inner
        return _explaining(inner, module)

    @property
    def after_first_backward(self) -> Callable[[], None] | None:
        """Names the parameters without a gradient, where torch would wait for them."""
        module = self._module
        if self._wrapped is None or self._searches or not module.automatic_optimization:
            return None
        return lambda: check_all_have_gradients(module)

    @property
    def before_backward(self) -> Callable[[Tensor], None] | None:
        """Tells DistributedDataParallel which parameters a loss of a manual step touches."""
        return None if self._wrapped is None else functools.partial(prepare_for_backward, self._wrapped)

    @property
    def no_sync(self) -> Callable[[], AbstractContextManager[Any]] | None:
        """Makes a context in which gradients are not combined over ranks."""
        wrapped = self._wrapped
        if wrapped is None or not wrapped.static_graph:
            return None if wrapped is None else wrapped.no_sync
        # A static graph is learned in the first backward pass, in which gradients must be combined; what follows adds
        # to their mean, so the sum of the window is the same.
        contexts: Iterator[AbstractContextManager[Any]] = iter([nullcontext()])
        return lambda: next(contexts, None) or wrapped.no_sync()

    def teardown(self) -> None:
        """Free the device; the module is the user's again, without a wrapper."""
        if self._wrapped is not None:
            self._wrapped = None
            self.model = self.lightning_module
            if self.layer_sync is not None and self.lightning_module is not None:
                self.layer_sync.revert(self.lightning_module)
        super().teardown()


def _explaining(step: Callable[..., Any], module: Any) -> Callable[..., Any]:
    """Return ``step`` such that torch's complaint about parameters without a gradient names them."""

    @functools.wraps(step)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return step(*args, **kwargs)
        except RuntimeError as error:
            explained = explain_unfinished_reduction(error, module)
            if explained is None:
                raise
            raise explained from error

    return run
