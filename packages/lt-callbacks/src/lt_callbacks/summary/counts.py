"""Counts parameters once each, however often they are shared, in one pass over the modules."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lt_core.rank_zero import WarningCache

__all__ = ["ParameterCounts", "count_parameters", "human_readable"]

_UNITS = (" ", "K", "M", "B", "T")
_DIGITS_PER_UNIT = 3
_warnings = WarningCache()


def _numel(parameter: nn.Parameter) -> int:
    """Return a parameter's elements; over all devices if it is sharded, 0 if its shape is not known yet."""
    if nn.parameter.is_lazy(parameter):
        _warnings.warn(
            "The model summary counts 0 for parameters whose shape is not known before the first forward pass. Set"
            " `example_input_array` on the module to have them counted."
        )
        return 0
    return parameter.numel()


@dataclass(frozen=True)
class ParameterCounts:
    """The parameters of a module, each counted once however often it is shared.

    Attributes:
        total: All elements.
        trainable: Those that require gradients.
        size_in_bytes: Their memory, each parameter in its own precision.
        outside_layers: The elements of direct parameters of the module that are in no layer of it.
        by_module: The elements in each module, what is below it included.
    """

    total: int
    trainable: int
    size_in_bytes: int
    outside_layers: int
    by_module: dict[nn.Module, int]


def count_parameters(root: nn.Module) -> ParameterCounts:
    """Count in one pass over the modules.

    Without sharing, which is the common case, a module's count is the sum of its children's and its own; with sharing
    each module is looked into by itself.

    Args:
        root: The module to look into.

    Example:
        >>> counts = count_parameters(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)))
        >>> counts.total, counts.size_in_bytes, list(counts.by_module.values())
        (13, 52, [4, 9, 13])
    """
    modules = list(root.modules())
    own = {module: [each for each in module._parameters.values() if each is not None] for module in modules}  # noqa: SLF001 - the public iterators hide what is shared, and cost ten times as much
    children = {module: [each for each in module._modules.values() if each is not None] for module in modules}  # noqa: SLF001 - as above
    distinct = {id(each): each for parameters in own.values() for each in parameters}
    sizes = {key: _numel(parameter) for key, parameter in distinct.items()}
    is_shared = len(distinct) != sum(map(len, own.values())) or len(modules) != 1 + sum(map(len, children.values()))
    by_module: dict[nn.Module, int] = {}
    # `modules` lists parents before their children.
    for module in reversed(modules):
        if is_shared:
            by_module[module] = sum(sizes[id(each)] for each in module.parameters())
        else:
            by_module[module] = sum(sizes[id(each)] for each in own[module])
            by_module[module] += sum(by_module[child] for child in children[module])
    in_layers = {id(each) for module in modules[1:] for each in own[module]}
    return ParameterCounts(
        total=sum(sizes.values()),
        trainable=sum(sizes[key] for key, each in distinct.items() if each.requires_grad),
        size_in_bytes=sum(sizes[key] * each.element_size() for key, each in distinct.items() if sizes[key]),
        outside_layers=sum(sizes[id(each)] for each in set(own[root]) if id(each) not in in_layers),
        by_module=by_module,
    )


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
