"""Which parameters of a module are trained, and in which groups of an optimizer: by name, as a checkpoint keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

__all__ = ["Trainability", "group_names", "groups_of_names"]


@dataclass(frozen=True)
class Trainability:
    """What of a module is frozen.

    Attributes:
        frozen: The names of parameters that are not trained.
        untracked: The names of layers of batch normalisation that keep no statistics.

    Example:
        >>> from torch import nn
        >>> layers = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
        >>> layers[0].bias.requires_grad = False
        >>> Trainability.of(layers)
        Trainability(frozen=['0.bias'], untracked=[])
    """

    frozen: list[str]
    untracked: list[str]

    @classmethod
    def of(cls, module: nn.Module) -> Trainability:
        """Return what of a module is frozen."""
        return cls(
            frozen=[name for name, parameter in module.named_parameters() if not parameter.requires_grad],
            untracked=[
                name
                for name, layer in module.named_modules()
                if isinstance(layer, _BatchNorm) and not layer.track_running_stats
            ],
        )

    def apply(self, module: nn.Module) -> None:
        """Freeze in a module of the same architecture what is frozen here, and nothing else."""
        frozen, untracked = set(self.frozen), set(self.untracked)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad == (name in frozen):  # not every dtype allows to ask for a gradient
                parameter.requires_grad = name not in frozen
        for name, layer in module.named_modules():
            if isinstance(layer, _BatchNorm):
                layer.track_running_stats = name not in untracked

    def state_dict(self) -> dict[str, Any]:
        """Return the names, to make another from: ``Trainability(**state)``."""
        return asdict(self)


def group_names(groups: list[dict[str, Any]], module: nn.Module) -> list[dict[str, Any]]:
    """Return parameter groups with names in the place of parameters.

    Args:
        groups: An optimizer's.
        module: Whose parameters they are.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(1, 1)
        >>> group_names([{"params": [layer.bias], "lr": 0.5}], layer)
        [{'lr': 0.5, 'params': ['bias']}]
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [{**_settings(group), "params": [names[id(parameter)] for parameter in group["params"]]} for group in groups]


def groups_of_names(groups: list[dict[str, Any]], parameters: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
    """Return parameter groups with parameters in the place of names: the reverse of `group_names`.

    Args:
        groups: What `group_names` returned.
        parameters: By name.
    """
    return [{**_settings(group), "params": [parameters[name] for name in group["params"]]} for group in groups]


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}
