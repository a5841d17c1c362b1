"""Tests of how a strategy is chosen: by name, by object, by others' packages; and of what cannot be meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lt_core.errors import LtError, MisconfigurationException
from lt_core.testing import BoringModel, run_ranks
from lt_loops import Trainer
from lt_loops.accelerators import AcceleratorRegistry, CPUAccelerator, CUDAAccelerator, MPSAccelerator
from lt_loops.strategies import DDPStrategy, ParallelStrategy, SingleDeviceStrategy, StrategyRegistry
from lt_loops.strategies.layer_sync import LayerSync, TorchSyncBatchNorm, check_layers_can_sync


def trainer_with(**arguments: Any) -> Trainer:
    return Trainer(**{"accelerator": "cpu", "logger": False, "enable_checkpointing": False, **arguments})


# -- by name


@pytest.mark.parametrize(
    ("name", "start"), [("ddp", "popen"), ("ddp_spawn", "spawn"), ("ddp_fork", "fork"), ("ddp_notebook", "fork")]
)
@pytest.mark.parametrize("search", [None, True, False])
def test_every_registered_name_makes_its_strategy(name: str, start: str, search: bool | None) -> None:
    """How processes are started, and whether unused parameters are searched, are part of the name."""
    full = name if search is None else f"{name}_find_unused_parameters_{str(search).lower()}"

    strategy = trainer_with(devices=2, strategy=full).strategy

    assert full in StrategyRegistry
    assert isinstance(strategy, DDPStrategy)
    assert strategy.start_method == start
    assert strategy._ddp_arguments == ({} if search is None else {"find_unused_parameters": search})
    assert (strategy.num_processes, strategy.world_size) == (2, 2)


def test_names_are_understood_in_any_case() -> None:
    """As Lightning does."""
    assert trainer_with(devices=2, strategy="DDP_Spawn").strategy.strategy_name == "ddp_spawn"


def test_auto_means_one_process_for_one_device_and_ddp_for_several() -> None:
    """In a script, several devices mean that the script is started again for each."""
    one, two = trainer_with(devices=1).strategy, trainer_with(devices=2).strategy

    assert isinstance(one, SingleDeviceStrategy)
    assert isinstance(two, DDPStrategy)
    assert two.start_method == "popen"
    assert [device.type for device in two.parallel_devices] == ["cpu", "cpu"]


def test_auto_forks_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no script that could be started again."""
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)

    assert trainer_with(devices=2).strategy.start_method == "fork"


# -- by object


def test_a_strategy_object_gets_accelerator_and_devices_from_the_trainer() -> None:
    """What it was made without is filled in."""
    strategy = DDPStrategy(find_unused_parameters=True)

    trainer = trainer_with(devices=3, strategy=strategy)

    assert trainer.strategy is strategy
    assert isinstance(strategy.accelerator, CPUAccelerator)
    assert (strategy.num_processes, trainer.num_devices) == (3, 3)


def test_devices_of_a_strategy_object_are_kept() -> None:
    """The trainer takes its devices where none were asked for."""
    strategy = DDPStrategy(parallel_devices=[torch.device("cpu")] * 2)

    assert trainer_with(strategy=strategy).world_size == 2


def test_devices_said_twice_and_differently_are_an_error() -> None:
    """Which of them is meant cannot be known."""
    strategy = DDPStrategy(parallel_devices=[torch.device("cpu")] * 2)

    with pytest.raises(MisconfigurationException, match="its strategy was made with"):
        trainer_with(strategy=strategy, devices=3)


# -- others' packages

_STRATEGY = """
from lt_loops.strategies import DDPStrategy


class Theirs(DDPStrategy):
    strategy_name = "theirs"
"""
_ACCELERATOR = """
from lt_loops.accelerators import CPUAccelerator


class TheirChip(CPUAccelerator):
    @staticmethod
    def name():
        return "their_chip"
"""


