"""The sessions of the workspace, each one promise; plain `nox` is what must pass before a merge.

The packages are whatever stands under `packages/`, and what an environment holds is read from the `pyproject.toml`
files, so that nothing is said twice. nox and uv are all that has to be there beforehand: see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "isolation", "tests"]
nox.options.error_on_missing_interpreters = True

# nox itself may have been found through PYTHONPATH; the environments it makes must see only what they hold.
os.environ.pop("PYTHONPATH", None)

ROOT = Path(__file__).parent
WORKSPACE = nox.project.load_toml(ROOT / "pyproject.toml")
PROJECTS = {path.parent.name: nox.project.load_toml(path) for path in sorted(ROOT.glob("packages/*/pyproject.toml"))}
OLDEST_PYTHON = nox.project.python_versions(PROJECTS["lt-core"])[0]
# Tests and demo are many small steps: more threads than one per process only wait for each other.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def group(name: str) -> list[str]:
    """The requirements of a dependency group of the workspace."""
    return nox.project.dependency_groups(WORKSPACE, name)


def install_workspace(session: nox.Session, *requirements: str) -> None:
    """Install every package of the workspace as it lies here, and `requirements`."""
    editable = [argument for name in PROJECTS for argument in ("-e", f"packages/{name}")]
    session.install(*editable, *requirements)


def siblings(package: str) -> list[str]:
    """`package` and every package of the workspace that it stands on, itself first."""
    found = [package]
    for name in found:
        declared = (re.split(r"[\[<>=!~ ]", line, maxsplit=1)[0] for line in PROJECTS[name]["project"]["dependencies"])
        found += [each for each in declared if each in PROJECTS and each not in found]
    return found


def build_wheels(session: nox.Session, *packages: str) -> list[str]:
    """Build the wheels of `packages` and return their paths."""
    folder = Path(session.create_tmp()).resolve() / "wheels"
    for name in packages:
        session.run("uv", "build", "--quiet", "--wheel", "--package", name, "--out-dir", str(folder), external=True)
    return [str(wheel) for name in packages for wheel in folder.glob(f"{name.replace('-', '_')}-[0-9]*.whl")]


@nox.session
def demo(session: nox.Session) -> None:
    """Train a small network on real handwritten digits, from data to a tested checkpoint (examples/quickstart.py)."""
    install_workspace(session, *group("examples"))
    session.run("python", "examples/quickstart.py", *session.posargs, env=ONE_THREAD)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of all packages, their doctests and the integration tests, on the working tree."""
    install_workspace(session, *group("test"))
    session.run("pytest", "-n", "2", "--dist", "worksteal", *session.posargs, env=ONE_THREAD)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, complexity and formatting (ruff) and who may import whom (import-linter)."""
    install_workspace(session, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types: lt_core as strictly as mypy can, the others with its defaults."""
    install_workspace(session, *group("types"))
    session.run("mypy", *(f"packages/{name}/src" for name in PROJECTS))


@nox.session
@nox.parametrize("package", list(PROJECTS))
def isolation(session: nox.Session, package: str) -> None:
    """Run a package's own tests against its built wheel, beside only what it declares."""
    if not any((ROOT / "packages" / package / "tests").glob("test_*.py")):
        session.error(f"packages/{package}/tests holds no test: every package is tested on its own")
    own = nox.project.dependency_groups(PROJECTS[package], "test")
    session.install(*build_wheels(session, *siblings(package)), *own)
    session.run("pytest", f"packages/{package}/tests", *session.posargs, env=ONE_THREAD)


@nox.session
def integration(session: nox.Session) -> None:
    """Run the integration tests and the examples against the built wheels of all packages together."""
    session.install(*build_wheels(session, *PROJECTS), *group("test"))
    session.run("pytest", "-n", "2", "--dist", "worksteal", "integration_tests", *session.posargs, env=ONE_THREAD)


@nox.session(python=OLDEST_PYTHON)
def floor(session: nox.Session) -> None:
    """Run all tests on the oldest Python and the oldest releases that the packages say they work with."""
    editable = [argument for name in PROJECTS for argument in ("-e", f"packages/{name}")]
    session.install(*editable, "-r", "integration_tests/pins/floor.txt")
    session.run("pytest", "-n", "2", "--dist", "worksteal", *session.posargs, env=ONE_THREAD)


@nox.session
def browser(session: nox.Session) -> None:
    """Look at a run of the GAN example in a real TensorBoard, in headless Chromium; pictures go to build/browser/."""
    missing = [program for program in ("chromium", "chromedriver") if shutil.which(program) is None]
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        session.run("apt-get", "update", external=True)
        session.run("apt-get", "install", "-y", "--no-install-recommends", "chromium", "chromium-driver", external=True)
    elif missing:
        session.skip(f"{' and '.join(missing)} not found, and only root on Debian can install them here")
    install_workspace(session, *group("browser"))
    shots = {"LT_BROWSER_SHOTS": str(ROOT / "build" / "browser")}
    session.run(
        "pytest", "integration_tests/test_browser_tensorboard.py", *session.posargs, env={**ONE_THREAD, **shots}
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the cost of a step, of start-up and of import beside other frameworks, as docs/benchmarks.md tells."""
    install_workspace(session, *group("test"), *group("bench"))
    session.run("python", "integration_tests/benchmarks", *session.posargs, env=ONE_THREAD)


@nox.session
def build(session: nox.Session) -> None:
    """Build the source archive and the wheel of every package into dist/."""
    session.run("uv", "build", "--all-packages", "--out-dir", "dist", external=True)
