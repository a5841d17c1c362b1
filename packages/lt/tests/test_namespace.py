"""`import lt`: what it gives, and what it does not load."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import lt


def all_modules() -> list[str]:
    return ["lt", *(info.name for info in pkgutil.walk_packages(lt.__path__, "lt."))]


def run_python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", all_modules())
def test_every_module_says_what_it_exports(name: str) -> None:
    """Each name in `__all__` is there, and none twice."""
    module = importlib.import_module(name)

    exported = module.__all__

    assert len(exported) == len(set(exported))
    assert [each for each in exported if not hasattr(module, each)] == []


def test_every_submodule_is_reached_as_an_attribute() -> None:
    """`lt.callbacks` works without `import lt.callbacks`, and so for each package below `lt`."""
    below = {info.name for info in pkgutil.iter_modules(lt.__path__)} - {"__main__"}

    reached = {name for name in lt.__all__ if isinstance(getattr(lt, name), ModuleType)}

    assert reached == below


def test_an_unknown_name_is_an_attribute_error_that_lists_what_there_is() -> None:
    """A typing mistake shows the names to choose from."""
    with pytest.raises(AttributeError, match=r"no attribute 'Trainr'.*Trainer"):
        lt.Trainr  # noqa: B018


def test_the_classes_are_those_of_the_packages() -> None:
    """`lt` re-exports and adds nothing of its own."""
    import lt_core
    import lt_data
    import lt_loops

    assert lt.LightningModule is lt_core.LightningModule
    assert lt.Callback is lt_core.Callback
    assert lt.LightningDataModule is lt_data.LightningDataModule
    assert lt.Trainer is lt_loops.Trainer
    assert lt.seed_everything is lt_core.seed_everything


def test_importing_lt_and_all_its_modules_loads_no_optional_library() -> None:
    """Progress bars, TensorBoard, tables and launchers are imported where they are used, if they are."""
    program = """
import sys, torch
before = set(sys.modules)
import lt
lt.Trainer, lt.LightningDataModule, lt.callbacks, lt.loggers, lt.utilities
print(*sorted(set(sys.modules) - before))
"""
    heavy = ("matplotlib", "pandas", "rich", "sklearn", "tensorboard", "torchmetrics", "torchvision", "tqdm")
    launchers = ("torch.distributed.run", "torch.distributed.launcher", "torch.distributed.elastic")

    loaded = run_python(program).split()

    assert [name for name in loaded if name.split(".")[0] in heavy or name.startswith(launchers)] == []


def test_importing_lt_alone_loads_nothing_but_lt() -> None:
    """Its names are looked up when they are used: before that not even torch is there."""
    program = "import sys; import lt; print(*(m for m in sys.modules if m.split('.')[0] in ('torch', 'lt_core', 'lt')))"

    loaded = run_python(program).split()

    assert loaded == ["lt"]


def test_the_version_is_the_one_that_is_installed() -> None:
    """`lt.__version__` and the package's metadata agree."""
    from importlib.metadata import version

    assert lt.__version__ == version("lt")
