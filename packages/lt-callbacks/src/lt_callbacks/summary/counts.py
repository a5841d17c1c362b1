"""Counts parameters once each, however often they are shared, in one pass over the modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

from lt_callbacks.summary.module_tree import ModuleTree
from lt_callbacks.summary.stored_size import packed_tensors, stored_size
from lt_core.rank_zero import WarningCache

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ParameterCounts", "count_parameters", "human_readable"]

_UNITS = (" ", "K", "M", "B", "T")
_DIGITS_PER_UNIT = 3
_warnings = WarningCache()


@dataclass(frozen=True)
class ParameterCounts:
    """The parameters of a module, each counted once however often it is shared.

    Attributes:
        total: All elements.
        trainable: Those that require gradients.
        size_in_bytes: Their memory, each parameter as it is stored.
        outside_layers: The elements of direct parameters of the module that are in no layer of it.
        by_module: The elements in each module, what is below it included.
    """

    total: int
    trainable: int
    size_in_bytes: int
    outside_layers: int
    by_module: dict[nn.Module, int]


@dataclass
class _Count:
    """What is known of the parameters while the modules are gone through.

    Args:
        within: The elements by module; first those that have one place, later all.
        place: The first module that owns each parameter, by the parameter's identity.
        sizes: The elements of each parameter, by its identity.
        shared: All modules that own a parameter, by its identity, if there is more than one place.
        trainable: The elements that require gradients.
        size_in_bytes: The memory.
        lazy: Whether there are parameters without a shape.
    """

    within: list[int]
    place: dict[int, int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    shared: dict[int, list[int]] = field(default_factory=dict)
    trainable: int = 0
    size_in_bytes: int = 0
    lazy: bool = False

    def add(self, tensor: Tensor, position: int, *, trainable: bool) -> None:
        """Take note of a parameter at one of its places."""
        key = id(tensor)
        if key in self.place:
            self.shared.setdefault(key, [self.place[key]]).append(position)
            return
        elements, in_bytes = stored_size(tensor)
        self.place[key] = position
        self.sizes[key] = elements
        self.size_in_bytes += in_bytes
        if trainable:
            self.trainable += elements
        if not elements:
            self.lazy = self.lazy or nn.parameter.is_lazy(tensor)


def count_parameters(root: nn.Module, tree: ModuleTree | None = None) -> ParameterCounts:
    """Count in one pass over the modules.

    What has one place is added up from the leaves to the root. What is shared, by a parameter or a module that is
    registered twice, is added once to each module that it is in.

    Args:
        root: The module to look into.
        tree: Its parts, if they are known already.

    Example:
        >>> counts = count_parameters(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)))
        >>> counts.total, counts.size_in_bytes, list(counts.by_module.values())
        (13, 52, [13, 9, 4])
    """
    tree = tree or ModuleTree(root)
    count = _Count([0] * len(tree.modules))
    for position, module in enumerate(tree.modules):
        for parameter in module._parameters.values():  # noqa: SLF001 - the public iterators hide what is shared
            if parameter is not None:
                count.add(parameter, position, trainable=parameter.requires_grad)
    packed = list(packed_tensors(tree.modules))  # a list, so that no identity is given twice
    for position, tensor in packed:
        count.add(tensor, position, trainable=False)
    _add_up(tree, count)
    if count.lazy:
        _warnings.warn(
            "The model summary counts 0 for parameters whose shape is not known before the first forward pass. Set"
            " `example_input_array` on the module to have them counted."
        )
    outside = (key for key, place in count.place.items() if place == 0 and not any(count.shared.get(key, ())))
    return ParameterCounts(
        total=sum(count.sizes.values()),
        trainable=count.trainable,
        size_in_bytes=count.size_in_bytes,
        outside_layers=sum(count.sizes[key] for key in outside),
        by_module=dict(zip(tree.modules, count.within, strict=True)),
    )


def _add_up(tree: ModuleTree, count: _Count) -> None:
    """Turn the places of parameters into the elements in each module."""
    parents, within = tree.parents, count.within
    places = dict(count.shared)
    if tree.further_parents:
        twice = [False] * len(parents)
        # Parents come before their children.
        for position, parent in enumerate(parents):
            twice[position] = position in tree.further_parents or (parent >= 0 and twice[parent])
        places.update({key: [place] for key, place in count.place.items() if twice[place] and key not in places})
    for key, place in count.place.items():
        if key not in places:
            within[place] += count.sizes[key]
    for position in range(len(parents) - 1, 0, -1):
        within[parents[position]] += within[position]
    for key, positions in places.items():
        for position in tree.ancestors(positions):
            within[position] += count.sizes[key]


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
