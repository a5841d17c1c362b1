"""Tests of the environments: who started the processes, which of them this is, and what contradicts itself."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lt_core import Callback
from lt_core.errors import LtError, MisconfigurationValueError, MissingPackageError
from lt_core.rank_zero import PossibleUserWarning
from lt_core.testing import BoringModel
from lt_loops import Trainer
from lt_loops.environments import (
    ClusterEnvironment,
    EnvironmentRegistry,
    KubeflowEnvironment,
    LightningEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
    detect_environment,
)
from lt_loops.environments.slurm import SlurmTasksError
from lt_loops.environments.topology import check_topology

_KNOWN = ("SLURM_", "LSB_", "JSM_", "OMPI_", "PMI_", "MV2_", "MASTER_", "TORCHELASTIC_", "LOCAL_", "GROUP_", "LT_")

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "1",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_JOB_NAME": "train",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NODELIST": "gpu[07-08]",
}
OWN = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has started this process, whoever runs the tests; what a test leaves in the environment goes."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in list(os.environ):
        if name.startswith(_KNOWN) or name in ("RANK", "WORLD_SIZE", "NODE_RANK", "ENVIRONMENT", "STANDALONE_PORT"):
            del os.environ[name]


def put(variables: dict[str, Any], **changes: Any) -> None:
    """Set variables; None leaves one out."""
    for name, value in {**variables, **changes}.items():
        if value is not None:
            os.environ[name] = str(value)


def ranks_of(environment: ClusterEnvironment) -> tuple[int, int, int, int]:
    return environment.world_size(), environment.global_rank(), environment.local_rank(), environment.node_rank()


# -- each environment


def test_the_trainer_starts_the_processes_where_nobody_else_has() -> None:
    """Without variables: rank 0 of 1, on a free port that stays the same."""
    environment = LightningEnvironment()

    assert not environment.creates_processes_externally
    assert ranks_of(environment) == (1, 0, 0, 0)
    assert environment.main_address == "127.0.0.1"
    assert environment.main_port == environment.main_port > 0
    assert environment.started_by == "the trainer"


def test_local_rank_means_that_somebody_else_started_the_processes() -> None:
    """The numbers are the variables'; rank and size are what the trainer counts."""
    put(OWN, NODE_RANK=1, LOCAL_RANK=1, WORLD_SIZE=4)
    environment = LightningEnvironment()

    check_topology(environment, 2, 2)

    assert environment.creates_processes_externally
    assert ranks_of(environment) == (4, 3, 1, 1)
    assert environment.main_port == 29500
    assert environment.started_by == "LOCAL_RANK"


def test_a_port_can_be_chosen_for_processes_that_the_trainer_starts() -> None:
    """STANDALONE_PORT names it."""
    put({"STANDALONE_PORT": "23456"})

    assert LightningEnvironment().main_port == 23456


def test_torchrun_says_all() -> None:
    """Every number is torchrun's; what the trainer counts is ignored."""
    put(TORCHRUN, RANK=5, GROUP_RANK=2)
    environment = detect_environment()

    environment.set_global_rank(7)
    environment.set_world_size(9)

    assert isinstance(environment, TorchElasticEnvironment)
    assert environment.creates_processes_externally
    assert ranks_of(environment) == (2, 5, 1, 2)
    assert (environment.main_address, environment.main_port) == ("127.0.0.1", 29500)


def test_torchelastic_without_an_address_takes_this_machine_and_says_so() -> None:
    """The default port is 12910."""
    put(TORCHRUN, MASTER_ADDR=None, MASTER_PORT=None, RANK=0)
    environment = TorchElasticEnvironment()

    with pytest.warns(UserWarning, match="MASTER_ADDR does not exist"):
        assert environment.main_address == "127.0.0.1"
    with pytest.warns(UserWarning, match="MASTER_PORT does not exist: 12910"):
        assert environment.main_port == 12910


