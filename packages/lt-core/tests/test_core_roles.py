"""Roles: defaults that installed packages fill, found through real package metadata."""

import textwrap
from pathlib import Path

import pytest

from lt_core import roles
from lt_core.errors import MissingPackageError
from lt_core.roles import load_role, require_role


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a distribution with a module and entry points on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    roles._fillers.cache_clear()
    roles._warnings.clear()

    def put(distribution: str, module: str, source: str, **declared: str) -> None:
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "".join(f"{role} = {value}\n" for role, value in declared.items())
        (info / "entry_points.txt").write_text(f"[lt.defaults]\n{lines}")
        roles._fillers.cache_clear()

    yield put
    roles._fillers.cache_clear()


def test_role_is_filled_by_what_an_installed_package_declares(install):
    """The entry point is loaded when the role is asked for."""
    install("role-alpha", "role_alpha_module", "def make():\n    return 'made'\n", alpha="role_alpha_module:make")

    made = load_role("alpha")

    assert made is not None
    assert made() == "made"


def test_role_that_nobody_fills_is_none():
    """A trainer leaves it out."""
    assert load_role("a role nobody fills") is None


@pytest.mark.parametrize(
    ("role", "package"),
    [
        ("checkpoint", "lt-callbacks"),
        ("progress_bar", "lt-callbacks"),
        ("model_summary", "lt-callbacks"),
        ("timer", "lt-callbacks"),
        ("logger", "lt-loggers"),
    ],
)
def test_wanted_role_that_nobody_fills_is_an_error_with_the_install_line(monkeypatch, role, package):
    """The user asked for it by name, so leaving it out would be silent."""
    monkeypatch.setattr(roles, "_fillers", dict)

    with pytest.raises(MissingPackageError, match=rf"Trainer\(x=True\).*'{role}'.*`pip install {package}`"):
        require_role(role, "Trainer(x=True)")


def test_wanted_role_of_a_third_party_names_the_entry_point_group():
    """No package of lt's own fills it, so no install line would be right."""
    with pytest.raises(MissingPackageError, match=r"declares `theirs`.*`lt\.defaults`"):
        require_role("theirs", "Trainer(theirs=True)")


def test_wanted_role_that_is_filled_is_returned(install):
    """The same function as for a default."""
    install("role-beta", "role_beta_module", "class Made: ...\n", beta="role_beta_module:Made")

    assert require_role("beta", "Trainer()").__name__ == "Made"


def test_own_package_comes_first_and_the_others_are_named(install):
    """Two fill the role: the choice does not depend on the order on the path, and it is said."""
    install("aaa-bars", "role_their_bar", "def make():\n    return 'theirs'\n", gamma="role_their_bar:make")
    install("lt-callbacks", "role_our_bar", "def make():\n    return 'ours'\n", gamma="role_our_bar:make")

    with pytest.warns(UserWarning, match=r"`role_our_bar:make` is used and `role_their_bar:make` is not"):
        made = load_role("gamma")

    assert made is not None
    assert made() == "ours"


def test_same_declaration_twice_on_the_path_is_one(install, recwarn):
    """A package that is installed and also lies in the working tree is not two."""
    install("role-delta", "role_delta_module", "def make():\n    return 1\n", delta="role_delta_module:make")
    install("role-delta-again", "role_delta_module", "def make():\n    return 1\n", delta="role_delta_module:make")

    assert load_role("delta") is not None
    assert not recwarn.list


def test_filler_that_cannot_be_imported_says_what_is_missing(install):
    """The package is there, something it needs is not."""
    install("role-epsilon", "role_epsilon_module", "import no_such_library\n", epsilon="role_epsilon_module:make")

    with pytest.raises(MissingPackageError, match=r"no_such_library.*pip install role-epsilon"):
        load_role("epsilon")
