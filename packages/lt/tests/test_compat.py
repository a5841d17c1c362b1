"""The names of Lightning stand for lt's: which resolve, what is said of the others, and when the alias cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lt.compat.table import API_VERSION, TABLE, row_of

_NAMES = Path(__file__).with_name("compat_names.txt")
_WALK = """
import importlib, importlib.util, json, sys
import lt.compat
lt.compat.alias()
found = {}
for line in json.load(sys.stdin):
    module, _, name = line.partition(":")
    program = f"import {module}" if name == "*" else f"from {module} import {name}"
    try:
        exec(program, {})
    except ImportError as error:
        found[line] = str(error)
    else:
        found[line] = None
json.dump(found, sys.stdout)
"""


def listed_names() -> list[tuple[str, bool]]:
    """Return `module:name` of each listed name, and whether it is known to be missing."""
    lines = [line.split("#")[0].strip() for line in _NAMES.read_text(encoding="utf-8").splitlines()]
    pairs = (line.split(":") for line in lines if line)
    return [(f"{module}:{name.lstrip('!')}", name.startswith("!")) for module, names in pairs for name in names.split()]


def run_python(program: str, given: str = "") -> str:
    done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def walked() -> dict[str, str | None]:
    """What importing each listed name gives: None, or the message of the error. One process walks them all."""
    result: dict[str, str | None] = json.loads(run_python(_WALK, json.dumps([name for name, _ in listed_names()])))
    return result


def test_names_that_published_packages_and_old_programs_import_resolve(walked: dict[str, str | None]) -> None:
    """Each listed name without a mark is imported from its own module."""
    try:
        import torchmetrics  # noqa: F401
    except ModuleNotFoundError:
        walked = {name: message for name, message in walked.items() if "pytorch_lightning.metrics" not in name}

    failed = {name: walked[name] for name, missing in listed_names() if not missing and walked.get(name)}

    assert failed == {}


def test_the_list_of_missing_names_is_up_to_date(walked: dict[str, str | None]) -> None:
    """A name that lt has got loses its mark in `compat_names.txt`."""
    resolved = [name for name, missing in listed_names() if missing and walked[name] is None]

    assert resolved == [], (
        "lt has these now: take away their '!' in compat_names.txt and their row in lt.compat.missing"
    )


def test_the_message_of_a_missing_name_says_when_it_existed_and_what_to_write_instead(
    walked: dict[str, str | None],
) -> None:
    """Each name that is known to be missing has its row in the table of reasons."""
    unexplained = [
        name for name, missing in listed_names() if missing and "(Lightning had it: " not in (walked[name] or "")
    ]

    assert unexplained == []


def test_every_row_of_the_table_points_at_something_that_exists() -> None:
    """No source and no renamed name of the table is misspelled."""
    program = """
import importlib, json
from lt.compat.table import TABLE
wrong = []
for path, row in TABLE.items():
    homes = [(source, None) for source in row.sources] + [tuple(home.split(":")) for home in row.names.values()]
    for module, name in homes:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in ("torchmetrics", "tqdm"):
                wrong.append([path, module])
        else:
            if name is not None and not hasattr(found, name):
                wrong.append([path, module, name])
print(json.dumps(wrong))
"""

    wrong = json.loads(run_python(program))

    assert wrong == []


def test_the_objects_are_those_of_lt_under_every_root() -> None:
    """Classes met under an old name are the same classes, and submodules are reached as attributes."""
    program = """
import lt.compat
lt.compat.alias()
import lightning as L, lightning.pytorch as new, pytorch_lightning as pl, lt
assert pl.Trainer is new.Trainer is L.Trainer is L.pytorch.Trainer is lt.Trainer
assert pl.callbacks.model_checkpoint.ModelCheckpoint is lt.callbacks.ModelCheckpoint
assert pl.core.lightning.LightningModule is lt.LightningModule
from pytorch_lightning.loggers.base import LightningLoggerBase
assert LightningLoggerBase is lt.loggers.Logger
assert pl.__version__ == new.__version__ == L.__version__ == "2.6.6", pl.__version__
assert "Trainer" in dir(pl) and not hasattr(pl, "compat") and not hasattr(pl, "data")
namespace = {}
exec("from pytorch_lightning import *", namespace)
assert namespace["Trainer"] is lt.Trainer and "compat" not in namespace
"""

    run_python(program)


def test_an_import_under_an_old_name_loads_no_more_than_lt_itself() -> None:
    """`import pytorch_lightning` is as light as `import lt`: torch comes with the first use."""
    program = """
import sys
import lt.compat
lt.compat.alias()
import pytorch_lightning
assert "torch" not in sys.modules
assert "lt.callbacks" not in sys.modules
"""

    run_python(program)


def test_a_missing_name_is_the_error_that_programs_expect_with_the_nearest_names() -> None:
    """Imports raise ModuleNotFoundError, attributes AttributeError, so that fallbacks in existing code work."""
    program = """
import lt.compat
lt.compat.alias()
import pytorch_lightning as pl
def message_of(call, kind):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError("no error")
text = message_of(lambda: __import__("pytorch_lightning.callbacks", fromlist=["EarlyStoping"]), ModuleNotFoundError)
assert "no 'EarlyStoping'" in text and "did you mean EarlyStopping" in text, text
text = message_of(lambda: pl.callbacks.GPUStatsMonitor, AttributeError)
assert "1.0 to 1.8" in text and "DeviceStatsMonitor" in text, text
assert getattr(pl.callbacks, "GPUStatsMonitor", None) is None
text = message_of(lambda: __import__("pytorch_lightning.callbaks"), ModuleNotFoundError)
assert "did you mean callbacks" in text, text
try:
    from pytorch_lightning.callbacks import NoSuchThing
except ModuleNotFoundError as error:
    assert "whether a release of Lightning had it is not recorded" in str(error), error
else:
    raise AssertionError("no error")
"""

    run_python(program)


def test_alias_wins_over_an_installed_lightning_and_comes_too_late_after_it(tmp_path: Path) -> None:
    """Before its import the installed package is never reached; after it, the alias says that it is too late."""
    for name in ("lightning", "pytorch_lightning"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("__version__ = 'installed'\n", encoding="utf-8")
    before = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import lt.compat
lt.compat.alias()
lt.compat.alias()
import lightning, pytorch_lightning
assert lightning.__version__ == pytorch_lightning.__version__ == "2.6.6"
"""
    after = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import pytorch_lightning, lt
from lt.utilities.exceptions import MisconfigurationException
try:
    lt.compat.alias()
except MisconfigurationException as error:
    assert "'pytorch_lightning' was imported already" in str(error) and "lt run" in str(error), error
else:
    raise AssertionError("no error")
assert pytorch_lightning.__version__ == "installed"
"""

    run_python(before)
    run_python(after)


def test_a_module_of_lt_that_lightning_never_had_is_not_found_under_its_names() -> None:
    """The alias is no second name for everything in lt."""
    rows: list[Any] = [row_of(f"pytorch_lightning.{name}") for name in ("compat", "compat.table", "data", "__main__")]

    assert rows == [None, None, None, None]


def test_the_version_is_that_of_the_checkpoint_files() -> None:
    """`pytorch_lightning.__version__` and `pytorch-lightning_version` in a checkpoint say the same."""
    from lt_core.checkpoint import API_VERSION as OF_CHECKPOINTS

    assert API_VERSION == OF_CHECKPOINTS
    assert all("__version__" in TABLE[root].names for root in ("lightning", "lightning.pytorch", "lightning.fabric"))
