"""Scripts that run under Hydra: each rank gets the same configuration, and writes Hydra's own files nowhere else."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hydra_arguments", "original_folder"]


def _hydra() -> Any:
    """Return Hydra's configuration of this process, None where it does not run under Hydra."""
    module = sys.modules.get("hydra.core.hydra_config")
    if module is None or not module.HydraConfig.initialized():
        return None
    return module.HydraConfig.get()


def hydra_arguments(rank: int) -> tuple[str, ...]:
    """Return what the script of a further rank is called with in addition: the same output folder, no second log."""
    config = _hydra()
    if config is None:
        return ()
    return (
        f'hydra.run.dir="{os.path.abspath(config.runtime.output_dir)}"',
        f"hydra.job.name=train_ddp_process_{rank}",
        "hydra.output_subdir=null",
    )


@contextmanager
def original_folder() -> Iterator[None]:
    """Be where the script was started while its twins are: Hydra may have changed the folder since."""
    config = _hydra()
    if config is None:
        yield
        return
    here = os.getcwd()
    os.chdir(config.runtime.cwd)
    try:
        yield
    finally:
        os.chdir(here)
