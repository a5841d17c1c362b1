"""What a started process does: take its place among the ranks, make the call, leave word of how it went."""

from __future__ import annotations

import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from lt_core.rank_zero import rank_zero_only
from lt_loops.launchers.job import Job, enter_job, job_of_environment
from lt_loops.launchers.results import Known, collect_results
from lt_loops.launchers.signals import default_signals
from lt_loops.launchers.watch import RankWatch

if TYPE_CHECKING:
    from lt_loops.launchers.payload import Payload

__all__ = ["run_rank"]


def run_rank(rank: int, payload: Payload, start_method: str) -> None:
    """Make the call of ``payload`` as the rank of this machine that the environment says.

    Args:
        rank: The number of this process on this machine.
        payload: The trainer and the call.
        start_method: How this process was started.
    """
    os.setsid()  # what this rank starts ends together with it
    default_signals()
    job = job_of_environment(starter_is_parent=start_method != "forkserver")
    if job is None:
        sys.exit(1)  # the starter is gone already
    enter_job(job)
    watch = RankWatch(job)
    watch.install(takes_faults=True)
    try:
        _call(rank, payload, job, start_method)
    except BaseException as error:  # noqa: BLE001 -- the starter raises it
        _leave_error(job, rank, error)
        watch.note(error)
        sys.exit(_exit_status(error))


def _call(rank: int, payload: Payload, job: Job, start_method: str) -> None:
    rank_zero_only.rank = rank  # a forked process has its parent's
    if start_method == "fork":
        torch.set_num_threads(1)  # the threads of OpenMP's pool are not copied, and it would wait for them for ever
    elif "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    trainer, call = payload.open()
    os.environ["MASTER_PORT"] = job.wait_for_port()
    known = Known(trainer, call)
    trainer.metrics_board.sink.device = trainer.strategy.root_device
    value = call(trainer)
    if rank == 0:
        draft = job.folder / "results.draft"
        draft.write_bytes(collect_results(trainer, call, known, value))
        os.replace(draft, job.folder / "results")
    if dist.is_initialized():
        dist.destroy_process_group()
    (job.folder / f"done-{rank}").touch()


def _leave_error(job: Job, rank: int, error: BaseException) -> None:
    """Leave the exception itself, where it can be pickled: the starter raises its own from it."""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
        (job.folder / f"error-{rank}").write_bytes(data)
    except Exception:  # noqa: BLE001 -- an exception's own way of being pickled may raise anything; its traceback is kept
        return


def _exit_status(error: BaseException) -> Any:
    if isinstance(error, SystemExit):
        return error.code or 1
    return 130 if isinstance(error, KeyboardInterrupt) else 1
