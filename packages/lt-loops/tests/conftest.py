"""What the tests of the loops share: one thread, a quiet trainer, a small module with a hand-written twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lt_loops import Trainer


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def quiet(tmp_path: Any) -> Callable[..., Trainer]:
    """Make trainers on the CPU that write nothing and print nothing unless asked to."""

    def make(**arguments: Any) -> Trainer:
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return Trainer(**{**defaults, **arguments})

    return make
