"""The Trainer passes the kit by which anybody's trainer is judged."""

from __future__ import annotations

from typing import Any

import pytest

from lt_core.testing import Check, trainer_checks
from lt_loops import Trainer


def make_trainer(**arguments: Any) -> Trainer:
    """Make a Trainer that does only what the kit asks for: no defaults of its own, no sanity check."""
    callbacks = arguments.get("callbacks") or []
    own: dict[str, Any] = {
        "accelerator": "cpu",
        "enable_checkpointing": any(callback.role == "checkpoint" for callback in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "logger": arguments.pop("logger", None) or False,
    }
    return Trainer(**own, **arguments)


@pytest.mark.filterwarnings("ignore:.*there is no validation loader")  # the kit fits without one on purpose
@pytest.mark.filterwarnings("ignore:.*log_every_n_steps")  # and on two batches
@pytest.mark.parametrize("check", trainer_checks(), ids=str)
def test_the_trainer_conforms(check: Check) -> None:
    """Each behaviour of the trainer kit holds for it."""
    check(make_trainer)
