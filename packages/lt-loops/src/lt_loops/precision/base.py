"""The seam between a run and the number format it computes in; at its default: 32 bits, nothing to do.

A trainer resolves one `Precision` per run and asks it once which of its calls can be left out, so that full precision
costs nothing per step.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lt_core.errors import MisconfigurationValueError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Precision"]

_CLIP_ALGORITHMS = ("norm", "value")


class Precision:
    """32-bit floating point, and the base class of the other precisions.

    Attributes:
        precision: The name, as users write it.
        scales_loss: Whether the loss is multiplied before the backward pass, so that gradients must be unscaled
            before anybody looks at them.
        converts_input: Whether `convert_input` does anything.
        converts_before_loading: Whether a checkpoint's weights are loaded into the converted module, because the module
            as it was made would round them.

    Example:
        >>> Precision().precision, Precision().step_context() is None
        ('32-true', True)
    """

    precision: str = "32-true"
    scales_loss: bool = False
    converts_input: ClassVar[bool] = False
    converts_before_loading: ClassVar[bool] = False

    # -- module and data

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Return ``module`` with its weights in this precision."""
        return module

    def convert_input(self, data: Any) -> Any:
        """Return a batch ``[…]``, of any nesting, with its floating point tensors in this precision."""
        return data

    def convert_output(self, data: Any) -> Any:
        """Return what a step returned with its floating point tensors in the default precision."""
        return data

    # -- contexts

    def step_context(self) -> AbstractContextManager[Any] | None:
        """Return the context to run every step in, or None where none is needed.

        It is asked for once per run: the object may be entered any number of times, also within itself.
        """
        return None

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return the context for a forward pass."""
        context = self.step_context()
        return nullcontext() if context is None else context

    def train_step_context(self) -> AbstractContextManager[Any]:
        """Return the context for a training step."""
        return self.forward_context()

    def val_step_context(self) -> AbstractContextManager[Any]:
        """Return the context for a validation step."""
        return self.forward_context()

    def test_step_context(self) -> AbstractContextManager[Any]:
        """Return the context for a test step."""
        return self.forward_context()

    def predict_step_context(self) -> AbstractContextManager[Any]:
        """Return the context for a prediction step."""
        return self.forward_context()

    def tensor_init_context(self) -> AbstractContextManager[Any]:
        """Return the context in which new tensors have this precision."""
        return nullcontext()

    def module_init_context(self) -> AbstractContextManager[Any]:
        """Return the context in which new modules have this precision."""
        return self.tensor_init_context()

    # -- optimisation

    def check_optimizers(self, optimizers: Iterable[Optimizer]) -> None:
        """Raise where one of the optimizers cannot be used in this precision; call it before the first step."""

    def pre_backward(self, loss: Tensor, module: nn.Module) -> Tensor:
        """Return the tensor ``[]`` to run the backward pass from: the loss, scaled where this precision does so."""
        return loss

    def backward(self, loss: Tensor, module: Any, *args: Any, **kwargs: Any) -> None:
        """Run the module's backward pass.

        Args:
            loss: What `pre_backward` returned, a scalar ``[]``.
            module: Whose method ``backward`` is called.
            *args: Passed on to it.
            **kwargs: Passed on to it.
        """
        module.backward(loss, *args, **kwargs)

    def unscale(self, optimizer: Optimizer) -> None:
        """Bring the gradients of an optimizer's parameters back to their true size, once before each step."""

    def step(self, optimizer: Optimizer, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Update the parameters.

        Args:
            optimizer: Whose.
            closure: Computes the loss and its gradients; run inside the step.
            **kwargs: Passed to the optimizer's ``step``.

        Returns:
            What the optimizer's ``step`` returns.
        """
        return optimizer.step(**kwargs) if closure is None else optimizer.step(closure, **kwargs)

    def main_params(self, optimizer: Optimizer) -> Iterator[nn.Parameter]:
        """Yield the parameters that an optimizer updates."""
        for group in optimizer.param_groups:
            yield from group["params"]

    def clip_gradients(self, optimizer: Optimizer, clip_val: float | None = 0.0, algorithm: str = "norm") -> None:
        """Clip the gradients of an optimizer's parameters.

        Args:
            optimizer: Whose parameters.
            clip_val: The limit. None, zero and less do nothing.
            algorithm: ``"norm"`` limits the norm over all of them, ``"value"`` each element.

        Raises:
            MisconfigurationValueError: The algorithm is neither.
        """
        if algorithm not in _CLIP_ALGORITHMS:
            raise MisconfigurationValueError(
                f"Gradients are to be clipped by {algorithm!r}. Expected 'norm' or 'value'."
                f'{did_you_mean(str(algorithm), _CLIP_ALGORITHMS)} Write `gradient_clip_algorithm="norm"`.'
            )
        if clip_val is None or clip_val <= 0:
            return
        if algorithm == "value":
            self.clip_grad_by_value(optimizer, clip_val)
        else:
            self.clip_grad_by_norm(optimizer, clip_val)

    def clip_grad_by_value(self, optimizer: Optimizer, clip_val: float) -> None:
        """Limit each element of each gradient to the range from ``-clip_val`` to ``clip_val``."""
        torch.nn.utils.clip_grad_value_(list(self.main_params(optimizer)), clip_val)

    def clip_grad_by_norm(self, optimizer: Optimizer, clip_val: float) -> None:
        """Scale all gradients so that the norm over all of them is at most ``clip_val``."""
        torch.nn.utils.clip_grad_norm_(list(self.main_params(optimizer)), clip_val)

    # -- state

    def state_key(self) -> str:
        """Return the key of the state in a checkpoint: the name of the class."""
        return type(self).__qualname__

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive a restart; empty where there is nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""

    def teardown(self) -> None:
        """Undo what was set for the run."""
