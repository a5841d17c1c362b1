"""Folds in several processes at a time. Each writes its result to a file, as it does in one process."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationException

if TYPE_CHECKING:
    from lt_loops.cross_validation.protocol import FoldsProtocol
    from lt_loops.cross_validation.run_fold import FoldRun

__all__ = ["run_in_processes"]


def run_in_processes(fold_run: FoldRun, folds: FoldsProtocol, indices: list[int], parallel: int) -> None:
    """Run folds in ``parallel`` processes; the results are in their files afterwards.

    Args:
        fold_run: Runs a fold.
        folds: The folds.
        indices: Which of them.
        parallel: How many processes at a time; they share the threads of this one.

    Raises:
        MisconfigurationException: Something cannot be sent to another process.
    """
    try:
        work = pickle.dumps((fold_run, folds))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise MisconfigurationException(
            f"`cross_validate(parallel={parallel})` could not send the work to other processes: {error}. Expected a "
            "`make_module`, folds, callbacks and loggers that can be pickled: define functions and classes at the top "
            "of a module (no lambda, no local class), or leave `parallel` out."
        ) from error
    threads = max(torch.get_num_threads() // parallel, 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        parallel, mp_context=context, initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        waiting = {pool.submit(_run_one, work, index): index for index in indices}
        try:
            for done in as_completed(waiting):
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_one(work: bytes, index: int) -> None:
    fold_run, folds = _unpack(work)
    fold_run.run(folds[index])


def _unpack(work: bytes) -> tuple[FoldRun, Any]:
    unpacked: tuple[FoldRun, Any] = pickle.loads(work)
    return unpacked