def test_slurm_says_all() -> None:
    """The address is the first machine's, the port comes from the job's number."""
    put(SLURM)
    environment = detect_environment()

    assert isinstance(environment, SLURMEnvironment)
    assert ranks_of(environment) == (4, 3, 1, 1)
    assert (environment.main_address, environment.main_port) == ("gpu07", 19567)
    assert os.environ["MASTER_ADDR"] == "gpu07"
    assert os.environ["MASTER_PORT"] == "19567"
    assert (environment.job_name(), environment.job_id()) == ("train", 1234567)
    assert environment.auto_requeue
    assert environment.requeue_signal == signal.SIGUSR1
    environment.validate_settings(2, 2)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("host0 host1", "host0"),
        ("host0,host1", "host0"),
        ("host[5-9]", "host5"),
        ("host[05,07-09]", "host05"),
        ("gpu-node[12]", "gpu-node12"),
        ("rack[1-2]node[3-4],login", "rack1node3"),
        ("host-a[1,3].site,b", "host-a1.site"),
        ("single", "single"),
    ],
)
def test_slurms_list_of_machines_begins_with(nodes: str, first: str) -> None:
    """Ranges stand for several machines."""
    assert SLURMEnvironment.resolve_root_node_address(nodes) == first


def test_a_step_on_some_of_the_jobs_machines_meets_on_its_own_first() -> None:
    """Rank 0 runs on the first machine of the step."""
    put(SLURM, SLURM_STEP_NODELIST="gpu[09-10]")

    assert SLURMEnvironment().main_address == "gpu09"


@pytest.mark.parametrize(
    "changes",
    [{"SLURM_JOB_NAME": "bash"}, {"SLURM_JOB_NAME": "interactive"}, {"SLURM_STEP_ID": None, "ENVIRONMENT": "BATCH"}],
)
def test_a_shell_or_batch_script_of_slurm_is_no_task(changes: dict[str, Any]) -> None:
    """There the trainer starts the processes."""
    put(SLURM, **changes)

    assert isinstance(detect_environment(), LightningEnvironment)


def test_srun_that_is_there_and_not_used_is_told(tmp_path: Path) -> None:
    """The warning holds the line to write; in a job that is meant to be interactive there is none."""
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    os.environ["PATH"] = str(tmp_path)

    with pytest.warns(PossibleUserWarning, match="To use the job's tasks write `srun python"):
        assert not SLURMEnvironment.detect()

    os.environ["SLURM_JOB_NAME"] = "bash"
    assert not SLURMEnvironment.detect()
    assert SLURMEnvironment.job_id() is None


def test_tasks_that_slurm_spread_evenly_need_no_number_per_machine() -> None:
    """`--ntasks` is as good where the tasks came out even."""
    put(SLURM, SLURM_NTASKS_PER_NODE=None, SLURM_TASKS_PER_NODE="2(x2)")

    SLURMEnvironment().validate_settings(2, 2)


@pytest.mark.parametrize("spread", [None, "3,1"])
def test_tasks_that_are_spread_unevenly_are_a_runtime_error(spread: str | None) -> None:
    """The message holds the option to write."""
    put(SLURM, SLURM_NTASKS_PER_NODE=None, SLURM_TASKS_PER_NODE=spread)

    with pytest.raises(RuntimeError, match="write `--ntasks-per-node=4`") as caught:
        SLURMEnvironment()

    assert isinstance(caught.value, SlurmTasksError)


def lsf(folder: Path, machines: list[str]) -> dict[str, str]:
    (folder / "ranks").write_text("\n".join(["launcher", *machines]))
    return {
        "LSB_JOBID": "1234",
        "LSB_DJOB_RANKFILE": str(folder / "ranks"),
        "JSM_NAMESPACE_SIZE": "4",
        "JSM_NAMESPACE_RANK": "3",
        "JSM_NAMESPACE_LOCAL_RANK": "1",
    }


def test_lsf_says_ranks_and_its_file_the_machines(tmp_path: Path) -> None:
    """The launching machine does not count; the machine of rank 0 comes first."""
    put(lsf(tmp_path, ["other", "other", socket.gethostname(), socket.gethostname()]))
    environment = detect_environment()

    assert isinstance(environment, LSFEnvironment)
    assert ranks_of(environment) == (4, 3, 1, 1)
    assert (environment.main_address, environment.main_port) == ("other", 10234)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("other", "10234")


def test_lsf_without_this_machine_in_its_file_is_an_error(tmp_path: Path) -> None:
    """The message shows what the file holds."""
    put(lsf(tmp_path, ["other", "another"]))

    with pytest.raises(MisconfigurationValueError, match=r"holds \['other', 'another'\] after the launching one"):
        LSFEnvironment()


