"""The copy of a module that holds averaged weights, and how it changes places with the module.

Both ways of averaging, stochastic weight averaging and moving averages, keep such a copy. torch's `AveragedModel` does
the arithmetic; here is what a trainer needs around it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ExponentialAverage", "parse_device", "refuse_sharded", "swap_tensors", "update_average"]


class ExponentialAverage:
    """The update ``average = decay * average + (1 - decay) * current``, as a function that can be pickled.

    Args:
        decay: From 0 to 1.

    Example:
        >>> average = [torch.tensor([1.0])]
        >>> ExponentialAverage(0.75)(average, [torch.tensor([3.0])], torch.tensor(1))
        >>> average
        [tensor([1.5000])]
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor | int) -> None:
        get_ema_multi_avg_fn(self.decay)(averaged, current, num_averaged)


def parse_device(device: Any, owner: str) -> torch.device | int | None:
    """Return the device where the copy is kept; None for the module's own.

    Args:
        device: What the user wrote.
        owner: The callback's name, for the message.

    Raises:
        MisconfigurationTypeError: It is nothing that names a device.
        MisconfigurationValueError: There is no such kind of device.

    Example:
        >>> parse_device("cpu", "WeightAveraging")
        device(type='cpu')
    """
    if device is None or isinstance(device, (int, torch.device)):
        return device
    if not isinstance(device, str):
        raise MisconfigurationTypeError(
            f"{owner} got device={device!r}, a {type(device).__name__}; expected a torch.device, its name, or None for"
            " the module's own. Write for example `device='cpu'`."
        )
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise MisconfigurationValueError(
            f"{owner} got device={device!r}, which torch does not know; expected the name of a device. Write for"
            " example `device='cpu'` or `device='cuda:0'`."
        ) from error


def refuse_sharded(module: nn.Module, owner: str) -> None:
    """Raise where the module's parameters are spread over processes.

    Args:
        module: On its device, after the strategy has set it up.
        owner: The callback's name, for the message.

    Raises:
        MisconfigurationException: They are: a copy of one's own part is no copy of the module.
    """
    sharded = [name for name, parameter in module.named_parameters() if hasattr(parameter, "placements")]
    if sharded:
        raise MisconfigurationException(
            f"{owner} found sharded parameters, such as `{sharded[0]}`; expected each process to hold the whole module."
            " Use a strategy that does not shard (`strategy='ddp'`), or leave the callback out."
        )


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(module.parameters(), module.buffers())


@torch.no_grad()
def update_average(averaged: AveragedModel, module: nn.Module) -> None:
    """Average the module's present weights in.

    Counters and other whole numbers are taken over as they are: an average of them, cut off to a whole number, is
    below both.

    Args:
        averaged: The copy.
        module: Whose weights.
    """
    averaged.update_parameters(module)
    for mine, theirs in zip(averaged.module.buffers(), module.buffers(), strict=True):
        if not (mine.is_floating_point() or mine.is_complex()):
            mine.copy_(theirs)


@torch.no_grad()
def swap_tensors(averaged: AveragedModel, module: nn.Module) -> None:
    """Let the module have the copy's values and the copy the module's: parameters and buffers, in place.

    In place, because optimizers, compiled graphs and gradient reducers hold the module's tensors.

    Args:
        averaged: The copy.
        module: The module.
    """
    for mine, theirs in zip(_tensors(averaged.module), _tensors(module), strict=True):
        kept = theirs.detach().clone()
        theirs.detach().copy_(mine)
        mine.detach().copy_(kept)
