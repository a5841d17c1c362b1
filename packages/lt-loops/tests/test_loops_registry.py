"""Tests of the registry by which names are found."""

import sys
from pathlib import Path

import pytest

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MissingPackageError
from lt_loops.registry import Registry


def install_package(folder: Path, module: str, code: str, entry_points: str) -> None:
    """Lay out an installed distribution as pip does: a module, and metadata that declares entry points."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path for installed packages."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_name_makes_a_new_thing_with_the_registered_arguments():
    """Every look-up calls the class with what was registered for the name."""
    registry = Registry("list")
    registry.register("pair", dict, "two of them", a=1, b=2)

    first, second = registry.get("pair"), registry.get("pair")

    assert first == second == {"a": 1, "b": 2}
    assert first is not second
    assert registry.description("pair") == "two of them"
    assert registry.factory("pair") is dict


def test_register_decorates_a_class_and_leaves_it_usable():
    """Without a class, `register` is a decorator that returns what it is put on."""
    registry = Registry("strategy")

    @registry.register("mine", description="my own", size=3)
    class Mine:
        def __init__(self, size: int) -> None:
            self.size = size

    assert registry.get("mine").size == 3
    assert Mine(1).size == 1


def test_a_taken_name_is_an_error_unless_overridden():
    """The first owner keeps a name until somebody says so."""
    registry = Registry("strategy")
    registry.register("mine", list)

    with pytest.raises(MisconfigurationException, match=r"'mine' is registered already.*override=True"):
        registry.register("mine", dict)
    registry.register("mine", dict, override=True)

    assert registry.get("mine") == {}


def test_an_unknown_name_is_answered_with_the_nearest_and_all_others():
    """The message helps with a misspelling."""
    registry = Registry("strategy", "lt.no_such_group")
    registry.register("single_device", list)
    registry.register("ddp", list)

    with pytest.raises(
        ValueError, match=r"no strategy 'single-device'.*ddp, single_device.*mean `single_device`"
    ) as info:
        registry.get("single-device")

    assert isinstance(info.value, MisconfigurationException)
    assert "lt.no_such_group" in str(info.value)


def test_a_removed_name_is_unknown():
    """Removing forgets; removing twice is an error."""
    registry = Registry("strategy")
    registry.register("mine", list)

    registry.remove("mine")

    assert "mine" not in registry
    assert list(registry) == []
    with pytest.raises(ValueError, match="no strategy 'mine'"):
        registry.remove("mine")


@pytest.mark.parametrize("name", ["", None, 3])
def test_what_is_no_name_cannot_be_registered(name):
    """A name is a string that is not empty."""
    with pytest.raises(MisconfigurationTypeError, match="A name was expected"):
        Registry("strategy").register(name, list)


def test_an_instance_cannot_be_registered():
    """What is registered must be callable: the class, not an instance."""
    with pytest.raises(MisconfigurationTypeError, match="register the class, not an instance"):
        Registry("strategy").register("mine", [1, 2])


def test_an_installed_package_adds_a_name_by_an_entry_point(site: Path):
    """A third party's class is found by the name that its distribution declares."""
    install_package(
        site, "third_party", "class Theirs:\n    speed = 7\n", "[lt.testing]\ntheirs = third_party:Theirs\n"
    )
    registry = Registry("strategy", "lt.testing")

    assert "theirs" in registry
    assert registry.available() == ["theirs"]
    assert registry.get("theirs").speed == 7


def test_a_registered_name_is_found_without_importing_any_package(site: Path):
    """Entry points are imported only for names that are not registered."""
    install_package(
        site, "third_party_two", "raise RuntimeError('imported')\n", "[lt.testing]\nown = third_party_two:A\n"
    )
    registry = Registry("strategy", "lt.testing")
    registry.register("own", list)

    assert registry.get("own") == []
    assert registry.available() == ["own"]
    assert "third_party_two" not in sys.modules


def test_a_package_that_cannot_be_imported_is_named_with_its_install_line(site: Path):
    """A broken third party is reported as such, with its cause."""
    install_package(
        site, "third_party_three", "import no_such_module_at_all\n", "[lt.testing]\nx = third_party_three:A\n"
    )
    registry = Registry("strategy", "lt.testing")

    with pytest.raises(MissingPackageError, match=r"no_such_module_at_all.*pip install third_party_three"):
        registry.get("x")
