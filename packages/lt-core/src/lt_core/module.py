"""The LightningModule: research code in one place, engineering left to a trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lt_core.data_hooks import DataHooks
from lt_core.errors import LtError, MisconfigurationException, MisconfigurationTypeError
from lt_core.hparams import HyperparametersMixin
from lt_core.loading import class_only_method, load_module
from lt_core.module_hooks import ModelHooks
from lt_core.optimizer import freeze_others, restore_requires_grad
from lt_core.rank_zero import WarningCache

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from lt_core.log.sink import LogSink
    from lt_core.protocols import TrainerProtocol

__all__ = ["LightningModule", "NotAttachedError"]

_warnings = WarningCache()


class NotAttachedError(LtError, RuntimeError):
    """Something that only a trainer can do was asked of a module that has none."""


class LightningModule(HyperparametersMixin, ModelHooks, DataHooks, nn.Module):
    """Base class for models: the computations, the steps, the optimizers.

    Write ``training_step`` and ``configure_optimizers``, and what else you need; `lt_core.hooks.HOOKS` lists every
    hook with its place in the order.

    Args:
        *args: Passed on to the next base class.
        **kwargs: Passed on to the next base class.

    Attributes:
        CHECKPOINT_HYPER_PARAMS_KEY: Where a checkpoint keeps the hyperparameters.

    Example:
        >>> class Regression(LightningModule):
        ...     def __init__(self, lr: float = 0.1):
        ...         super().__init__()
        ...         self.save_hyperparameters()
        ...         self.layer = torch.nn.Linear(3, 1)
        ...     def training_step(self, batch, batch_idx):
        ...         x, y = batch  # [B, 3], [B, 1]
        ...         loss = torch.nn.functional.mse_loss(self.layer(x), y)
        ...         self.log("train_loss", loss)
        ...         return loss
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)
        >>> Regression().hparams
        "lr": 0.1
    """

    CHECKPOINT_HYPER_PARAMS_KEY: ClassVar[str] = "hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME: ClassVar[str] = "hparams_name"
    CHECKPOINT_HYPER_PARAMS_TYPE: ClassVar[str] = "hparams_type"

    # Properties that raise while no trainer is attached must not be touched by torch.jit.script.
    __jit_unused_properties__: ClassVar[list[str]] = [
        "example_input_array",
        "on_gpu",
        "current_epoch",
        "global_step",
        "global_rank",
        "local_rank",
        "logger",
        "loggers",
        "automatic_optimization",
        "trainer",
        "strict_loading",
        "device",
        "dtype",
        "hparams",
        "hparams_initial",
        "hparams_name",
        "log_hyperparams_enabled",
    ]

    _trainer: TrainerProtocol | None = None
    _log_sink: LogSink | None = None
    _device: torch.device = torch.device("cpu")
    _dtype: torch.dtype | str = torch.float32
    _automatic_optimization: bool = True
    _example_input_array: Any = None
    _strict_loading: bool | None = None
    _toggled: dict[nn.Parameter, bool] | None = None
    device_mesh: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dtype = torch.get_default_dtype()

    # -- the trainer

    @property
    def trainer(self) -> TrainerProtocol:
        """The trainer that runs this module.

        Raises:
            NotAttachedError: No trainer runs it.
        """
        if self._trainer is None:
            raise NotAttachedError(
                f"`{type(self).__name__}` is not attached to a `Trainer`. Expected to be called from within a run: "
                "pass the "
                "module to `trainer.fit(…)`, `validate`, `test` or `predict` first."
            )
        return self._trainer

    @trainer.setter
    def trainer(self, trainer: TrainerProtocol | None) -> None:
        self._attach(trainer, getattr(trainer, "log_sink", None))

    def _attach(self, trainer: TrainerProtocol | None, sink: LogSink | None) -> None:
        for child in self.modules():
            if isinstance(child, LightningModule):
                object.__setattr__(child, "_trainer", trainer)
                object.__setattr__(child, "_log_sink", sink)

    @property
    def current_epoch(self) -> int:
        """How many training epochs are complete; 0 without a trainer."""
        return 0 if self._trainer is None else self._trainer.current_epoch

    @property
    def global_step(self) -> int:
        """How many optimizer steps were taken; 0 without a trainer."""
        return 0 if self._trainer is None else self._trainer.global_step

    @property
    def global_rank(self) -> int:
        """The number of this process among all; 0 without a trainer."""
        return 0 if self._trainer is None else self._trainer.global_rank

    @property
    def local_rank(self) -> int:
        """The number of this process on its node; 0 without a trainer."""
        return 0 if self._trainer is None else self._trainer.local_rank

    @property
    def logger(self) -> Any:
        """The trainer's first logger, or None."""
        return None if self._trainer is None else self._trainer.logger

    @property
    def loggers(self) -> list[Any]:
        """The trainer's loggers."""
        return [] if self._trainer is None else self._trainer.loggers

    # -- device and dtype

    @property
    def device(self) -> torch.device:
        """Where the module lives; follows ``.to()`` and its kin."""
        return self._device

    @property
    def dtype(self) -> torch.dtype | str:
        """The module's floating point dtype; follows ``.to()`` and its kin."""
        return self._dtype

    @property
    def on_gpu(self) -> bool:
        """Whether the module lives on a CUDA device."""
        return self.device.type == "cuda"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        probe = fn(torch.empty(0, device=self._device, dtype=self._dtype))  # type: ignore[arg-type]
        object.__setattr__(self, "_device", probe.device)
        object.__setattr__(self, "_dtype", probe.dtype)
        return self

    # -- settings

    @property
    def example_input_array(self) -> Any:
        """An input for summaries, graphs and exports: a tensor, a tuple of arguments, or a dict of them by name."""
        return self._example_input_array

    @example_input_array.setter
    def example_input_array(self, example: Tensor | tuple[Any, ...] | dict[str, Any] | None) -> None:
        self._example_input_array = example

    @property
    def automatic_optimization(self) -> bool:
        """Whether the trainer runs backward and the optimizer; set it to False to do so in ``training_step``."""
        return self._automatic_optimization

    @automatic_optimization.setter
    def automatic_optimization(self, automatic_optimization: bool) -> None:
        self._automatic_optimization = automatic_optimization

    @property
    def strict_loading(self) -> bool:
        """Whether a checkpoint's keys must match the module's; True until set."""
        return True if self._strict_loading is None else self._strict_loading

    @strict_loading.setter
    def strict_loading(self, strict_loading: bool) -> None:
        self._strict_loading = strict_loading

    # -- steps

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Compute and return the loss of one batch: a tensor, a dict with ``loss``, or None to skip the batch."""
        raise MisconfigurationException(self._no_step("training_step"))

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Compute and log what validation measures on one batch."""
        raise MisconfigurationException(self._no_step("validation_step"))

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Compute and log what testing measures on one batch."""
        raise MisconfigurationException(self._no_step("test_step"))

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """Return the predictions for one batch; by default ``self(batch)``."""
        batch = kwargs.get("batch", args[0] if args else None)
        return self(batch)

    def _no_step(self, name: str) -> str:
        return f"`{type(self).__name__}.{name}` is needed and not written. Write `def {name}(self, batch, batch_idx)`."

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute an output from an input, as in any `torch.nn.Module`."""
        return super().forward(*args, **kwargs)

    # -- logging

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable[..., Any] = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Log a value under a key.

        The value is copied, so it may be changed afterwards. Nothing is read from the device here.

        Args:
            name: The key.
            value: A number, a tensor with one element, or a torchmetrics ``Metric``.
            prog_bar: Show it in the progress bar.
            logger: Send it to the loggers; default True.
            on_step: Publish each step's value; default True in training hooks, False elsewhere.
            on_epoch: Publish the epoch's value; default False in training step and batch hooks, True elsewhere.
            reduce_fx: How an epoch's values become one: ``"mean"`` (weighted by batch size), ``"sum"``, ``"min"`` or
                ``"max"``.
            enable_graph: Keep the autograd graph.
            sync_dist: Combine a step's value over ranks when a row goes to the loggers; an epoch's always is.
            sync_dist_group: The process group to combine in, None for all ranks.
            add_dataloader_idx: Append ``/dataloader_idx_N`` where there are several evaluation loaders.
            batch_size: How many samples the value stands for; needed where the batch does not tell.
            metric_attribute: The name of the metric's attribute where the object alone does not tell.
            rank_zero_only: Log on rank zero only.

        Raises:
            MisconfigurationException: The running hook may not log, the same key was logged with other options, or
                the batch size cannot be told.
        """
        sink = self._log_sink
        if sink is None:
            self._log_nowhere(name)
            return
        options = (
            prog_bar, logger, on_step, on_epoch, reduce_fx, enable_graph, sync_dist, sync_dist_group,
            add_dataloader_idx, metric_attribute, rank_zero_only,
        )  # fmt: skip
        if rank_zero_only and not self.trainer.is_global_zero:
            return
        sink.log(self, name, value, options, batch_size, metric_attribute)

    def _log_nowhere(self, name: str) -> None:
        reason = "no trainer is attached" if self._trainer is None else "the trainer collects no metrics (barebones)"
        _warnings.warn(f"`self.log({name!r}, …)` does nothing: {reason}. Run the module with a trainer that logs.")

    def log_dict(
        self,
        dictionary: Mapping[str, Any],
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable[..., Any] = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Log each value of a mapping, or each metric of a torchmetrics ``MetricCollection``, under its key.

        Args:
            dictionary: The values by key.
            prog_bar: As for `log`, for every key; so are the following.
            logger: Send them to the loggers.
            on_step: Publish each step's values.
            on_epoch: Publish the epoch's values.
            reduce_fx: How an epoch's values become one.
            enable_graph: Keep the autograd graph.
            sync_dist: Combine step values over ranks when a row goes to the loggers; the epoch's always are.
            sync_dist_group: The process group to combine in, None for all ranks.
            add_dataloader_idx: Append ``/dataloader_idx_N`` where there are several evaluation loaders.
            batch_size: How many samples the values stand for.
            rank_zero_only: Log on rank zero only.
        """
        items: Any = getattr(dictionary, "items", None)
        if isinstance(dictionary, Mapping):
            items = dictionary.items()
        elif isinstance(dictionary, nn.Module) and items is not None:
            # A MetricCollection: its prefixed names, without unsharing the states of a compute group.
            items = items(keep_base=False, copy_state=False)
        else:
            raise MisconfigurationTypeError(
                f"`self.log_dict({dictionary!r})` got a {type(dictionary).__name__}. Expected a mapping of keys to "
                "values, or a torchmetrics `MetricCollection`: write `self.log_dict({'loss': loss, …})`."
            )
        for name, value in items:
            self.log(
                name,
                value,
                prog_bar=prog_bar,
                logger=logger,
                on_step=on_step,
                on_epoch=on_epoch,
                reduce_fx=reduce_fx,
                enable_graph=enable_graph,
                sync_dist=sync_dist,
                sync_dist_group=sync_dist_group,
                add_dataloader_idx=add_dataloader_idx,
                batch_size=batch_size,
                rank_zero_only=rank_zero_only,
            )

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print on the first process only, above the progress bar if there is one."""
        trainer = self.trainer
        if trainer.is_global_zero:
            bar = trainer.progress_bar_callback
            if bar is not None and bar.is_enabled:
                bar.print(*args, **kwargs)
            else:
                print(*args, **kwargs)

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """Gather tensors of all ranks; must be called on all of them with equal shapes.

        Args:
            data: A number, array or tensor ``[…]``, or a nesting of them.
            group: The process group.
            sync_grads: Let gradients flow back to the ranks.

        Returns:
            The tensors as ``[world_size, …]``; unchanged ``[…]`` in a single process.
        """
        from torch.utils._pytree import tree_map

        def gather(value: Any) -> Tensor:
            tensor = value if isinstance(value, Tensor) else torch.as_tensor(value)
            return self.trainer.strategy.all_gather(tensor.to(self.device), group, sync_grads=sync_grads)

        return tree_map(gather, data)

    # -- optimisation

    def optimizers(self, use_pl_optimizer: bool = True) -> Any:
        """Return the optimizer, or the list of them when there are several.

        Args:
            use_pl_optimizer: Return `LightningOptimizer` wrappers, whose steps the trainer counts; else the raw ones.
        """
        trainer = self.trainer
        found: list[Any] = list(trainer.lightning_optimizers) if use_pl_optimizer else list(trainer.optimizers)
        return found[0] if len(found) == 1 else found

    def lr_schedulers(self) -> Any:
        """Return None, the scheduler, or the list of schedulers."""
        found = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        if not found:
            return None
        return found[0] if len(found) == 1 else found

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass in manual optimisation, through precision and hooks.

        Args:
            loss: A scalar ``[]``.
            *args: Passed to ``loss.backward``.
            **kwargs: Passed to ``loss.backward``.

        Raises:
            MisconfigurationException: Optimisation is automatic.
        """
        if self.automatic_optimization:
            raise MisconfigurationException(
                "`self.manual_backward(loss)` was called while `automatic_optimization` is True. Expected manual "
                "optimisation: set `self.automatic_optimization = False` in `__init__`, or return the loss instead."
            )
        self.trainer.manual_backward(loss, *args, **kwargs)

    def toggle_optimizer(self, optimizer: Optimizer) -> None:
        """Let only this optimizer's parameters require gradients until `untoggle_optimizer`."""
        self._toggled = freeze_others(optimizer, list(self.trainer.optimizers))

    def untoggle_optimizer(self, optimizer: Optimizer) -> None:
        """Undo `toggle_optimizer`."""
        restore_requires_grad(self._toggled or {})
        self._toggled = None

    @contextmanager
    def toggled_optimizer(self, optimizer: Optimizer) -> Iterator[None]:
        """Let only this optimizer's parameters require gradients inside the context."""
        self.toggle_optimizer(optimizer)
        try:
            yield
        finally:
            self.untoggle_optimizer(optimizer)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients before a step; by default with `clip_gradients` and the trainer's values."""
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def clip_gradients(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients of an optimizer's parameters; not to be overridden.

        Args:
            optimizer: Whose parameters to clip.
            gradient_clip_val: The limit; by default the trainer's. None or not positive does nothing.
            gradient_clip_algorithm: ``"norm"`` (default) or ``"value"``.

        Raises:
            MisconfigurationException: A value differs from the one that the trainer was given.
        """
        trainer = self.trainer
        value = _agreed("gradient_clip_val", gradient_clip_val, trainer.gradient_clip_val)
        algorithm = _agreed("gradient_clip_algorithm", gradient_clip_algorithm, trainer.gradient_clip_algorithm)
        if value is None:
            return
        if not isinstance(value, (int, float)):
            raise MisconfigurationTypeError(
                f"`gradient_clip_val={value!r}` is a {type(value).__name__}. Expected a number."
            )
        algorithm = "norm" if algorithm is None else str(algorithm).lower()
        if algorithm not in ("norm", "value"):
            raise MisconfigurationException(f"`gradient_clip_algorithm={algorithm!r}`: expected 'norm' or 'value'.")
        if value > 0:
            trainer.clip_gradients(optimizer, value, algorithm)

    def freeze(self) -> Self:
        """Let no parameter require gradients, and go to evaluation mode."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        return self.eval()

    def unfreeze(self) -> Self:
        """Let all parameters require gradients, and go to training mode."""
        for parameter in self.parameters():
            parameter.requires_grad = True
        return self.train()

    # -- files

    @class_only_method
    def load_from_checkpoint(
        cls,  # noqa: N805 -- bound to the class by the decorator
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Make a module from a checkpoint: its stored hyperparameters, then its weights.

        Args:
            checkpoint_path: A path or an open file.
            map_location: Where tensors go, as in `torch.load`; by default where they were, if that device exists.
            hparams_file: A ``.yaml`` or ``.csv`` file whose values replace the stored hyperparameters.
            strict: Whether the keys must match exactly; by default the module's ``strict_loading``.
            weights_only: Whether to read safe types only; None means True.
            **kwargs: Override stored hyperparameters.

        Returns:
            The module, in train mode.
        """
        return load_module(cls, checkpoint_path, map_location, hparams_file, strict, weights_only, **kwargs)

    def to_onnx(self, file_path: Any = None, input_sample: Any = None, **kwargs: Any) -> Any:
        """Export to ONNX; see `lt_core.export.to_onnx`."""
        from lt_core.export import to_onnx

        return to_onnx(self, file_path, input_sample, **kwargs)

    def to_torchscript(
        self, file_path: Any = None, method: str | None = "script", example_inputs: Any = None, **kwargs: Any
    ) -> Any:
        """Export to TorchScript; see `lt_core.export.to_torchscript`."""
        from lt_core.export import to_torchscript

        return to_torchscript(self, file_path, method, example_inputs, **kwargs)

    def to_tensorrt(self, file_path: Any = None, input_sample: Any = None, **kwargs: Any) -> Any:
        """Compile with TensorRT; see `lt_core.export.to_tensorrt`."""
        from lt_core.export import to_tensorrt

        return to_tensorrt(self, file_path, input_sample, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.pop("_trainer", None)
        state.pop("_log_sink", None)
        return state


def _agreed(name: str, given: Any, configured: Any) -> Any:
    if given is not None and configured is not None and given != configured:
        raise MisconfigurationException(
            f"`clip_gradients({name}={given!r})` differs from `Trainer({name}={configured!r})`. Expected one of them: "
            "leave "
            "the argument of the Trainer out, or call `clip_gradients` with the Trainer's value."
        )
    return configured if given is None else given
