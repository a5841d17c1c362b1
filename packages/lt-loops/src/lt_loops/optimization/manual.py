"""Manual optimisation: ``training_step`` runs backward and the optimizers; here is what the trainer still does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

from lt_core.errors import MisconfigurationException
from lt_core.optimizer import LightningOptimizer
from lt_loops.optimization.loss import LossError, loss_problem

if TYPE_CHECKING:
    from lt_core.hooks import HookCalls
    from lt_core.module import LightningModule
    from lt_loops.precision import Precision

__all__ = ["ManualOptimization"]

_GIVEN = "The loss that `manual_backward` got"


class ManualOptimization:
    """Runs ``training_step`` and counts the optimizer steps that it takes.

    Args:
        module: The module.
        optimizers: Its optimizers.
        hooks: The resolved hook calls.
        step: What runs ``training_step``.
        precision: The arithmetic.
        before_backward: What the strategy does before each backward pass, None for nothing.
        steps: How many optimizer steps were taken before.

    Attributes:
        steps: How many optimizer steps were taken, over all optimizers.
        epoch: The running epoch.
        wrapped: The optimizers as the module sees them.
    """

    steps: int
    epoch: int
    wrapped: list[LightningOptimizer]

    def __init__(
        self,
        module: LightningModule,
        optimizers: list[Optimizer],
        hooks: HookCalls,
        step: Callable[..., Any],
        precision: Precision,
        before_backward: Callable[[Tensor], None] | None = None,
        steps: int = 0,
    ) -> None:
        self.steps = steps
        self.epoch = 0
        self.wrapped = [LightningOptimizer(optimizer, self._take_step, optimizers) for optimizer in optimizers]
        self._module = module
        self._step = step
        self._precision = precision
        self._strategy_before_backward = before_backward
        self._context = precision.step_context()
        self._before_backward = hooks["on_before_backward"]
        self._after_backward = hooks["on_after_backward"]
        self._before_step = hooks["on_before_optimizer_step"]
        self._output: Any = None

    def run(self, batch: Any, batch_idx: int, opens: bool, closes: bool, divisor: float) -> None:  # noqa: FBT001
        """Run ``training_step`` on one batch; windows are the user's own matter."""
        context = self._context
        if context is None:
            self._output = self._step(batch, batch_idx)
        else:
            with context:
                self._output = self._step(batch, batch_idx)
        output = self._output
        if not (output is None or isinstance(output, (Tensor, Mapping))):
            raise MisconfigurationException(
                f"`training_step` returned {output!r}, a {type(output).__name__}. Expected a tensor, a dict or None in "
                "manual optimisation: return the loss, or nothing."
            )

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run one backward pass through precision and hooks."""
        if not isinstance(loss, Tensor):
            raise LossError(loss_problem(loss, _GIVEN))
        loss = self._precision.pre_backward(loss, self._module)
        if self._before_backward is not None:
            self._before_backward(loss)
        if self._strategy_before_backward is not None:
            self._strategy_before_backward(loss)
        try:
            self._precision.backward(loss, self._module, *args, **kwargs)
        except RuntimeError as error:
            # A loss of several numbers is right where its gradient is passed along: only torch can tell.
            problem = loss_problem(loss, _GIVEN)
            if problem is not None and not args and not kwargs:
                raise LossError(problem) from error
            raise
        if self._after_backward is not None:
            self._after_backward()

    def _take_step(self, optimizer: Optimizer, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        if self._precision.scales_loss:
            result = closure() if closure is not None else None
            self._precision.unscale(optimizer)
            if self._before_step is not None:
                self._before_step(optimizer)
            self._precision.step(optimizer, **kwargs)
        elif closure is None:
            if self._before_step is not None:
                self._before_step(optimizer)
            result = optimizer.step(**kwargs)
        else:

            def wrapped() -> Any:
                inner = closure()
                if self._before_step is not None:
                    self._before_step(optimizer)
                return inner

            result = optimizer.step(wrapped, **kwargs)
        self.steps += 1
        return result

    def shorten_window(self, length: int, factor: float) -> None:
        """Do nothing: there are no windows."""

    def close_window(self, batch_idx: int) -> None:
        """Do nothing: there are no windows."""

    def outputs(self) -> dict[str, Any]:
        """Return what ``on_train_batch_end`` gets: what ``training_step`` returned, with a tensor as ``loss``."""
        output = self._output
        if output is None:
            return {}
        if isinstance(output, Tensor):
            return {"loss": output.detach()}
        loss = output.get("loss")
        return {**output, "loss": loss.detach()} if isinstance(loss, Tensor) else dict(output)
