"""All scenarios, by name: importing this module registers them."""

from __future__ import annotations

from oracle import counters, hook_modes, hook_order, log_rows, logging_rules, stopping
from oracle.scenario import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "counters", "hook_modes", "hook_order", "in_group", "log_rows", "logging_rules", "stopping"]


def in_group(group: str) -> list[Scenario]:
    """The scenarios of one test file."""
    return [each for each in SCENARIOS.values() if each.group == group]
