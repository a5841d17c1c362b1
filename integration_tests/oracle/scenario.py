"""A scenario, its deliberate differences, and the registry of all scenarios.

A scenario is written once against `pl`, a module with the public names of `lightning.pytorch`, and returns facts that
JSON can hold. Where lt differs on purpose the scenario says so itself, as a `Difference`: the comparison stays exact,
and a difference that no longer describes the recording is an error.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"

Facts = dict[str, Any]
Body = Callable[[ModuleType, Path], Facts]


@dataclass(frozen=True)
class Difference:
    """One place where lt does not do what Lightning does.

    Args:
        where: Keys into the facts, from the outside in.
        lightning: What Lightning gives there; where the facts hold a list, a run of neighbours in it.
        lt: What lt gives instead.
        why: The reason, one sentence, as `docs/differences.md` tells it.
    """

    where: tuple[str | int, ...]
    lightning: Any
    lt: Any
    why: str

    def apply(self, facts: Facts) -> None:
        """Turn `facts` of Lightning into what lt has to give, in place."""
        holder: Any = facts
        for key in self.where[:-1]:
            holder = holder[key]
        last = self.where[-1]
        here = holder[last]
        if not isinstance(here, list) or not isinstance(self.lightning, list):
            if here != self.lightning:
                raise AssertionError(
                    f"{self.where}: Lightning gave {here!r}, the difference speaks of {self.lightning!r}"
                )
            holder[last] = self.lt
            return
        width = len(self.lightning)
        starts = [i for i in range(len(here) - width + 1) if here[i : i + width] == self.lightning]
        if len(starts) != 1:
            raise AssertionError(f"{self.where}: {self.lightning!r} is there {len(starts)} times, expected once")
        here[starts[0] : starts[0] + width] = self.lt


@dataclass(frozen=True)
class Scenario:
    """A named piece of use and the facts it leaves.

    Args:
        name: The name of its recording.
        group: Which test file compares it: "hooks", "logging" or "counters".
        body: Runs the scenario under the given module in the given empty folder.
        differences: Where lt gives something else on purpose.
    """

    name: str
    group: str
    body: Body
    differences: tuple[Difference, ...] = field(default=())

    def facts(self, pl: ModuleType, folder: Path) -> Facts:
        """Run under `pl` and return the facts as JSON gives them back."""
        return json.loads(json.dumps(self.body(pl, folder)))

    def recorded(self) -> Facts:
        """What Lightning gave."""
        return json.loads((RECORDINGS / f"{self.name}.json").read_text())["facts"]

    def expected(self) -> Facts:
        """What lt has to give: the recording, with the deliberate differences put in."""
        facts = copy.deepcopy(self.recorded())
        for difference in self.differences:
            difference.apply(facts)
        return facts


SCENARIOS: dict[str, Scenario] = {}


def scenario(group: str, *differences: Difference) -> Callable[[Body], Body]:
    """Register the decorated function as the scenario of its name."""

    def register(body: Body) -> Body:
        SCENARIOS[body.__name__] = Scenario(body.__name__, group, body, differences)
        return body

    return register


def compact(facts: Any) -> str:
    """JSON with one short thing a line, so that a change reads as a line of a diff."""

    def render(value: Any, indent: str) -> str:
        flat = json.dumps(value, sort_keys=isinstance(value, dict))
        if not isinstance(value, (list, dict)) or len(flat) + len(indent) <= 118:
            return flat
        inner = indent + " "
        if isinstance(value, list):
            return "[\n" + ",\n".join(inner + render(each, inner) for each in value) + f"\n{indent}]"
        pairs = (f"{inner}{json.dumps(key)}: {render(value[key], inner)}" for key in sorted(value))
        return "{\n" + ",\n".join(pairs) + f"\n{indent}}}"

    return render(facts, "")


def explain(expected: Facts, got: Facts) -> str:
    """The difference between two sets of facts, as a unified diff."""
    lines = difflib.unified_diff(
        compact(expected).splitlines(), compact(got).splitlines(), "expected", "got", lineterm="", n=4
    )
    return "\n".join(lines)
