"""The conformance kit for trainers: what callbacks, loggers and modules rely on, one check for each behaviour.

Use it in a test of your trainer::

    @pytest.mark.parametrize("check", trainer_checks(), ids=str)
    def test_my_trainer_conforms(check):
        check(make_trainer)

where ``make_trainer`` is described at `lt_core.testing.MakeTrainer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lt_core.testing import trainer_kit_hooks, trainer_kit_metrics, trainer_kit_run
from lt_core.testing.check import Check, run_checks

if TYPE_CHECKING:
    from lt_core.testing.kit_parts import MakeTrainer

__all__ = ["check_trainer", "trainer_checks"]


def trainer_checks() -> list[Check]:
    """Return all checks for trainers, to parametrise a test with."""
    return [*trainer_kit_hooks.CHECKS, *trainer_kit_metrics.CHECKS, *trainer_kit_run.CHECKS]


def check_trainer(make_trainer: MakeTrainer) -> None:
    """Run all checks on a trainer.

    Args:
        make_trainer: Makes a fresh trainer from keyword arguments.

    Raises:
        ConformanceError: Lists the behaviours that are missing.

    Example:
        >>> from lt_core.testing import MiniTrainer
        >>> check_trainer(MiniTrainer)
    """
    run_checks(trainer_checks(), make_trainer)
