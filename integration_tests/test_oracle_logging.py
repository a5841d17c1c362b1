"""Logged values reach the dictionaries and the loggers as they do under Lightning."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle.scenario import Scenario, explain
from oracle.scenarios import in_group

import lt as pl

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("scenario", in_group("logging"), ids=lambda scenario: scenario.name)
def test_lt_does_what_lightning_was_recorded_doing(scenario: Scenario, tmp_path: Path) -> None:
    """The facts under lt are those of the recording, save for the differences that the scenario names."""
    expected = scenario.expected()

    got = scenario.facts(pl, tmp_path)

    assert got == expected, "\n" + explain(expected, got)
