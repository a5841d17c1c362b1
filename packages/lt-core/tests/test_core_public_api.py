"""What `lt_core` offers by name, the errors and callbacks it is made of, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lt_core
import lt_core.testing
from lt_core import Callback, Checkpoint, errors


@pytest.mark.parametrize("module", [lt_core, lt_core.testing, lt_core.errors])
def test_the_public_names_are_sorted_and_exist(module) -> None:
    """`__all__` holds no name twice and none that is missing."""
    names = module.__all__

    assert names == sorted(set(names))
    assert all(hasattr(module, name) for name in names)


def test_importing_loads_no_optional_library() -> None:
    """Heavy libraries are imported where they are used, and the testing parts only by those who test."""
    code = "import sys, torch; before = set(sys.modules); import lt_core; print(*sorted(set(sys.modules) - before))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    loaded = {name.split(".")[0] for name in output.split()}
    assert "lt_core" in loaded
    assert loaded.isdisjoint({"numpy", "yaml", "rich", "tqdm", "pandas", "torchmetrics", "tensorboard", "pytest"})
    assert "lt_core.testing" not in output.split()
    assert "lt_core.export" not in output.split()


def test_every_error_has_the_one_root() -> None:
    """`except LtError` catches all that lt raises on its own account, and built-in kinds still match."""
    kinds = [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]

    assert {kind.__name__ for kind in kinds if not issubclass(kind, errors.LtError)} == {"SIGTERMException"}
    assert issubclass(errors.MisconfigurationValueError, ValueError)
    assert issubclass(errors.MisconfigurationTypeError, TypeError)
    assert issubclass(errors.MissingPackageError, ModuleNotFoundError)
    assert errors.SIGTERMException().code == 143


def test_several_problems_become_one_error_and_one_keeps_its_kind() -> None:
    """So that `except ValueError` still catches a single one."""
    one, two = errors.MisconfigurationValueError("first"), errors.MisconfigurationException("second")

    assert errors.problems_error([one]) is one
    together = errors.problems_error([one, two])
    assert isinstance(together, errors.MisconfigurationException)
    assert "first" in str(together)
    assert "second" in str(together)


def test_a_callback_has_a_state_key_of_its_class_or_its_arguments() -> None:
    """The class name by default; with arguments when it says so."""

    class Watching(Callback):
        @property
        def state_key(self) -> str:
            return self._generate_state_key(monitor="loss")

    assert Callback().state_key == "Callback"
    assert Watching().state_key.endswith("Watching{'monitor': 'loss'}")
    assert Callback().state_dict() == {}
    assert Callback().uses_hook("on_train_start")
    assert Checkpoint.role == "checkpoint"
    assert Checkpoint.monitors
