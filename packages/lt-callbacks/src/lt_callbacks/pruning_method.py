"""Which of torch's ways to prune is meant, and how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lt_core.errors import (
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    did_you_mean,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = ["PruningMethod", "resolve_method"]

# The classes of torch.nn.utils.prune by the names of its functions.
_CLASSES = {
    "ln_structured": "LnStructured",
    "l1_unstructured": "L1Unstructured",
    "random_structured": "RandomStructured",
    "random_unstructured": "RandomUnstructured",
}


@dataclass(frozen=True)
class PruningMethod:
    """A way to prune.

    Attributes:
        name: What messages call it.
        function: A class that prunes several parameters together, or a function that prunes one.
        together: Which of the two it is.
        options: Further arguments of it.
    """

    name: str
    function: Callable[..., Any]
    together: bool
    options: dict[str, Any] = field(default_factory=dict)

    def apply(self, parameters: Sequence[tuple[nn.Module, str]], amount: int | float) -> None:
        """Prune.

        Args:
            parameters: Pairs of a module and the name of its parameter.
            amount: How much of what is left.
        """
        from torch.nn.utils import prune

        if not self.together:
            for module, name in parameters:
                self.function(module, name=name, amount=amount, **self.options)
            return
        known = set(inspect.signature(self.function).parameters)
        options = {key: value for key, value in {**self.options, "amount": amount}.items() if key in known}
        prune.global_unstructured(parameters, pruning_method=self.function, **options)


def resolve_method(given: Any, *, dim: int | None, norm: int | None, together: bool) -> PruningMethod:
    """Return the way to prune that the user means.

    Args:
        given: The name of a function of `torch.nn.utils.prune`, or a subclass of its ``BasePruningMethod``.
        dim: For structured pruning.
        norm: For ``ln_structured``.
        together: Whether all parameters are pruned together.

    Raises:
        MisconfigurationException: There is no such way, or it does not go with the other arguments.
    """
    from torch.nn.utils import prune

    if isinstance(given, str):
        return _by_name(given.lower(), dim, norm, together=together)
    if not (inspect.isclass(given) and issubclass(given, prune.BasePruningMethod)):
        raise MisconfigurationTypeError(
            f"ModelPruning got pruning_fn={given!r}; `pruning_fn` is expected to be a str in {list(_CLASSES)} or a"
            " PyTorch `BasePruningMethod`. Pass the class, not an instance, or write `pruning_fn='l1_unstructured'`."
        )
    if not together:
        raise MisconfigurationException(
            f"ModelPruning got the class {given.__name__} and use_global_unstructured=False; PyTorch"
            " `BasePruningMethod` is currently only supported with `use_global_unstructured=True`. Leave that argument"
            " out, or write `pruning_fn='l1_unstructured'`."
        )
    _check_kind(given)
    return PruningMethod(given.__name__, given, together=True)


def _by_name(name: str, dim: int | None, norm: int | None, *, together: bool) -> PruningMethod:
    from torch.nn.utils import prune

    if name not in _CLASSES:
        raise MisconfigurationValueError(
            f"The provided `pruning_fn` {name} isn't available in PyTorch's built-in functions: {list(_CLASSES)}."
            f"{did_you_mean(name, _CLASSES)} Write `pruning_fn='l1_unstructured'`."
        )
    options: dict[str, Any] = {}
    if name.endswith("_structured"):
        if dim is None:
            raise MisconfigurationException(
                f"ModelPruning got pruning_fn={name!r} and no dimension. When requesting `structured` pruning, the"
                " `pruning_dim` should be provided. Write `pruning_dim=0` to prune whole rows of a weight."
            )
        options["dim"] = dim
    if name == "ln_structured":
        if norm is None:
            raise MisconfigurationException(
                "ModelPruning got pruning_fn='ln_structured' and no norm. When requesting `ln_structured` pruning, the"
                " `pruning_norm` should be provided. Write `pruning_norm=2`."
            )
        options["n"] = norm
    kind = getattr(prune, _CLASSES[name])
    if together:
        _check_kind(kind)
        return PruningMethod(kind.__name__, kind, together=True, options=options)
    return PruningMethod(name, getattr(prune, name), together=False, options=options)


def _check_kind(method: Any) -> None:
    if method.PRUNING_TYPE != "unstructured":
        raise MisconfigurationException(
            f'ModelPruning got {method.__name__}, of type {method.PRUNING_TYPE!r}. Only the "unstructured"'
            " PRUNING_TYPE is supported with `use_global_unstructured=True`. Write `use_global_unstructured=False`."
        )
