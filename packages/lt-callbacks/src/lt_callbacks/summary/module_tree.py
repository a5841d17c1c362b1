"""A module's parts in one pass: names, parents, and which parts have more than one place.

Big models have ten thousand modules and more. What a summary asks of them (names, modes, counts) is answered from
this one walk, instead of one walk for each question or, worse, for each module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ModuleTree"]


class ModuleTree:
    """The distinct modules below and including a root, parents before children, in the order of ``named_modules``.

    Attributes:
        modules: The modules.
        parents: The position of the first parent of each; -1 for the root.
        further_parents: For modules that are registered more than once, the positions of their other parents.
        shown: Name and position of the modules down to the depth that was asked for, without the root.

    Args:
        root: The module to look into.
        max_depth: How many levels `shown` has; -1 for all.

    Example:
        >>> from torch import nn
        >>> tree = ModuleTree(nn.Sequential(nn.Sequential(nn.ReLU()), nn.ReLU()), max_depth=1)
        >>> tree.shown, tree.parents
        ([('0', 1), ('1', 3)], [-1, 0, 1, 0])
    """

    def __init__(self, root: nn.Module, max_depth: int = -1) -> None:
        self.modules: list[nn.Module] = []
        self.parents: list[int] = []
        self.further_parents: dict[int, list[int]] = {}
        self.shown: list[tuple[str, int]] = []
        position: dict[int, int] = {}
        deepest = max_depth if max_depth >= 0 else float("inf")
        waiting: list[tuple[str, nn.Module, int, int]] = [("", root, -1, 0)]
        while waiting:
            name, module, parent, depth = waiting.pop()
            known = position.get(id(module))
            if known is not None:
                self.further_parents.setdefault(known, []).append(parent)
                continue
            here = position[id(module)] = len(self.modules)
            self.modules.append(module)
            self.parents.append(parent)
            if 0 < depth <= deepest:
                self.shown.append((name, here))
            children = module._modules  # noqa: SLF001 - the public iterators hide what is registered twice
            if children:
                prefix = f"{name}." if name else ""
                named = depth < deepest
                for key, child in reversed(list(children.items())):
                    if child is not None:
                        waiting.append((prefix + key if named else "", child, here, depth + 1))

    def ancestors(self, positions: list[int]) -> set[int]:
        """Return the positions of modules and of all that they are in, each once.

        Args:
            positions: Where to begin; they are part of the answer.
        """
        found: set[int] = set()
        waiting = list(positions)
        while waiting:
            here = waiting.pop()
            if here < 0 or here in found:
                continue
            found.add(here)
            waiting.append(self.parents[here])
            waiting += self.further_parents.get(here, ())
        return found
