"""Run a test function on several ranks: real processes that meet through gloo on this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
import traceback
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import torch.distributed as dist  # noqa: TID251 -- the meeting point of the test's processes, not a run's

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RankError", "run_ranks"]

_GRACE = 5.0  # seconds that the other ranks get after the first has failed
_PRELOADED = [
    "torch.distributed",
    "torch._dynamo",  # every optimizer loads it
    "torch.nn.parallel.distributed",
    "lt_core.testing",
    "lt_loops.trainer",
    "lt_callbacks",
]


class RankError(AssertionError):
    """A rank failed, or did not end in time; holds the traceback of each rank that failed."""


def run_ranks(function: Callable[..., Any], world_size: int, *args: Any, timeout: float = 60.0) -> list[Any]:
    """Run ``function(*args)`` on ``world_size`` ranks and return what each of them returns.

    The environment of each process says which rank it is, as if a user had started it: a trainer with as many devices
    and the strategy ``ddp`` in ``function`` runs as that rank.

    Args:
        function: A function of a module, not a local one; it is sent by its name.
        world_size: How many processes.
        args: What can be pickled.
        timeout: After this many seconds all ranks are ended.

    Returns:
        What each rank returned, in the order of ranks; pickled on the way.

    Raises:
        RankError: A rank raised, died or did not end in time.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(_PRELOADED)  # once: later processes are made in a tenth of a second
    store = dist.TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
    processes, connections = [], []
    for rank in range(world_size):
        here, there = context.Pipe(duplex=False)
        environment = _environment(rank, world_size, store.port)
        process = context.Process(target=_work, args=(there, environment, function, args), daemon=False)  # type: ignore[attr-defined]
        process.start()
        there.close()
        processes.append(process)
        connections.append(here)
    try:
        answers = _collect(connections, time.monotonic() + timeout)
    finally:
        for process in processes:
            process.join(0.5)
            if process.is_alive():
                process.kill()
                process.join()
        for connection in connections:
            connection.close()
    return _results(answers, [process.exitcode for process in processes])


def _environment(rank: int, world_size: int, port: int) -> dict[str, str]:
    return {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is hosted by the process that called `run_ranks`
        "OMP_NUM_THREADS": "1",
    }


def _work(connection: Connection, environment: dict[str, str], function: Callable[..., Any], args: Any) -> None:
    import torch

    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        answer = (True, pickle.dumps(function(*args)))
    except BaseException:  # noqa: BLE001 -- it is reported in the process that waits
        answer = (False, pickle.dumps(traceback.format_exc()))
    connection.send(answer)
    connection.close()


def _end_with_parent() -> None:
    """End this process when the one that runs the test is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _collect(connections: list[Any], deadline: float) -> list[tuple[bool, bytes] | None]:
    """Wait for an answer of each rank; None where there is none in time."""
    answers: list[tuple[bool, bytes] | None] = [None] * len(connections)
    waiting: dict[Any, int] = {connection: rank for rank, connection in enumerate(connections)}
    while waiting and time.monotonic() < deadline:
        ready: list[Any] = wait(list(waiting), timeout=max(deadline - time.monotonic(), 0))
        for connection in ready:
            rank = waiting.pop(connection)
            try:
                answers[rank] = connection.recv()
            except EOFError:
                answers[rank] = None
            answer = answers[rank]
            if answer is None or not answer[0]:
                deadline = min(deadline, time.monotonic() + _GRACE)
    return answers


def _results(answers: list[tuple[bool, bytes] | None], exit_codes: list[int | None]) -> list[Any]:
    failures = []
    for rank, answer in enumerate(answers):
        if answer is None:
            failures.append(f"rank {rank} gave no answer; exit code {exit_codes[rank]}")
        elif not answer[0]:
            failures.append(f"rank {rank} raised:\n{pickle.loads(answer[1])}")
    if failures:
        raise RankError("\n".join(failures))
    return [pickle.loads(answer[1]) for answer in answers if answer is not None]
