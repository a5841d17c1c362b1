"""A script that was started again for a further rank takes its place among the ranks."""

from __future__ import annotations

import multiprocessing

from lt_loops.launchers.job import current_job, enter_job, job_of_environment
from lt_loops.launchers.watch import RankWatch

__all__ = ["enter_started_script"]


def enter_started_script() -> None:
    """Take part in the job that the environment tells of, where this process was started as a script."""
    if current_job() is not None or multiprocessing.parent_process() is not None:
        return
    job = job_of_environment()
    if job is not None:
        enter_job(job)
        RankWatch(job).install(takes_faults=False)
