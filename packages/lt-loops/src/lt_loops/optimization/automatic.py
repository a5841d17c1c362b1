"""Automatic optimisation: forward, backward and step of one batch.

There are three ways to do it, chosen once per run: directly (nobody overrides ``optimizer_step`` and the optimizer
needs no closure), through a closure (LBFGS, an overridden ``optimizer_step``), and with a gradient scaler.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lt_core.errors import MisconfigurationException
from lt_core.hooks import HookCall, HookCalls, is_overridden
from lt_core.module import LightningModule
from lt_core.optimizer import LightningOptimizer
from lt_core.rank_zero import WarningCache
from lt_loops.optimization.loss import LossError, loss_problem
from lt_loops.precision import Precision

if TYPE_CHECKING:
    from lt_core.log.sink import LogSink
    from lt_loops.strategies.strategy import Strategy

__all__ = ["AutomaticOptimization", "needs_closure"]

_warnings = WarningCache()


def needs_closure(optimizer: Optimizer) -> bool:
    """Tell whether ``optimizer.step`` cannot be called without a closure, as LBFGS cannot."""
    parameter = inspect.signature(type(optimizer).step).parameters.get("closure")
    return parameter is not None and parameter.default is inspect.Parameter.empty


class AutomaticOptimization:
    """Optimises the loss that ``training_step`` returns.

    Args:
        module: The module.
        optimizer: Its optimizer.
        hooks: The resolved hook calls.
        step: What runs ``training_step``.
        precision: The arithmetic.
        clip: The trainer's ``(gradient_clip_val, gradient_clip_algorithm)``.
        clip_gradients: Clips an optimizer's gradients to a value with an algorithm.
        sink: Where values are logged; knows the running hook.
        strategy: Whether and when gradients and losses are combined over ranks.
        steps: How many optimizer steps were taken before.

    Attributes:
        steps: How many optimizer steps were taken, over all fits of the trainer.
        epoch: The running epoch, for the hooks that get it.
        loss: The detached loss of the last batch, divided as it was differentiated; None if the batch was skipped.
        extras: What else ``training_step`` returned.
        wrapped: The optimizer as the module sees it.
    """

    # Collaborators
    module: LightningModule
    optimizer: Optimizer
    # State
    steps: int
    epoch: int
    loss: Tensor | None
    extras: Mapping[str, Any] | None
    wrapped: list[LightningOptimizer]

    def __init__(
        self,
        module: LightningModule,
        optimizer: Optimizer,
        hooks: HookCalls,
        step: Callable[..., Any],
        precision: Precision,
        clip: tuple[float | None, str | None],
        clip_gradients: Callable[[Optimizer, float, str], None],
        sink: LogSink,
        strategy: Strategy,
        steps: int = 0,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.steps = steps
        self.epoch = 0
        self.loss = None
        self.extras = None
        self._step = step
        self._context = precision.step_context()
        self._precision = precision
        self._sink = sink
        self._no_sync = strategy.no_sync
        self._combine_gradients = strategy.combine_gradients
        self._after_first_backward = strategy.after_first_backward
        # A precision that changes neither backward nor the loss before it is not asked at each batch.
        self._own_backward = precision.backward if is_overridden("backward", precision, Precision) else None
        self._own_pre_backward = precision.pre_backward if is_overridden("pre_backward", precision, Precision) else None
        self._has_gradients = False
        self._before_zero_grad = hooks["on_before_zero_grad"]
        self._before_backward = hooks["on_before_backward"]
        self._after_backward = hooks["on_after_backward"]
        self._before_step = hooks["on_before_optimizer_step"]
        self._zero_grad_hook = _module_hook(module, "optimizer_zero_grad", sink)
        self._backward_hook = _module_hook(module, "backward", sink)
        self._step_hook = _module_hook(module, "optimizer_step", sink)
        self._clip_hook = _module_hook(module, "configure_gradient_clipping", sink)
        self._clip_gradients = clip_gradients
        self._clip = clip
        self._clips = (clip[0] is not None and clip[0] > 0) or self._clip_hook is not None
        self._wrapped = LightningOptimizer(optimizer, self._step_in_closure, [optimizer])
        self.wrapped = [LightningOptimizer(optimizer, None, [optimizer])]
        self._batch: tuple[Any, int, bool, float] = (None, 0, True, 1)
        self.run: Callable[[Any, int, bool, bool, float], None]
        self._needs_closure = needs_closure(optimizer)
        # Such an optimizer decides by the loss: all ranks must decide the same.
        self._reduce_loss = strategy.reduce if self._needs_closure and strategy.world_size > 1 else None
        if self._step_hook is not None or self._needs_closure:
            self.run = self._run_closure
        elif precision.scales_loss:
            self.run = self._run_scaled
        else:
            self.run = self._run_direct

    # -- the three ways

    def _run_direct(self, batch: Any, batch_idx: int, opens: bool, closes: bool, divisor: float) -> None:  # noqa: FBT001
        """Optimise one batch without a closure.

        Args:
            batch: The batch, on its device.
            batch_idx: Its number within the epoch.
            opens: Whether it is the first of an accumulation window: gradients start from zero.
            closes: Whether it is the last: the optimizer steps.
            divisor: The length of the window, by which the loss is divided.
        """
        if closes or self._no_sync is None:
            self._differentiate(batch, batch_idx, opens, divisor)
        else:
            with self._no_sync():
                self._differentiate(batch, batch_idx, opens, divisor)
        if closes:
            if self._before_step is not None:
                self._before_step(self.optimizer)
            if self._clips:
                self._clip_now()
            self.optimizer.step()
            self.steps += 1

    def _run_scaled(self, batch: Any, batch_idx: int, opens: bool, closes: bool, divisor: float) -> None:  # noqa: FBT001
        """Optimise one batch with a gradient scaler: backward, unscale, hooks, clip, step, update."""
        self._synchronised(batch, batch_idx, opens, closes, divisor)
        if closes:
            self._step_scaled(self.optimizer)
            self.steps += 1

    def _step_scaled(self, optimizer: Optimizer, **kwargs: Any) -> Any:
        if not self._has_gradients:  # all batches were skipped: a scaler cannot unscale what was never scaled
            self._after_closure()
            return None
        self._precision.unscale(optimizer)
        self._after_closure()
        return self._precision.step(optimizer, **kwargs)

    def _run_closure(self, batch: Any, batch_idx: int, opens: bool, closes: bool, divisor: float) -> None:  # noqa: FBT001
        """Optimise one batch through a closure that the optimizer may call several times."""
        if not closes:
            self._synchronised(batch, batch_idx, opens, closes, divisor)
            return
        self._batch = (batch, batch_idx, opens, divisor)
        if self._step_hook is not None:
            self._step_hook(self.epoch, batch_idx, self._wrapped, self._closure)
        else:
            self._step_in_closure(self.optimizer, self._closure)

    def _synchronised(self, batch: Any, batch_idx: int, opens: bool, closes: bool, divisor: float) -> None:  # noqa: FBT001
        if closes or self._no_sync is None:
            self._differentiate(batch, batch_idx, opens, divisor)
        else:
            with self._no_sync():
                self._differentiate(batch, batch_idx, opens, divisor)

    def _closure(self) -> Tensor | None:
        batch, batch_idx, opens, divisor = self._batch
        outer, self._sink.fx = self._sink.fx, "training_step"
        self._differentiate(batch, batch_idx, opens, divisor)
        self._sink.fx = outer
        if self.loss is None and self._needs_closure:
            raise LossError(
                f"`{type(self.module).__name__}.training_step` returned None, and `{type(self.optimizer).__name__}` "
                "compares the losses of several evaluations. Expected a loss for each batch: return one, or leave the "
                "batch out of the loader."
            )
        return self.loss if self._reduce_loss is None else self._reduce_loss(self.loss)

    def _step_in_closure(self, optimizer: Optimizer, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Step the optimizer as an overridden ``optimizer_step`` asks: hooks run between the closure and the update."""
        if self._precision.scales_loss:
            result = closure() if closure is not None else None
            self._step_scaled(optimizer, **kwargs)
        else:

            def wrapped() -> Any:
                inner = closure() if closure is not None else None
                self._after_closure()
                return inner

            result = optimizer.step(wrapped, **kwargs)
        self.steps += 1
        return result

    # -- the parts

    def _differentiate(self, batch: Any, batch_idx: int, opens: bool, divisor: float) -> None:  # noqa: FBT001
        context = self._context
        if context is None:
            output = self._step(batch, batch_idx)
        else:
            with context:
                output = self._step(batch, batch_idx)
        self.extras = None
        loss = output if isinstance(output, Tensor) else self._loss_of(output)
        self.loss = loss
        if loss is not None and divisor != 1:
            self.loss = loss = loss / divisor
        if opens:
            self._zero_grad(batch_idx)
        if loss is not None:
            self._backward(loss)

    def _loss_of(self, output: Any) -> Tensor | None:
        """Return the loss within what ``training_step`` returned, which is not a tensor."""
        if output is None:
            _warnings.warn(
                f"`{type(self.module).__name__}.training_step` returned None: the batch is skipped. Return the loss to "
                "train "
                "on it."
            )
            return None
        if isinstance(output, Mapping):
            if output.get("loss") is None:
                what = "under which there is None" if "loss" in output else "without `loss`"
                raise MisconfigurationException(
                    f"`training_step` returned a dict with the keys {list(output)}, {what}. Expected the loss under "
                    "`loss`: return `{'loss': loss, …}` or the loss itself, or None, not a dict, to skip the batch."
                )
            self.extras = output
            loss = output["loss"]
            if isinstance(loss, Tensor):
                return loss
            output = loss
        raise MisconfigurationException(
            f"`training_step` returned {output!r}, a {type(output).__name__}. Expected a tensor, a dict with the key "
            "`loss`, "
            "or None to skip the batch."
        )

    def _zero_grad(self, batch_idx: int) -> None:
        self._has_gradients = False
        if self._before_zero_grad is not None:
            self._before_zero_grad(self.optimizer)
        if self._zero_grad_hook is not None:
            self._zero_grad_hook(self.epoch, batch_idx, self.optimizer)
        else:
            self.optimizer.zero_grad()

    def _backward(self, loss: Tensor) -> None:
        self._has_gradients = True
        if self._own_pre_backward is not None:
            loss = self._own_pre_backward(loss, self.module)
        if self._before_backward is not None:
            self._before_backward(loss)
        try:
            if self._own_backward is not None:
                self._own_backward(loss, self.module)
            elif self._backward_hook is not None:
                self._backward_hook(loss)
            else:
                loss.backward()
        except RuntimeError as error:
            problem = loss_problem(loss, "The loss that `training_step` returned")
            if problem is not None:
                raise LossError(problem) from error
            raise
        if self._after_first_backward is not None:
            check, self._after_first_backward = self._after_first_backward, None
            check()
        if self._after_backward is not None:
            self._after_backward()

    def _after_closure(self) -> None:
        if self._before_step is not None:
            self._before_step(self.optimizer)
        if self._clips:
            self._clip_now()

    def _clip_now(self) -> None:
        value, algorithm = self._clip
        if self._clip_hook is not None:
            self._clip_hook(self.optimizer, gradient_clip_val=value, gradient_clip_algorithm=algorithm)
        elif value is not None:
            self._clip_gradients(self.optimizer, value, algorithm or "norm")

    def shorten_window(self, length: int, factor: float) -> None:
        """Scale the gradients of a window that turns out shorter than its losses were divided by.

        Args:
            length: How many batches of the window gave gradients so far.
            factor: The length by which the losses were divided, over the true one.
        """
        if length and factor != 1:
            gradients = [
                parameter.grad
                for group in self.optimizer.param_groups
                for parameter in group["params"]
                if parameter.grad is not None
            ]
            torch._foreach_mul_(gradients, factor)

    def close_window(self, batch_idx: int) -> None:
        """Step with the gradients that are there: the loader ended within a window.

        Args:
            batch_idx: The number of the last batch within the epoch.
        """
        if self._no_sync is not None:  # no backward pass was the window's last, so the ranks' gradients differ
            self._combine_gradients(self.module)
        if self._step_hook is not None:
            self._step_hook(self.epoch, batch_idx, self._wrapped, lambda: self.loss)
        else:
            self._step_in_closure(self.optimizer, lambda: self.loss)

    def outputs(self) -> dict[str, Any]:
        """Return what ``on_train_batch_end`` gets: the detached loss, divided as differentiated, and the extras."""
        if self.loss is None:
            return {}
        if self.extras is None:
            return {"loss": self.loss.detach()}
        return {**self.extras, "loss": self.loss.detach()}


def _module_hook(module: LightningModule, name: str, sink: LogSink) -> HookCall | None:
    if not is_overridden(name, module, LightningModule):
        return None
    return HookCall(name, (getattr(module, name),), sink)
