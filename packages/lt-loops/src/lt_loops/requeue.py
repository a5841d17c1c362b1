"""A SLURM job whose time is nearly over: SLURM says so by a signal, the run saves its state, and the job is put back.

The handler only notes the signal; the run ends as it does on SIGTERM: after the same batch on all ranks, with a
checkpoint that the next start of the job finds.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from lt_loops.environments import SLURMEnvironment
    from lt_loops.strategies import Strategy

__all__ = ["RequeueWatch"]


class RequeueWatch:
    """Notes `SLURMEnvironment.requeue_signal` while it is installed, in tasks of SLURM whose job may be put back.

    Args:
        on_signal: Called, with no argument, when the signal arrives.
    """

    def __init__(self, on_signal: Callable[[], None]) -> None:
        self._on_signal = on_signal
        self._environment: SLURMEnvironment | None = None
        self._before: Any = None
        self._came = False

    def install(self, strategy: Strategy) -> None:
        """Begin to watch, unless the user's own code watches for the signal; only a main thread can."""
        environment = _slurm_of(strategy)
        if environment is None or not environment.auto_requeue or environment.requeue_signal is None:
            return
        if threading.current_thread() is not threading.main_thread() or self._environment is not None:
            return
        if signal.getsignal(environment.requeue_signal) not in (signal.SIG_DFL, signal.SIG_IGN):
            return
        self._before = signal.signal(environment.requeue_signal, self._handle)
        self._environment = environment

    def put_back(self, *, first: bool) -> None:
        """Put the job back into the queue, if the signal came.

        Args:
            first: Whether this is rank 0, which does it for all.
        """
        if self._came and first and self._environment is not None:
            self._environment.requeue()

    def remove(self) -> None:
        """Put the former handler back."""
        environment, self._environment = self._environment, None
        self._came = False
        if environment is not None and environment.requeue_signal is not None:
            signal.signal(environment.requeue_signal, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        self._on_signal()


def _slurm_of(strategy: Strategy) -> SLURMEnvironment | None:
    from lt_loops.environments.slurm import SLURMEnvironment, SlurmTasksError, is_task_of_slurm

    environment = strategy.cluster_environment
    if environment is not None:
        return environment if isinstance(environment, SLURMEnvironment) else None
    try:
        return SLURMEnvironment() if is_task_of_slurm() else None
    except SlurmTasksError:  # one process on one device does not care how tasks are spread
        return None
