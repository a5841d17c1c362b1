"""The use of the processor and the memory, as psutil tells it."""

from __future__ import annotations

from lt_core.errors import MissingPackageError

__all__ = ["processor_stats"]


def processor_stats(prefix: str) -> dict[str, float]:
    """Return how much of the machine is in use, in percent.

    Args:
        prefix: What the names start with: ``"cpu"``.

    Raises:
        MissingPackageError: psutil is not installed.
    """
    try:
        import psutil
    except ImportError as error:
        raise MissingPackageError(
            "The use of the processor was asked for, and psutil, which tells it, is not installed. It was expected to"
            " be. Run `pip install psutil`, or ask for no device statistics."
        ) from error
    return {
        f"{prefix}_vm_percent": psutil.virtual_memory().percent,
        f"{prefix}_percent": psutil.cpu_percent(),
        f"{prefix}_swap_percent": psutil.swap_memory().percent,
    }
