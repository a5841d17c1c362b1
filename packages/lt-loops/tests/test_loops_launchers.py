"""Launchers: the processes of a run, what comes back from them, and what is refused before any is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException
from lt_core.state import TrainerStatus
from lt_core.testing import BoringModel, RandomDataset
from lt_loops import Trainer
from lt_loops.launchers import RankFailedError
from lt_loops.launchers.command import script_command
from lt_loops.launchers.failing import failing
from lt_loops.launchers.meeting import threads_per_rank
from lt_loops.launchers.payload import Payload, UnpicklableError
from lt_loops.strategies.ddp import DDPStrategy


class Collecting(BoringModel):
    """Logs, and keeps what it has seen in an attribute and a callback."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        output = super().training_step(batch, batch_idx)
        self.losses.append(float(output["loss"].detach()))
        self.log("loss", output["loss"])
        return output

    def train_dataloader(self) -> Any:
        return DataLoader(RandomDataset(32, 8))

    def predict_step(self, batch: Tensor, batch_idx: int) -> Any:
        if getattr(self, "refuses", False):
            raise KeyError("no prediction today")
        return batch.exp().sum()


class Remembers(Callback):
    """Keeps a path, as a checkpoint callback does, and a lambda, which cannot travel."""

    def __init__(self) -> None:
        self.best_model_path = ""
        self.unsendable: Any = None
        self.module: Any = None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.best_model_path = f"epoch={trainer.current_epoch}"
        self.unsendable = lambda: None
        self.module = pl_module


@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_the_caller_goes_on_as_if_the_call_had_run_here(quiet: Any, start: str) -> None:
    """Weights, metrics, progress, state, attributes and return values come back; a second fit goes on."""
    module, remembers = Collecting(), Remembers()
    before = module.layer.weight.detach().clone()
    trainer = quiet(devices=2, strategy=DDPStrategy(start_method=start), max_epochs=1, callbacks=[remembers])

    trainer.fit(module)

    assert trainer.global_step == 4
    assert trainer.current_epoch == 1
    assert trainer.state.status is TrainerStatus.FINISHED
    assert trainer.lightning_module is module
    assert not torch.equal(module.layer.weight, before)
    assert not module.layer.weight.is_shared()
    assert float(trainer.callback_metrics["loss"]) == pytest.approx(module.losses[-1])
    assert len(module.losses) == 4
    assert remembers.best_model_path == "epoch=1"
    assert remembers.unsendable is None
    assert remembers.module is module
    if start == "fork":
        predictions = trainer.predict(module, DataLoader(RandomDataset(32, 4), batch_size=2))
        trainer.fit_loop.max_epochs = 2
        trainer.fit(module)

        assert [value.shape for value in predictions] == [torch.Size([])] * len(predictions)
        assert trainer.global_step == 8
        assert len(module.losses) == 8


def test_forked_ranks_compute_after_this_process_has_used_several_threads(quiet: Any) -> None:
    """OpenMP's pool is not copied: a forked rank that used it would never come back."""
    torch.set_num_threads(2)
    torch.randn(4_000_000).exp().sum()
    module = Collecting()
    trainer = quiet(devices=2, strategy=DDPStrategy(start_method="fork"))

    predictions = trainer.predict(module, DataLoader(torch.randn(2, 4_000_000)))

    assert len(predictions) == 2


def test_an_error_of_a_rank_is_raised_here_with_its_traceback_and_the_error_itself_as_its_cause(quiet: Any) -> None:
    """Ranks are other processes: what they raise arrives as the cause of an error that says which rank and where."""
    module = Collecting()
    module.refuses = True
    trainer = quiet(devices=2, strategy="ddp_fork")

    with pytest.raises(RankFailedError, match=r"Rank [01] of 2 .* failed before its first step") as caught:
        trainer.predict(module, DataLoader(RandomDataset(32, 4)))

    assert str(caught.value).endswith("KeyError: 'no prediction today'")
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.rank in (0, 1)
    assert trainer.state.status is TrainerStatus.INTERRUPTED


def test_what_cannot_be_sent_to_new_processes_is_named(quiet: Any) -> None:
    """The innermost attribute that cannot be pickled is named, before a process is started."""
    module = Collecting()
    module.layer.transform = lambda batch: batch
    trainer = quiet(devices=2, strategy="ddp_spawn")

    with pytest.raises(UnpicklableError, match=r"`model\.layer\.transform` is the function .*<lambda>.*ddp_fork"):
        trainer.fit(module)