def test_lsf_without_its_file_is_an_error(tmp_path: Path) -> None:
    """A variable that names no file is told with the reason."""
    put(lsf(tmp_path, []), LSB_DJOB_RANKFILE=str(tmp_path / "none"))

    with pytest.raises(MisconfigurationValueError, match="which cannot be read"):
        LSFEnvironment()


def test_kubeflow_is_meant_by_who_says_so() -> None:
    """It has one process in each pod, and is never found out."""
    put({"RANK": "2", "WORLD_SIZE": "3", "MASTER_ADDR": "pod-0", "MASTER_PORT": "23456"})
    environment = KubeflowEnvironment()

    assert not KubeflowEnvironment.detect()
    assert ranks_of(environment) == (3, 2, 0, 2)
    assert (environment.main_address, environment.main_port) == ("pod-0", 23456)
    check_topology(environment, 1, 3)


_MPI_SCRIPT = """
from lt_loops.environments import detect_environment
e = detect_environment()
print(type(e).__name__, e.world_size(), e.global_rank(), e.local_rank(), e.node_rank(), e.main_port, flush=True)
"""


@pytest.mark.skipif(shutil.which("mpiexec") is None, reason="needs an MPI library with mpiexec")
def test_mpi_says_ranks_and_rank_zero_the_port() -> None:
    """Two real processes of mpiexec agree on the port."""
    pytest.importorskip("mpi4py")
    done = subprocess.run(
        ["mpiexec", "-n", "2", sys.executable, "-c", _MPI_SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    lines = sorted(line.split() for line in done.stdout.splitlines())

    assert [line[:5] for line in lines] == [
        ["MPIEnvironment", "2", "0", "0", "0"],
        ["MPIEnvironment", "2", "1", "1", "0"],
    ]
    assert lines[0][5] == lines[1][5]


def test_mpi_without_mpi4py_is_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by hand; and where mpirun started the process, before the trainer would start more."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)

    with pytest.raises(MissingPackageError, match="pip install mpi4py"):
        MPIEnvironment()

    put({"OMPI_COMM_WORLD_SIZE": "4"})
    monkeypatch.delitem(sys.modules, "mpi4py")
    monkeypatch.setattr("lt_loops.environments.mpi.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"`mpirun` has started 4 processes.*pip install mpi4py"):
        Trainer(accelerator="cpu", devices=4, strategy="ddp", logger=False)


# -- of others


class Cluster(ClusterEnvironment):
    """A user's own: its numbers are attributes."""

    creates_processes_externally = True
    main_address = "127.0.0.1"
    main_port = 29501

    def __init__(self, world_size: int = 2, rank: int = 1, local_rank: int = 1, node_rank: int = 0) -> None:
        self.numbers = (world_size, rank, local_rank, node_rank)

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.numbers[0]

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self.numbers[1]

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self.numbers[2]

    def node_rank(self) -> int:
        return self.numbers[3]


def test_an_environment_of_the_users_own_is_taken() -> None:
    """It wins over what the variables say, and its own count of ranks is kept."""
    put(TORCHRUN)

    trainer = Trainer(accelerator="cpu", devices=2, num_nodes=2, plugins=[Cluster(4, 1, 0, 1)], logger=False)

    assert (trainer.world_size, trainer.global_rank, trainer.local_rank, trainer.node_rank) == (4, 1, 0, 1)
    assert trainer.strategy.launcher is None


def test_an_environment_can_be_named() -> None:
    """By the name under which it is registered."""
    put({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "pod-0", "MASTER_PORT": "23456"})

    trainer = Trainer(accelerator="cpu", devices=1, num_nodes=2, plugins="kubeflow", logger=False)

    assert isinstance(trainer.strategy.cluster_environment, KubeflowEnvironment)
    with pytest.raises(MisconfigurationValueError, match=r"no cluster environment 'slurn'.*mean `slurm`"):
        Trainer(accelerator="cpu", plugins=["slurn"], logger=False)


_THEIRS = """
import os
from lt_loops.environments import LightningEnvironment


class Theirs(LightningEnvironment):
    started_by = "their scheduler"

    @staticmethod
    def detect():
        return "THEIR_JOB" in os.environ
"""


def test_an_installed_package_adds_an_environment_that_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked before ours, and only where it finds itself is it taken."""
    (tmp_path / "their_cluster.py").write_text(_THEIRS)
    info = tmp_path / "their_cluster-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-cluster\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lt.environments]\ntheirs = their_cluster:Theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        before = type(detect_environment()).__name__
        put({**TORCHRUN, "THEIR_JOB": "1"})
        found = detect_environment()

        assert before == "LightningEnvironment"
        assert type(found).__name__ == "Theirs"
        assert "theirs" in EnvironmentRegistry
    finally:
        EnvironmentRegistry.remove("theirs")


def test_one_process_takes_an_environment_and_has_one_rank() -> None:
    """It may be meant for other runs of the script, or for SLURM's queue."""
    environment = Cluster()

    trainer = Trainer(accelerator="cpu", devices=1, plugins=[environment], logger=False)

    assert trainer.strategy.cluster_environment is environment
    assert (trainer.world_size, trainer.global_rank) == (1, 0)


# -- back into SLURM's queue


class Announce(Callback):
    """Sends this process the signal of a job whose time is over."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGUSR1)


def fit_as_a_task(folder: Path, answer: str, **arguments: Any) -> tuple[Trainer, list[str]]:
    """Fit in a task of SLURM whose time ends at the second step; what this machine's `scontrol` was called with."""
    calls = folder / "calls"
    (folder / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{answer}\n')
    (folder / "scontrol").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    put(SLURM, PATH=path, SLURM_NTASKS=1, SLURM_NTASKS_PER_NODE=1, SLURM_NNODES=1, SLURM_PROCID=0, SLURM_LOCALID=0)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=4,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[Announce()],
        **arguments,
    )
    code: Any = 0
    try:
        trainer.fit(BoringModel())
    except SystemExit as ended:
        code = ended.code
    assert code == (143 if trainer.received_sigterm else 0)
    return trainer, calls.read_text().splitlines() if calls.exists() else []


def test_slurms_signal_saves_the_run_and_puts_the_job_back(tmp_path: Path) -> None:
    """One process on one device; the handler is gone afterwards."""
    trainer, calls = fit_as_a_task(tmp_path, "exit 0")

    assert calls == ["requeue 1234567"]
    assert (tmp_path / "hpc_ckpt_1.ckpt").exists()
    assert trainer.global_step == 2
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_job_of_an_array_is_put_back_by_its_place(tmp_path: Path) -> None:
    """The job's own number would name another one."""
    put({"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "3"})

    _, calls = fit_as_a_task(tmp_path, "exit 0", plugins=[SLURMEnvironment()])

    assert calls == ["requeue 77_3"]


def test_a_queue_that_does_not_take_the_job_is_warned_of(tmp_path: Path) -> None:
    """The state is saved in any case."""
    with pytest.warns(UserWarning, match=r"`scontrol requeue 1234567` did not work: no permission. The run's state is"):
        fit_as_a_task(tmp_path, "echo no permission >&2; exit 1")

    assert (tmp_path / "hpc_ckpt_1.ckpt").exists()


def test_a_handler_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    """The run goes on."""
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    try:
        trainer, calls = fit_as_a_task(tmp_path, "exit 0")
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert came == [signal.SIGUSR1]
    assert calls == []
    assert trainer.global_step == 4


class Handler(Callback):
    """Notes who handles the signal while the run trains."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.found = signal.getsignal(signal.SIGUSR1)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_job_that_must_not_be_put_back_leaves_the_signal_alone(wanted: bool, tmp_path: Path) -> None:
    """`auto_requeue` decides."""
    put(SLURM)
    note = Handler()
    environment = SLURMEnvironment(auto_requeue=wanted)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        fast_dev_run=True,
        default_root_dir=tmp_path,
        callbacks=[note],
        plugins=[environment],
        enable_progress_bar=False,
        enable_model_summary=False,
    )

    trainer.fit(BoringModel())

    assert (note.found != signal.SIG_DFL) == wanted


# -- contradictions

CONTRADICTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "torchrun started fewer": (
        {**TORCHRUN},
        {"devices": 4},
        r"torchrun has started 2 processes \(WORLD_SIZE\), and `devices=4, num_nodes=1` ask for 4.*`devices=2, num_no",
    ),
    "torchrun on other machines": (
        {**TORCHRUN, "WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 4},
        {"devices": 2, "num_nodes": 2},
        r"started 4 processes on this machine \(LOCAL_WORLD_SIZE\), and `devices=2`.*write `devices=4, num_nodes=1`",
    ),
    "torchrun without a size": (
        {**TORCHRUN, "WORLD_SIZE": None},
        {"devices": 2},
        "WORLD_SIZE is None, and torchrun cannot do without it",
    ),
    "torchrun for each task of SLURM": (
        {**SLURM, **TORCHRUN, "SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 2},
        {"devices": 2},
        r"SLURM has started 2 tasks.* torchrun .* knows of 1.*call `srun --ntasks-per-node=1 torchrun",
    ),
    "local rank too high": (
        {**OWN, "LOCAL_RANK": 2},
        {"devices": 2},
        r"number 2 on its machine \(local rank, said by LOCAL_RANK\), and `devices=2` gives each machine 2",
    ),
    "rank without size": (
        {"RANK": 1},
        {"devices": 2},
        "RANK is 1, and neither WORLD_SIZE nor LOCAL_RANK exists.*unset RANK",
    ),
    "rank and local rank without size": (
        {**OWN, "WORLD_SIZE": None, "RANK": 1},
        {"devices": 2},
        "RANK is 1, and WORLD_SIZE does not exist.*set WORLD_SIZE=2, or unset RANK",
    ),
    "rank and size without local rank": (
        {"RANK": 1, "WORLD_SIZE": 4},
        {"devices": 2},
        "RANK=1 and WORLD_SIZE=4 say that there are 4 processes, LOCAL_RANK does not exist.*KubeflowEnvironment",
    ),
    "rank of another place": (
        {**OWN, "RANK": 0},
        {"devices": 2},
        "RANK is 0; .* NODE_RANK=0 and LOCAL_RANK=1 it should be 1",
    ),
    "size of another world": (
        {**OWN, "WORLD_SIZE": 4},
        {"devices": 2},
        "WORLD_SIZE is 4, and `devices=2, num_nodes=1` ask for 2 processes",
    ),
    "local rank is no number": (
        {**OWN, "LOCAL_RANK": "one"},
        {"devices": 2},
        "LOCAL_RANK is 'one'. Expected a whole number from 0",
    ),
    "node rank is negative": ({**OWN, "NODE_RANK": -1}, {"devices": 2}, "NODE_RANK is '-1'. Expected a whole number"),
    "no port": (
        {**OWN, "MASTER_PORT": None},
        {"devices": 2},
        "started by somebody else, and MASTER_PORT, where it would meet the others, does not exist.*MASTER_PORT=29500",
    ),
    "port is no number": ({**OWN, "MASTER_PORT": "http"}, {"devices": 2}, "MASTER_PORT is 'http'. Expected a port, 1"),
    "port is too high": ({**OWN, "MASTER_PORT": 70000}, {"devices": 2}, "MASTER_PORT is '70000'. .* 1 to 65535"),
    "node rank too high": (
        {**OWN, "NODE_RANK": 2, "WORLD_SIZE": 4, "LOCAL_RANK": 0},
        {"devices": 2, "num_nodes": 2},
        r"machine number 2 \(node rank, .*\), and `num_nodes=2` counts 2",
    ),
    "several machines without a cluster": (
        {},
        {"devices": 2, "num_nodes": 2},
        "no cluster has started this process, and NODE_RANK and MASTER_ADDR and MASTER_PORT .* do not exist.*torchrun",
    ),
    "second machine without an address": (
        {"NODE_RANK": 1, "MASTER_PORT": 29500},
        {"devices": 2, "num_nodes": 2},
        "and MASTER_ADDR of the environment does not exist",
    ),
    "SLURM with other tasks per node": (
        {**SLURM},
        {"devices": 4, "num_nodes": 2},
        r"2 tasks on each machine \(`--ntasks-per-node=2`\), and `devices=4`.*write `devices=2`",
    ),
    "SLURM with other nodes": (
        {**SLURM},
        {"devices": 2, "num_nodes": 1},
        r"tasks on 2 machines \(`--nodes=2`\), and `num_nodes=1`.*write `num_nodes=2`",
    ),
    "SLURM with other tasks": (
        {**SLURM, "SLURM_NTASKS": 3, "SLURM_NTASKS_PER_NODE": None, "SLURM_TASKS_PER_NODE": "3", "SLURM_NNODES": 1},
        {"devices": 2},
        r"SLURM has started 3 tasks \(`--ntasks=3`\).*ask for 2.*srun --nodes=1 --ntasks-per-node=2",
    ),
    "SLURM with uneven tasks": (
        {**SLURM, "SLURM_NTASKS_PER_NODE": None, "SLURM_TASKS_PER_NODE": "3,1"},
        {"devices": 2, "num_nodes": 2},
        "asked for `--ntasks=4`, and spread the tasks over the machines as 3,1",
    ),
    "SLURM and another size": (
        {**SLURM, "WORLD_SIZE": 8},
        {"devices": 2, "num_nodes": 2},
        "SLURM says SLURM_NTASKS=4, and the environment variable WORLD_SIZE is 8",
    ),
    "SLURM and another rank": (
        {**SLURM, "RANK": 0},
        {"devices": 2, "num_nodes": 2},
        "SLURM says SLURM_PROCID=3, and the environment variable RANK is 0",
    ),
    "Kubeflow without a rank": (
        {"WORLD_SIZE": 2, "MASTER_ADDR": "pod-0", "MASTER_PORT": 23456},
        {"devices": 1, "num_nodes": 2, "plugins": "kubeflow"},
        "RANK is None, and Kubeflow cannot do without it",
    ),
    "Kubeflow with several devices": (
        {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "pod-0", "MASTER_PORT": 23456},
        {"devices": 2, "num_nodes": 2, "plugins": "kubeflow"},
        "started 2 pods with one process each.*write `devices=1, num_nodes=2`",
    ),
    "an own environment that counts otherwise": (
        {},
        {"devices": 2, "plugins": [Cluster(3)]},
        r"There are 3 processes \(world size, said by Cluster\), and `devices=2, num_nodes=1` ask for 2",
    ),
    "an own environment with a rank too high": (
        {},
        {"devices": 2, "plugins": [Cluster(2, rank=2)]},
        r"number 2 of all \(global rank, said by Cluster\), and there are 2",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_one_error_before_anything_starts(case: str) -> None:
    """What was found, what was expected, what to write; at construction, so that nothing can hang."""
    variables, arguments, said = CONTRADICTIONS[case]
    put(variables)

    with pytest.raises(LtError, match=said) as caught:
        Trainer(**{"accelerator": "cpu", "strategy": "ddp", "logger": False, **arguments})

    assert "Expected" in str(caught.value)
    assert not caught.value.problems  # one error


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        (TORCHRUN, {"devices": 2}),
        (
            {**TORCHRUN, "WORLD_SIZE": 4, "GROUP_WORLD_SIZE": 2, "RANK": 3, "GROUP_RANK": 1},
            {"devices": 2, "num_nodes": 2},
        ),
        (SLURM, {"devices": 2, "num_nodes": 2}),
        ({**SLURM, **TORCHRUN, "SLURM_NTASKS": 1, "SLURM_NTASKS_PER_NODE": 1}, {"devices": 2}),
        ({**SLURM, "WORLD_SIZE": 4, "RANK": 3}, {"devices": 2, "num_nodes": 2}),
        (OWN, {"devices": 2}),
        ({**OWN, "WORLD_SIZE": None}, {"devices": 2}),
        ({**OWN, "RANK": 1}, {"devices": 2}),
        ({"RANK": 0, "WORLD_SIZE": 1, "MASTER_PORT": 23456}, {"devices": 2}),  # a PyTorchJob of one pod
        ({"NODE_RANK": 0, "MASTER_PORT": 29500}, {"devices": 2, "num_nodes": 2}),
        ({"NODE_RANK": 1, "MASTER_PORT": 29500, "MASTER_ADDR": "a", "WORLD_SIZE": 4}, {"devices": 2, "num_nodes": 2}),
        ({"SLURM_NTASKS": 1, "SLURM_STEP_ID": None, "ENVIRONMENT": "BATCH"}, {"devices": 2}),
    ],
)
def test_what_fits_together_is_taken(variables: dict[str, Any], arguments: dict[str, Any]) -> None:
    """The usual ways to start processes are no contradiction."""
    put(variables)

    trainer = Trainer(accelerator="cpu", strategy="ddp", logger=False, **arguments)

    assert trainer.world_size == arguments["devices"] * arguments.get("num_nodes", 1)


def test_processes_that_would_train_alone_are_told() -> None:
    """`devices` was left out under torchrun: each process would train by itself."""
    put(TORCHRUN, RANK=0, LOCAL_RANK=0)

    with pytest.warns(UserWarning, match=r"torchrun has started 2 processes, and each of them trains alone.*devices=2"):
        Trainer(accelerator="cpu", logger=False)

    assert Trainer(accelerator="cpu", devices=1, logger=False).world_size == 1
