"""Mixed precision: weights in 32 bits, the expensive operations in 16, by `torch.autocast`.

With float16 small gradients would become zero, so the loss is multiplied before the backward pass and the gradients
are divided afterwards (loss scaling, https://arxiv.org/abs/1710.03740); a step whose gradients overflow is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from lt_core.errors import MisconfigurationException, MisconfigurationValueError, did_you_mean
from lt_loops.precision.base import Precision
from lt_loops.precision.contexts import AutocastContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

__all__ = ["FusedOptimizerClippingError", "MixedPrecision"]

_DTYPES = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


class FusedOptimizerClippingError(MisconfigurationException, RuntimeError):
    """Gradients are to be clipped that the optimizer brings to their true size only inside its step."""


class MixedPrecision(Precision):
    """Autocast to float16 with loss scaling, or to bfloat16.

    Args:
        precision: ``"16-mixed"`` or ``"bf16-mixed"``.
        device: The type of the device that computes: ``"cuda"``, ``"cpu"``, ``"mps"``.
        scaler: The loss scaler of ``"16-mixed"``; by default a `torch.amp.GradScaler` for the device.

    Raises:
        MisconfigurationValueError: ``precision`` is neither.
        MisconfigurationException: A scaler was given for ``"bf16-mixed"``.

    Example:
        >>> precision = MixedPrecision("bf16-mixed", "cpu")
        >>> with precision.forward_context():
        ...     torch.nn.Linear(2, 1)(torch.ones(1, 2)).dtype
        torch.bfloat16
    """

    def __init__(self, precision: str, device: str, scaler: torch.amp.GradScaler | None = None) -> None:
        if precision not in _DTYPES:
            raise MisconfigurationValueError(
                f"`MixedPrecision(precision={precision!r})`: there is no such mixed precision. Expected '16-mixed' or"
                f" 'bf16-mixed'.{did_you_mean(str(precision), _DTYPES)} Write `MixedPrecision(\"bf16-mixed\", device)`."
            )
        if scaler is not None and precision == "bf16-mixed":
            raise MisconfigurationException(
                f"`MixedPrecision('bf16-mixed', scaler={scaler!r})`: bfloat16 has the range of float32, so no loss is"
                " scaled. Expected no scaler: leave the argument out, or write '16-mixed'."
            )
        if scaler is None and precision == "16-mixed":
            scaler = torch.amp.GradScaler(device=device)
        self.precision = precision
        self.device = device
        self.scales_loss = scaler is not None
        self._scaler = scaler
        self._stepped: set[int] = set()  # ids of the optimizers that stepped since the scale was last set

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The loss scaler, up to date; None where no loss is scaled."""
        self._set_scale()
        return self._scaler

    # -- contexts

    def step_context(self) -> AbstractContextManager[Any] | None:
        return AutocastContext(self.device, _DTYPES[self.precision])

    # -- optimisation

    def check_optimizers(self, optimizers: Iterable[Optimizer]) -> None:
        """Raise where one of the optimizers cannot be used in this precision.

        Raises:
            MisconfigurationException: `torch.optim.LBFGS` with loss scaling: it evaluates the loss several times in a
                step, between which nobody could unscale.
        """
        if self._scaler is None:
            return
        for index, optimizer in enumerate(optimizers):
            if isinstance(optimizer, LBFGS):
                raise MisconfigurationException(
                    f"Optimizer {index} is `{type(optimizer).__name__}`, and `precision={self.precision!r}` scales the"
                    " loss: LBFGS evaluates the loss several times in a step and cannot be told of it. Expected an"
                    ' optimizer with one evaluation per step, or no scaling: write `precision="bf16-mixed"` or'
                    ' `precision="32-true"`.'
                )

    def pre_backward(self, loss: Tensor, module: nn.Module) -> Tensor:
        if self._scaler is None:
            return loss
        self._set_scale()
        return self._scaler.scale(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale, once before each step.

        Fused optimizers do this themselves inside their step; theirs stay scaled.
        """
        if self._scaler is None or _unscales_itself(optimizer):
            return
        self._settle(optimizer)
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Update the parameters, unless a gradient overflowed.

        The scale is set anew before the next loss is scaled and not at once: where several losses were scaled before
        the first of several optimizers steps, all of their gradients are divided by what they were multiplied by.

        Args:
            optimizer: Whose.
            closure: Computes the loss and its gradients; run before the step.
            **kwargs: Passed to the optimizer's ``step``.

        Returns:
            What the optimizer's ``step`` returns; None where it was left out.
        """
        if self._scaler is None:
            return super().step(optimizer, closure, **kwargs)
        if closure is not None:
            closure()
        self._settle(optimizer)
        result = self._scaler.step(optimizer, **kwargs)
        self._stepped.add(id(optimizer))
        return result

    def clip_gradients(self, optimizer: Optimizer, clip_val: float | None = 0.0, algorithm: str = "norm") -> None:
        """Clip the gradients of an optimizer's parameters.

        Args:
            optimizer: Whose parameters.
            clip_val: The limit. None, zero and less do nothing.
            algorithm: ``"norm"`` limits the norm over all of them, ``"value"`` each element.

        Raises:
            FusedOptimizerClippingError: The gradients are scaled, and the optimizer unscales them inside its step.
        """
        if clip_val is not None and clip_val > 0 and self._scaler is not None and _unscales_itself(optimizer):
            raise FusedOptimizerClippingError(
                f"The gradients of `{type(optimizer).__name__}` are to be clipped to {clip_val!r}, but this optimizer"
                f" unscales them inside its step, after they would have been clipped (`precision={self.precision!r}`)."
                " Expected an optimizer that leaves unscaling to the trainer: pass `fused=False`, or write"
                ' `precision="bf16-mixed"`.'
            )
        super().clip_gradients(optimizer, clip_val, algorithm)

    def _settle(self, optimizer: Optimizer) -> None:
        if id(optimizer) in self._stepped:
            self._set_scale()

    def _set_scale(self) -> None:
        if self._stepped and self._scaler is not None:
            self._stepped.clear()
            self._scaler.update()

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """Return the scaler's state; empty where no loss is scaled."""
        scaler = self.scaler
        return {} if scaler is None else scaler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back the scaler's state; does nothing where no loss is scaled."""
        self._stepped.clear()
        if self._scaler is not None:
            self._scaler.load_state_dict(state_dict)


def _unscales_itself(optimizer: Optimizer) -> bool:
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