def test_tensors_travel_by_value() -> None:
    """Ranks must not train the same memory, which is how torch sends tensors to processes."""
    weight = torch.ones(3)
    payload = Payload("trainer", weight)

    state = payload.__getstate__()
    copy = Payload("", "")
    copy.__dict__.update(state)
    _, arrived = copy.open()
    arrived += 1

    assert torch.equal(weight, torch.ones(3))
    assert not weight.is_shared()


def test_a_used_cuda_device_refuses_fork(quiet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a process that has used CUDA cannot use it; said at once rather than by a crash."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    trainer = quiet(devices=2, strategy="ddp_fork")

    with pytest.raises(MisconfigurationException, match=r"CUDA was used .* `strategy=\"ddp_spawn\"`|CUDA was used"):
        trainer.fit(BoringModel())


def test_pytest_is_no_script_that_ranks_could_run_again(quiet: Any) -> None:
    """Each rank would run the whole test session: refused, with what to write in a test."""
    trainer = quiet(devices=2, strategy="ddp")

    with pytest.raises(MisconfigurationException, match=r"pytest .* `strategy=\"ddp_spawn\"`|pytest"):
        trainer.fit(BoringModel())


@pytest.mark.parametrize(
    ("argv", "module", "expected"),
    [
        (["{script}", "--lr", "1"], None, ["-O", "{script}", "--lr", "1"]),
        (["{script}", "--lr", "1"], "package.train", ["-O", "-m", "package.train", "--lr", "1"]),
        (["{script}"], "package.__main__", ["-O", "-m", "package"]),
    ],
)
def test_the_command_is_the_one_that_the_user_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], module: str | None, expected: list[str]
) -> None:
    """The interpreter's options, the module form and the arguments are kept."""
    script = str(tmp_path / "train.py")
    Path(script).touch()
    spec = None if module is None else type("Spec", (), {"name": module})
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setattr(sys, "argv", [word.format(script=script) for word in argv])
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-O", *sys.argv])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)

    assert script_command() == [word.format(script=script) for word in expected]


@pytest.mark.parametrize("first", ["", "-c", "-"])
def test_code_without_a_file_cannot_be_started_again(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """A console and `python -c` have no script; the strategies that work there are named."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setattr(sys, "argv", [first])

    with pytest.raises(MisconfigurationException, match="ddp_spawn"):
        script_command()


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path: Path) -> None:
    """Ranks that import the script would start ranks themselves: one error says so, and nothing is left."""
    script = tmp_path / "train.py"
    script.write_text(
        "from lt_core.testing import BoringModel\n"
        "from lt_loops import Trainer\n"
        "Trainer(accelerator='cpu', devices=2, strategy='ddp_spawn', logger=False, enable_checkpointing=False,\n"
        "        enable_progress_bar=False, enable_model_summary=False).fit(BoringModel())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}

    ended = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=180, check=False
    )

    assert ended.returncode == 1
    assert 'put it under `if __name__ == "__main__":`' in ended.stderr.rstrip().split("\n")[-1]


def test_cores_are_shared_by_the_ranks_unless_the_user_has_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of several processes would otherwise take all cores."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    shared = threads_per_rank(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    assert int(shared or 0) >= 1
    assert threads_per_rank(2) is None
    assert threads_per_rank(1) is None


def test_torchrun_learns_of_the_first_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consequence of another rank's failure is dated behind it: `torchrun` counts whole seconds."""
    stamps = {}
    for name, error in (("cause", ValueError("first")), ("consequence", RuntimeError("Connection closed by peer"))):
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / name))
        with failing(error):
            pass
        stamps[name] = json.loads((tmp_path / name).read_text())["message"]["extraInfo"]["timestamp"]

    assert int(stamps["cause"]) < int(stamps["consequence"])
    assert "ValueError: first" in (tmp_path / "cause").read_text()


def test_a_trainer_in_the_same_process_is_unaffected(quiet: Any) -> None:
    """Nothing of a launched run stays in the environment of the process that launched it."""
    trainer: Trainer = quiet(max_steps=1)

    trainer.fit(BoringModel())

    assert "LOCAL_RANK" not in os.environ
    assert trainer.global_step == 1
