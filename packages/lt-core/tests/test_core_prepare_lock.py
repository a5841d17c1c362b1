"""The lock of prepare_data: real processes wait for each other, and a killed one leaves it open."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lt_core.prepare_lock import file_lock, prepare_lock

PROGRAM = """
import sys, time
from pathlib import Path
from lt_core.prepare_lock import prepare_lock

class Data:
    prepare_data_lock = sys.argv[1]

notes = Path(sys.argv[2])
with prepare_lock(Data()):
    with notes.open("a") as file:
        file.write("in ")
    time.sleep(float(sys.argv[3]))
    with notes.open("a") as file:
        file.write("out ")
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    arguments = [str(folder / "locks" / "data.lock"), str(folder / "notes"), str(seconds)]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])


def wait_for(text: str, notes: Path) -> None:
    until = time.monotonic() + 60
    while not (notes.exists() and text in notes.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_processes_prepare_one_after_another(tmp_path: Path) -> None:
    """Nobody comes in before the other is out."""
    processes = [start(tmp_path, 0.3) for _ in range(3)]

    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]

    assert (tmp_path / "notes").read_text() == "in out " * 3


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_killed_process_gives_the_lock_back(tmp_path: Path) -> None:
    """The lock is the system's: no file has to be removed by hand."""
    process = start(tmp_path, 600)
    wait_for("in", tmp_path / "notes")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)

    began = time.monotonic()
    with file_lock(tmp_path / "locks" / "data.lock"):
        waited = time.monotonic() - began

    assert waited < 5


def test_each_class_has_a_lock_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparing one kind of data does not wait for another; the files lie in the temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Words:
        pass

    class Pictures:
        pass

    with prepare_lock(Words()), prepare_lock(Pictures()):
        names = sorted(path.name.split("-")[0] for path in tmp_path.glob("lt-prepare-*/*.lock"))

    assert names == ["Pictures", "Words"]


def test_an_exception_gives_the_lock_back(tmp_path: Path) -> None:
    """The next one is not kept out by a failed download."""
    with pytest.raises(ArithmeticError), file_lock(tmp_path / "lock"):
        raise ArithmeticError

    with file_lock(tmp_path / "lock"):
        assert (tmp_path / "lock").exists()
