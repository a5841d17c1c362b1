"""Find out who started this process."""

from __future__ import annotations

from lt_loops.environments.base import ClusterEnvironment
from lt_loops.environments.lightning import LightningEnvironment

__all__ = ["detect_environment"]

_IN_ORDER: tuple[type[ClusterEnvironment], ...] = (LightningEnvironment,)


def detect_environment() -> ClusterEnvironment:
    """Return the environment that started this process; the last one is always there."""
    return next(kind() for kind in _IN_ORDER if kind.detect())
