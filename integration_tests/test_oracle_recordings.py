"""The recordings belong to the scenarios, and say where they come from."""

from __future__ import annotations

import json

from oracle.scenario import RECORDINGS
from oracle.scenarios import SCENARIOS


def test_every_scenario_has_a_recording_and_every_recording_a_scenario() -> None:
    """A scenario that was renamed leaves nothing behind."""
    recorded = {path.stem for path in RECORDINGS.glob("*.json")}

    assert recorded == set(SCENARIOS)


def test_every_recording_names_the_version_and_the_command_it_was_made_with() -> None:
    """Whoever doubts a recording can make it again."""
    abouts = [json.loads(path.read_text())["about"] for path in RECORDINGS.glob("*.json")]

    assert {about["lightning"] for about in abouts} == {"2.6.6"}
    assert all(about["command"].startswith("python integration_tests/oracle/record.py") for about in abouts)


def test_every_deliberate_difference_describes_what_was_recorded() -> None:
    """A difference from something Lightning no longer does is an error, not a free pass."""
    expected = {name: scenario.expected() for name, scenario in SCENARIOS.items() if scenario.differences}

    assert expected
    assert all(facts != SCENARIOS[name].recorded() for name, facts in expected.items())
