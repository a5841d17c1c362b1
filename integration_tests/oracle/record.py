"""Run the scenarios under Lightning and write, or check, what it does.

    python integration_tests/oracle/record.py             # writes every recording
    python integration_tests/oracle/record.py NAME...     # writes those named
    python integration_tests/oracle/record.py --check     # writes nothing, says what has changed

Lightning is needed here only: the tests read the recordings.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.scenario import RECORDINGS, Scenario, compact, explain
from oracle.scenarios import SCENARIOS

COMMAND = "python integration_tests/oracle/record.py"


def run(scenario: Scenario, *, check: bool) -> bool:
    """Record or check one scenario under Lightning; True when nothing has changed."""
    lightning = importlib.import_module("lightning.pytorch")
    with tempfile.TemporaryDirectory() as folder:
        facts = scenario.facts(lightning, Path(folder))
    target = RECORDINGS / f"{scenario.name}.json"
    if check:
        change = explain(scenario.recorded(), facts) if target.exists() else "never recorded"
        if change:
            print(f"{scenario.name}\n{change}")
        return not change
    about = {"lightning": lightning.__version__, "torch": torch.__version__.split("+")[0], "command": COMMAND}
    body = f'{{\n"about": {json.dumps(about)},\n"facts":\n{compact(facts)}\n}}\n'
    target.write_text(body)
    scenario.expected()
    return True


def main() -> int:
    """Run the scenarios named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="compare with the recordings and write nothing")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    RECORDINGS.mkdir(exist_ok=True)
    names = arguments.names or sorted(SCENARIOS)
    same = [run(SCENARIOS[name], check=arguments.check) for name in names]
    print(f"{len(names)} scenarios, {same.count(False)} changed")
    return 0 if all(same) else 1


if __name__ == "__main__":
    raise SystemExit(main())
