"""What a step costs, counted: frames, calls, operators, scalar reads and modules, none of which depends on the machine.

The benchmarks report time; these tests hold what time follows from.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import lt

pytestmark = pytest.mark.filterwarnings("ignore")

OURS = {"lt", "lt_callbacks", "lt_core", "lt_data", "lt_loggers", "lt_loops"}
NAMES = ("a", "b", "c", "d", "e")
SCALAR_READ = "aten::_local_scalar_dense"


class Bare(lt.LightningModule):
    """A small network and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class LogsFive(Bare):
    """Logs its loss under five names, to the bar and to the loggers."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        for name in NAMES:
            self.log(name, loss, prog_bar=True)
        return loss


class ReadsItsLoss(Bare):
    """Does what lt must not do."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        loss.item()
        return loss


class Batches:
    """Batches made beforehand; not a list, because a list of loaders is a thing of its own."""

    def __init__(self, steps: int) -> None:
        torch.manual_seed(0)
        self.made = [(torch.randn(4, 32), torch.randint(2, (4,))) for _ in range(steps)]

    def __len__(self) -> int:
        return len(self.made)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.made)


def bare_trainer(folder: Path) -> lt.Trainer:
    return lt.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def full_trainer(folder: Path) -> lt.Trainer:
    logger = lt.loggers.CSVLogger(folder)
    return lt.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, default_root_dir=folder, logger=logger, log_every_n_steps=50
    )


class CountOperators(TorchDispatchMode):
    """Counts every operator that reaches the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen[func.name().split(".")[0]] += 1
        return func(*args, **(kwargs or {}))


def per_step(count: Callable[[int], Counter[str]], *, short: int = 20, long: int = 70) -> Counter[str]:
    """What one more step adds to `count`, which is asked for a short run and for a long one."""
    difference = count(long)
    difference.subtract(count(short))
    return Counter({name: each // (long - short) for name, each in difference.items() if each // (long - short)})


def operators(module: type[Bare], make_trainer: Callable[[Path], lt.Trainer], folder: Path) -> Counter[str]:
    def count(steps: int) -> Counter[str]:
        trainer, data = make_trainer(folder), Batches(steps)
        with CountOperators() as counted:
            trainer.fit(module(), data)
        return counted.seen

    return per_step(count)


def is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in OURS


def test_at_most_six_of_our_frames_in_three_files_lie_between_fit_and_the_training_step(tmp_path: Path) -> None:
    """A traceback from a user's step shows the user's step, and little of ours."""
    stacks: list[list[tuple[str, str]]] = []

    class Looks(Bare):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 there is no other name for it
            stack = []
            while frame is not None and frame.f_code.co_name != "test_body":
                if is_ours(frame):
                    stack.append((Path(frame.f_code.co_filename).name, frame.f_code.co_name))
                frame = frame.f_back
            stacks.append(stack)
            return super().training_step(batch, batch_idx)

    def test_body() -> None:
        bare_trainer(tmp_path).fit(Looks(), Batches(3))

    test_body()

    assert len(stacks) == 3
    for stack in stacks:
        assert ("trainer.py", "fit") in stack
        assert len(stack) <= 6, stack
        assert len({file for file, _ in stack}) <= 3, stack


def test_a_bare_step_makes_at_most_twenty_python_calls_of_ours(tmp_path: Path) -> None:
    """A hook that nobody overrides costs nothing: ten calls are made, sixty are the design's limit."""

    def count(steps: int) -> Counter[str]:
        seen: Counter[str] = Counter()

        def profile(frame: FrameType, event: str, argument: Any) -> None:
            if event == "call" and is_ours(frame):
                seen[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"] += 1

        trainer, data, before = bare_trainer(tmp_path), Batches(steps), sys.getprofile()
        sys.setprofile(profile)
        try:
            trainer.fit(Bare(), data)
        finally:
            sys.setprofile(before)
        return seen

    calls = per_step(count)

    assert sum(calls.values()) >= 1
    assert sum(calls.values()) <= 20, calls


def test_a_logged_metric_adds_at_most_two_operators_to_a_step(tmp_path: Path) -> None:
    """Logging keeps a detached copy of the value and does the arithmetic when somebody reads."""
    bare = operators(Bare, bare_trainer, tmp_path)
    logged = operators(LogsFive, bare_trainer, tmp_path)

    logged.subtract(bare)
    extra = {name: count for name, count in logged.items() if count}

    assert sum(bare.values()) > 10
    assert sum(extra.values()) <= 2 * len(NAMES), extra


def test_a_bare_step_runs_the_operators_of_the_loop_written_by_hand(tmp_path: Path) -> None:
    """Nothing is computed that the user did not ask for."""

    def count(steps: int) -> Counter[str]:
        module, data = Bare(), Batches(steps)
        optimizer = module.configure_optimizers()
        with CountOperators() as counted:
            for batch in data:
                optimizer.zero_grad()
                module.training_step(batch, 0).backward()
                optimizer.step()
        return counted.seen

    by_hand = per_step(count)

    assert operators(Bare, bare_trainer, tmp_path) == by_hand


def test_no_scalar_is_read_in_a_step_with_five_metrics_a_bar_and_a_csv_logger(tmp_path: Path) -> None:
    """The bar and the logger read in bulk on their own clock; a step never waits for the device."""
    read = operators(LogsFive, full_trainer, tmp_path)

    assert read["aten::mm"] > 0
    assert read[SCALAR_READ] == 0


def test_a_scalar_read_in_a_step_would_be_seen(tmp_path: Path) -> None:
    """The count above is of the right thing: a step that reads its loss shows up in it."""
    assert operators(ReadsItsLoss, bare_trainer, tmp_path)[SCALAR_READ] == 1


def modules_added_by(statement: str) -> list[str]:
    """The modules that `statement` loads over `import torch`, in a fresh process."""
    code = (
        "import json, sys, torch; known = set(sys.modules); "
        f"{statement}; print(json.dumps(sorted(set(sys.modules) - known)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


# What `lt` holds is looked up when it is first named, so importing it alone says little.
NAMING = "from lt import Callback, LightningDataModule, LightningModule, Trainer"


@pytest.mark.parametrize("statement", ["import lt_core", "import lt", NAMING])
def test_importing_lt_loads_at_most_150_modules_over_torch(statement: str) -> None:
    """`import lt` is quick because what it does not need yet stays where it is."""
    added = modules_added_by(statement)

    assert len(added) >= 1
    assert len(added) <= 150, added


@pytest.mark.parametrize("statement", ["import lt_core", "import lt", NAMING])
def test_importing_loads_no_part_of_torch_distributed_and_no_optional_library(statement: str) -> None:
    """A program that trains on one device never pays for what many devices need."""
    heavy = ("torch.distributed", "torch._dynamo", "torch._inductor", "torch.utils.tensorboard", "torchmetrics")
    optional = ("numpy", "pandas", "rich", "tqdm", "tensorboard", "yaml", "matplotlib", "sklearn", "torchvision")

    added = modules_added_by(statement)

    assert [each for each in added if each.startswith(heavy) or each.partition(".")[0] in optional] == []
