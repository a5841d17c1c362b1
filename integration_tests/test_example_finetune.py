"""The example of fine-tuning runs as its readers run it: as a program, offline, from an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def finetune(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("finetune")
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(ROOT / "examples" / "finetune.py")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_backbone_is_frozen_and_then_trained_with_a_growing_rate(finetune: tuple[Path, str]) -> None:
    """Each epoch says what is frozen, and the learning rates of head and backbone."""
    _, output = finetune

    epochs = re.findall(r"^epoch (\d): frozen in the backbone: (\d+), learning rates: (.+)$", output, re.MULTILINE)

    frozen = [int(number) for _, number, _ in epochs]
    assert [int(epoch) for epoch, _, _ in epochs] == list(range(6))
    assert frozen[0] == frozen[1] > 500_000
    assert frozen[2:] == [0] * 4
    assert [rates for *_, rates in epochs] == [
        "0.002000",
        "0.002000",
        "0.002000, 0.000600",
        "0.002000, 0.001200",
        "0.002000, 0.002000",
        "0.002000, 0.002000",
    ]


def test_it_tells_the_shapes_apart(finetune: tuple[Path, str]) -> None:
    """Three of four images that it has not seen, where guessing gets one of three."""
    _, output = finetune

    [accuracy] = re.findall(r"^accuracy: +([\d.]+)$", output, re.MULTILINE)

    assert float(accuracy) >= 0.75


def test_the_plot_is_where_it_says(finetune: tuple[Path, str]) -> None:
    """A PNG in the run's folder."""
    folder, output = finetune

    [path] = re.findall(r"^the plot: +(.+)$", output, re.MULTILINE)

    assert (folder / path).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