def install(folder: Path, module: str, code: str, entry_points: str) -> None:
    """Lay out an installed distribution as pip does."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_an_installed_package_adds_a_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Trainer(strategy="theirs")` works by its entry point alone."""
    install(tmp_path, "their_strategy", _STRATEGY, "[lt.strategies]\ntheirs = their_strategy:Theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        trainer = trainer_with(strategy="theirs", devices=2)

        assert type(trainer.strategy).__name__ == "Theirs"
        assert isinstance(trainer.strategy, ParallelStrategy)
        assert trainer.world_size == 2
        assert "theirs" in StrategyRegistry.available()
    finally:
        StrategyRegistry.remove("theirs")


def test_an_installed_package_adds_an_accelerator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Trainer(accelerator="their_chip")` works by its entry point alone, and one device trains on it."""
    install(tmp_path, "their_chip", _ACCELERATOR, "[lt.accelerators]\ntheir_chip = their_chip:TheirChip\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        trainer = trainer_with(accelerator="their_chip", devices=1, max_steps=1, enable_progress_bar=False)
        trainer.fit(BoringModel())

        assert trainer.accelerator.name() == "their_chip"
        assert trainer.global_step == 1
        assert trainer_with(accelerator="their_chip", devices=2).world_size == 2
    finally:
        AcceleratorRegistry.remove("their_chip")


# -- what cannot be meant


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"strategy": "dddp"}, r"There is no strategy 'dddp'.*mean `ddp`"),
        ({"strategy": "ddp_spwan"}, r"mean `ddp_spawn`"),
        ({"strategy": "dp"}, r"'dp'.* removed in Lightning 2.0. Expected one of .*: write `strategy=\"ddp\"`"),
        ({"strategy": "ddp2"}, "removed in Lightning 2.0.*one process for each device"),
        ({"strategy": "horovod"}, "removed in Lightning 2.0.*start the script by `torchrun` or `mpirun`"),
        ({"strategy": "ddp_sharded"}, "removed in Lightning 2.0.*ZeroRedundancyOptimizer"),
        ({"strategy": "ddp_sharded_spawn"}, "removed in Lightning 2.0.*ZeroRedundancyOptimizer"),
        ({"strategy": "bagua"}, "removed in Lightning 2.0"),
        ({"strategy": "colossalai"}, "removed in Lightning 2.0"),
        ({"strategy": "hivemind"}, "removed in Lightning 2.0"),
        ({"strategy": DDPStrategy}, r"`Trainer\(strategy=DDPStrategy\)` is a class.*write `strategy=DDPStrategy\(\)`"),
        ({"strategy": None}, r"`Trainer\(strategy=None\)` is a NoneType.*write `strategy=\"auto\"`"),
        ({"strategy": "ddp", "devices": 0}, "`devices=0` asks for none of the processes on the CPU"),
        ({"strategy": "ddp", "devices": -2}, "`devices=-2` asks for a negative number"),
        ({"strategy": "ddp", "devices": [0, 1]}, r"`devices=\[0, 1\]` is a list. For processes on the CPU"),
        ({"strategy": "ddp", "devices": 2, "num_nodes": 2}, "no cluster has started this process"),
    ],
)
def test_what_names_no_strategy_or_devices_is_told_with_what_does(arguments: dict[str, Any], said: str) -> None:
    """Nearest names, removed names, classes, and devices that are none."""
    with pytest.raises(MisconfigurationException, match=said):
        trainer_with(**arguments)


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (8, r"`devices=8` asks for 8 CUDA devices. There are 2 CUDA devices, of index 0, 1.*up to `devices=2`"),
        ([0, 5], r"`devices=\[0, 5\]` asks for 5, which this process does not see"),
        ([1, 1], r"`devices=\[1, 1\]` names 1 more than once. .*Write `devices=\[1\]`"),
        ("0,0", "names 0 more than once"),
        (0, r"`devices=0` asks for none of the CUDA devices.*write `devices=\[0\]`"),
    ],
)
def test_devices_that_there_are_not_are_told(devices: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with two GPUs; nothing is touched before the error."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    with pytest.raises(MisconfigurationException, match=said):
        trainer_with(accelerator="cuda", devices=devices, strategy="ddp")


def test_a_device_twice_in_a_strategy_object_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process needs a device of its own."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    strategy = DDPStrategy(CUDAAccelerator(), [torch.device("cuda", 0)] * 2)

    with pytest.raises(MisconfigurationException, match="names cuda:0 more than once"):
        trainer_with(accelerator="auto", strategy=strategy)


@pytest.mark.parametrize(
    ("devices", "said"),
    [(2, "`devices=2` asks for 2 Apple GPUs. There are 1"), (1, "processes cannot exchange gradients.*accelerator=")],
)
def test_the_apple_gpu_is_for_one_process(devices: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine has one, and the usual strategy on it is that of a single device."""
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))

    with pytest.raises(MisconfigurationException, match=said):
        trainer_with(accelerator="mps", devices=devices, strategy="ddp")


@pytest.mark.parametrize("strategy", ["ddp", DDPStrategy()])
def test_starting_the_script_again_is_refused_in_a_notebook(strategy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message holds the name to write."""
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)

    with pytest.raises(MisconfigurationException, match=r"in a notebook or console there is none.*\"ddp_notebook\""):
        trainer_with(devices=2, strategy=strategy)


def test_more_processes_than_cores_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """On the CPU any number is possible; more than there are cores brings nothing."""
    cores = os.cpu_count() or 1

    with caplog.at_level("INFO", logger="lt"):
        trainer_with(devices=cores, strategy="ddp")
        assert not caplog.messages
        trainer_with(devices=cores + 1, strategy="ddp")

    (line,) = caplog.messages
    assert line.startswith(f"`devices={cores + 1}` processes share the {cores} cores of this machine")


def test_cuda_that_was_touched_cannot_be_forked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The driver does not survive a fork; nothing is started."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    trainer = trainer_with(devices=2, strategy="ddp_fork", max_steps=1, default_root_dir=tmp_path)

    with pytest.raises(LtError, match=r"CUDA.*ddp_spawn"):
        trainer.fit(BoringModel())


# -- layers that see all batches


class Normed(BoringModel):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.norm(x))

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(torch.randn(8, 32), batch_size=2)  # type: ignore[arg-type]


