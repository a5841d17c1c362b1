"""Counts parameters once each, however often they are shared, in one pass over the modules."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from lt_core.rank_zero import WarningCache

__all__ = ["count_bytes", "count_parameters", "human_readable", "parameters_by_module"]

_UNITS = (" ", "K", "M", "B", "T")
_DIGITS_PER_UNIT = 3
_warnings = WarningCache()


def _numel(parameter: nn.Parameter) -> int:
    """Return a parameter's elements; over all devices if it is sharded, 0 if its shape is not known yet."""
    if isinstance(parameter, nn.parameter.UninitializedParameter):
        _warnings.warn(
            "The model summary counts 0 for parameters whose shape is not known before the first forward pass. Set"
            " `example_input_array` on the module to have them counted."
        )
        return 0
    return parameter.numel()


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """Return the number of elements of parameters.

    Example:
        >>> count_parameters(nn.Linear(2, 3).parameters())
        9
    """
    return sum(map(_numel, parameters))


def count_bytes(parameters: Iterable[nn.Parameter]) -> int:
    """Return the memory of parameters in bytes, each in its own precision.

    Example:
        >>> count_bytes(nn.Linear(2, 3, dtype=torch.bfloat16).parameters())
        18
    """
    return sum(_numel(parameter) * parameter.element_size() for parameter in parameters if _numel(parameter))


def parameters_by_module(root: nn.Module) -> dict[nn.Module, int]:
    """Return for each module below and including ``root`` the elements of the distinct parameters in it.

    Without sharing, which is the common case, a module's count is the sum of its children's and its own, so that one
    pass suffices; with sharing each module is counted by itself.

    Args:
        root: The module to look into.
    """
    modules = list(root.modules())
    registered = sum(len(_own(module)) for module in modules)
    places = 1 + sum(len(_children(module)) for module in modules)
    if places != len(modules) or registered != sum(1 for _ in root.parameters()):
        return {module: count_parameters(module.parameters()) for module in modules}
    counts: dict[nn.Module, int] = {}
    # `modules` lists parents before their children.
    for module in reversed(modules):
        own = sum(_numel(parameter) for parameter in _own(module))
        counts[module] = own + sum(counts[child] for child in _children(module))
    return counts


def human_readable(number: int) -> str:
    """Write a count with at most three digits before its unit.

    Example:
        >>> [human_readable(n) for n in (123, 1234, 2_000_000, 3_000_000_000, 4 * 10**14, 5 * 10**15)]
        ['123  ', '1.2 K', '2.0 M', '3.0 B', '400 T', '5,000 T']
    """
    if number < 0:
        raise ValueError(f"human_readable got {number!r}; expected a count of 0 or more. Pass a positive number.")
    unit = min((len(str(int(number))) - 1) // _DIGITS_PER_UNIT, len(_UNITS) - 1)
    scaled = number / 10 ** (_DIGITS_PER_UNIT * unit)
    whole = unit == 0 or scaled >= 100
    return f"{int(scaled):,d} {_UNITS[unit]}" if whole else f"{scaled:,.1f} {_UNITS[unit]}"


def _own(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for _, parameter in module.named_parameters(recurse=False, remove_duplicate=False)]


def _children(module: nn.Module) -> list[nn.Module]:
    return [child for child in module._modules.values() if child is not None]  # noqa: SLF001 - children() hides repeats
