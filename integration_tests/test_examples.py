"""The examples run as their readers run them: as programs, offline, from an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


def run_example(name: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("quickstart")
    return folder, run_example("quickstart.py", "--data-dir", "data", cwd=folder)


def test_the_quickstart_learns_to_read_digits(quickstart: tuple[Path, str]) -> None:
    """At least 95 of 100 digits that it has never seen are read right."""
    _, output = quickstart

    [accuracy] = re.findall(r"^test accuracy: +([\d.]+)$", output, re.MULTILINE)

    assert float(accuracy) >= 0.95


def test_the_quickstart_names_a_checkpoint_that_loads_safely(quickstart: tuple[Path, str]) -> None:
    """The path it prints is a file that holds weights and hyperparameters and nothing that has to be trusted."""
    folder, output = quickstart

    [path] = re.findall(r"^best checkpoint: +(.+)$", output, re.MULTILINE)
    checkpoint = torch.load(folder / path, weights_only=True)

    assert checkpoint["hyper_parameters"] == {"channels": 8, "lr": 3e-3}
    assert "net.0.weight" in checkpoint["state_dict"]


def test_the_quickstart_writes_curves_and_a_table(quickstart: tuple[Path, str]) -> None:
    """TensorBoard's events and the CSV file have the validation accuracy of every epoch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, output = quickstart
    [line] = re.findall(r"^see the curves: +(.+)$", output, re.MULTILINE)
    command = shlex.split(line)
    logs = folder / command[command.index("--logdir") + 1]

    events = EventAccumulator(str(logs / "digits" / "version_0")).Reload()
    [table] = logs.glob("digits_csv/version_*/metrics.csv")
    header, *rows = table.read_text().splitlines()
    column = header.split(",").index("val_accuracy")
    in_table = [float(cell) for row in rows if (cell := row.split(",")[column])]

    assert len(in_table) >= 5
    assert [event.value for event in events.Scalars("val_accuracy")] == pytest.approx(in_table)


def test_the_data_are_the_scanned_digits_in_the_format_of_mnist(quickstart: tuple[Path, str]) -> None:
    """The class that torchvision has for MNIST reads them, and shrunk again they are scikit-learn's images."""
    from sklearn.datasets import load_digits
    from torchvision.datasets import MNIST

    folder, _ = quickstart
    parts = [MNIST(folder / "data" / "digits", train=train) for train in (True, False)]
    images, labels = load_digits(return_X_y=True)

    assert [len(part) for part in parts] == [1437, 360]
    assert all(part.data.shape[1:] == (28, 28) for part in parts)
    assert sorted(torch.cat([part.targets for part in parts]).tolist()) == sorted(labels.tolist())
    mean_grey = torch.cat([part.data for part in parts]).float().mean().item()
    assert mean_grey == pytest.approx(images.mean() * 255 / 16, rel=0.05)


def test_the_readme_gives_the_command_that_ci_runs() -> None:
    """What a newcomer pastes to run the tests is what every change has to pass."""
    readme = (ROOT / "README.md").read_text()

    blocks = [block.strip() for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)]

    assert len(blocks) == 2
    assert blocks[0] == blocks[1] + " -s demo"
    assert blocks[1] in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    "readme", [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))], ids=lambda path: path.parent.name
)
def test_the_program_in_each_readme_runs(readme: Path, tmp_path: Path) -> None:
    """The code that a reader sees is complete, read from top to bottom."""
    program = "\n".join(re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL))

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr


NUMBERS = re.compile(r"^(?:epoch|final).*$", re.MULTILINE)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return NUMBERS.findall(run_example("ddp.py", "--devices", "1", cwd=tmp_path_factory.mktemp("one_device")))


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork"])
def test_two_devices_show_the_numbers_of_one(strategy: str, one_device: list[str], tmp_path: Path) -> None:
    """Losses agree to rounding and accuracies exactly, in every epoch; each line is printed once."""
    output = run_example("ddp.py", "--devices", "2", "--strategy", strategy, cwd=tmp_path)

    lines = NUMBERS.findall(output)

    assert len(one_device) == len(lines) == 6
    for alone, together in zip(one_device, lines, strict=True):
        values = [[float(text) for text in re.findall(r"\d+\.\d+", line)] for line in (alone, together)]
        assert values[1] == pytest.approx(values[0], abs=3e-6)


@pytest.mark.parametrize("splitter", ["groups", "purged"])
def test_tabular_data_are_cross_validated_out_of_fold(splitter: str, tmp_path: Path) -> None:
    """The signal that was put into the panel is found in rows that no fold trained on, and the files are written."""
    small = ("--folds", "3", "--days", "60", "--instruments", "40", "--max-epochs", "8")

    output = run_example("tabular_kfold.py", "--splitter", splitter, *small, cwd=tmp_path)

    [(judged, rows, explained)] = re.findall(r"out of fold: (\d+) of (\d+) rows, explained variance ([\d.]+)", output)
    assert int(rows) == 2400
    assert int(judged) == 2400 if splitter == "groups" else 1000 < int(judged) < 2400
    assert float(explained) > 0.1
    assert len((tmp_path / "out_of_fold.csv").read_text().splitlines()) == 2401
    for picture in ("folds.png", "metrics.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_a_data_module_feeds_augmented_images_through_workers(tmp_path: Path) -> None:
    """Digits are read well, each once, and the data module is made again from a checkpoint."""
    output = run_example("digits_datamodule.py", "--max-epochs", "3", cwd=tmp_path)

    [(accuracy, count)] = re.findall(r"test accuracy: ([\d.]+), (\d+) digits read", output)

    assert float(accuracy) > 0.85
    assert int(count) == 360
    assert "'batch_size': 64" in output