class Doubling(LayerSync):
    """Replaces nothing, and remembers."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def apply(self, model: nn.Module) -> nn.Module:
        self.calls.append(f"apply to {type(model).__name__}")
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        self.calls.append(f"revert {type(model).__name__}")
        return model


def fit_with(sync_batchnorm: bool, own: bool) -> Any:
    plugin = Doubling()
    trainer = trainer_with(
        devices=2,
        strategy="ddp",
        max_steps=1,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        sync_batchnorm=sync_batchnorm,
        plugins=[plugin] if own else None,
    )
    try:
        trainer.fit(Normed())
    except MisconfigurationException as error:
        return str(error)
    return plugin.calls


def test_synchronised_batch_norm_on_the_cpu_is_refused_before_the_first_step() -> None:
    """It would fail in the first forward pass; the layers are named on every rank."""
    first, second = run_ranks(fit_with, 2, True, False)

    assert "`Trainer(sync_batchnorm=True)` met norm on the CPU" in first
    assert "met norm on the CPU" in second


def test_a_layer_sync_of_the_users_own_is_put_in_and_taken_out() -> None:
    """Passed as a plugin; it decides what works on the CPU."""
    results = run_ranks(fit_with, 2, True, True)

    assert results == [["apply to Normed", "revert Normed"]] * 2


def test_a_layer_sync_needs_several_processes() -> None:
    """A single process has nothing to synchronise with."""
    with pytest.raises(MisconfigurationException, match=r"does not put them in.*strategy=\"ddp\""):
        trainer_with(devices=1, plugins=[TorchSyncBatchNorm()])


def test_batch_norm_elsewhere_or_none_at_all_is_fine() -> None:
    """Only torch's own layers on the CPU are refused."""
    check_layers_can_sync(TorchSyncBatchNorm(), Normed(), torch.device("cuda", 0))
    check_layers_can_sync(TorchSyncBatchNorm(), BoringModel(), torch.device("cpu"))
    check_layers_can_sync(Doubling(), Normed(), torch.device("cpu"))
