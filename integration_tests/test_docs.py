"""The documentation says what is so: its Python blocks run, its links lead somewhere, its map is complete.

The blocks of one page are one program, run from top to bottom in an empty folder, so that a reader may paste them one
after another. Blocks in other languages, and Python that is only to be read (```text), are left alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md")])
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    """Return how a page is called in the test's name."""
    return page.relative_to(ROOT).as_posix()


def program(page: Path) -> str:
    """Return the Python blocks of a page, each on the lines where it stands, so that tracebacks point there."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        code = block.group(1).splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines)


@pytest.mark.filterwarnings("ignore::lt_core.rank_zero.PossibleUserWarning")  # hints at small examples are no mistakes
@pytest.mark.parametrize("page", [page for page in PAGES if _BLOCK.search(page.read_text("utf-8"))], ids=name_of)
def test_the_python_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks run from top to bottom as one program."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # so that its classes can be pickled

    try:
        exec(compile(program(page), str(page), "exec"), vars(module))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_relative_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Each link that is no address leads to a file or folder of the repository."""
    targets = [link.partition("#")[0] for link in _LINK.findall(page.read_text("utf-8")) if "://" not in link]

    missing = [target for target in targets if target and not (page.parent / target).exists()]

    assert not missing


def test_the_map_of_the_documentation_names_every_page() -> None:
    """docs/index.md links to all pages under docs/."""
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link).resolve() for link in _LINK.findall(index.read_text("utf-8")) if "://" not in link}

    assert set(ROOT.glob("docs/**/*.md")) - {index} <= linked
