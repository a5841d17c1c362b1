"""The parameters that are pruned: where they are, what is left of them, and how they become plain parameters again."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError
from lt_core.module import LightningModule

if TYPE_CHECKING:
    Pair = tuple[nn.Module, str]

__all__ = ["PrunedParameter", "all_of", "check_pairs", "make_permanent", "named", "unpruned_copy", "without_masks"]

_CONTAINERS = (LightningModule, nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class PrunedParameter:
    """A parameter that is pruned, or will be.

    Attributes:
        module: The module that has it.
        parameter_name: Its name there.
        name: Its name in the model.
    """

    module: nn.Module
    parameter_name: str
    name: str

    @property
    def values(self) -> Tensor:
        """The values ``[…]`` that are trained, also where they are masked."""
        own = dict(self.module.named_parameters(recurse=False))
        masked = own.get(f"{self.parameter_name}_orig")
        return own[self.parameter_name] if masked is None else masked

    @property
    def mask(self) -> Tensor | None:
        """Ones ``[…]``, and zeros where the parameter is pruned; None before the first time."""
        return dict(self.module.named_buffers(recurse=False)).get(f"{self.parameter_name}_mask")

    @property
    def num_pruned(self) -> int:
        """How many elements are pruned."""
        mask = self.mask
        return 0 if mask is None else int((mask == 0).sum())

    def apply_mask(self, mask: Tensor) -> None:
        """Prune by a given mask ``[…]``."""
        from torch.nn.utils import prune

        prune.custom_from_mask(self.module, self.parameter_name, mask.to(self.values.device))

    @torch.no_grad()
    def set_values(self, values: Tensor) -> None:
        """Put other values ``[…]`` in place, also where they are masked."""
        self.values.copy_(values)


def all_of(model: nn.Module, names: Sequence[str]) -> list[Pair]:
    """Return all parameters of these names, but for those of containers.

    Args:
        model: The model.
        names: Such as ``weight``.

    Example:
        >>> all_of(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), ["weight", "scale"])
        [(Linear(in_features=1, out_features=1, bias=True), 'weight')]
    """
    modules = [module for module in model.modules() if not isinstance(module, _CONTAINERS)]
    return [(module, name) for name in names for module in modules if _has(module, name)]


def check_pairs(model: nn.Module, pairs: Sequence[Any]) -> None:
    """Raise where pairs do not name parameters of the model.

    Raises:
        MisconfigurationTypeError: A pair has another form.
        MisconfigurationException: A module or a parameter is not the model's.
    """
    for pair in pairs:
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not isinstance(pair[0], nn.Module) or not isinstance(pair[1], str):
            raise MisconfigurationTypeError(
                f"ModelPruning got {pair!r} among `parameters_to_prune`; The provided `parameters_to_prune` should"
                " either be list of tuple with 2 elements, (nn.Module, parameter_name_to_prune), or None. Write"
                " `parameters_to_prune=[(model.layer, 'weight')]`."
            )
    known = {id(module) for module in model.modules()}
    modules = [module for module, _ in pairs if id(module) not in known]
    names = [name for module, name in pairs if id(module) in known and not _has(module, name)]
    if modules or names:
        raise MisconfigurationException(
            "Some provided `parameters_to_prune` don't exist in the model. Found missing modules:"
            f" {modules} and missing parameters: {names}. Expected modules and parameters of"
            f" `{type(model).__name__}`. Write `parameters_to_prune=[(model.layer, 'weight')]`."
        )


def named(model: nn.Module, pairs: Sequence[Pair]) -> list[PrunedParameter]:
    """Return the parameters with their names in the model."""
    prefixes = {id(module): f"{name}." if name else "" for name, module in model.named_modules()}
    return [PrunedParameter(module, name, prefixes[id(module)] + name) for module, name in pairs]


def unpruned_copy(parameter: PrunedParameter) -> nn.Module | None:
    """Return a copy of the layer that has the parameter, to draw values from; None where it cannot draw any.

    Raises:
        MisconfigurationException: The layer is pruned already, and cannot be copied.
    """
    if not callable(getattr(parameter.module, "reset_parameters", None)):
        return None
    if parameter.mask is not None:
        raise MisconfigurationException(
            f"ModelPruning(resample_parameters=True) found `{parameter.name}` pruned when fit begins; expected a module"
            " with plain parameters. Call `make_pruning_permanent(module)` of the callback before."
        )
    return copy.deepcopy(parameter.module)


def make_permanent(model: nn.Module) -> None:
    """Make plain parameters of all pruned ones within a module."""
    from torch.nn.utils import prune

    for module in model.modules():
        for name, _ in list(module.named_parameters(recurse=False)):
            plain = name.removesuffix("_orig")
            if plain != name and f"{plain}_mask" in dict(module.named_buffers(recurse=False)):
                prune.remove(module, plain)


def without_masks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a pruned model under their plain names, with zeros where they are pruned.

    Args:
        state: A ``state_dict``.

    Example:
        >>> without_masks({"a.weight_orig": torch.tensor([2.0, 3.0]), "a.weight_mask": torch.tensor([1.0, 0.0])})
        {'a.weight': tensor([2., 0.])}
    """
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        stem = name.removesuffix("_orig")
        if stem != name and f"{stem}_mask" in state:
            plain[stem] = state[f"{stem}_mask"].to(dtype=value.dtype) * value
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in state):
            plain[name] = value
    return plain


def _has(module: nn.Module, name: str) -> bool:
    own = dict(module.named_parameters(recurse=False))
    return name in own or f"{name}_orig" in own
