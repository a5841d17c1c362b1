"""Logs what a device tells of itself: memory of an accelerator, load of the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lt_callbacks.overriding import is_replaced
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MissingPackageError

if TYPE_CHECKING:
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["DeviceStatsMonitor"]

_HOOKS = tuple(f"on_{stage}_batch_{edge}" for stage in ("train", "validation", "test") for edge in ("start", "end"))


class DeviceStatsMonitor(Callback):
    """Log the statistics of the device, at the start and the end of batches, each ``log_every_n_steps``.

    They are named ``DeviceStatsMonitor.<hook>/<name>``. For the processor, which psutil tells of, the names are
    ``cpu_percent``, ``cpu_vm_percent`` and ``cpu_swap_percent``; for CUDA those of `torch.cuda.memory_stats`.

    Args:
        cpu_stats: Whether to log the statistics of the processor. By default, where it is what trains.

    Raises:
        MisconfigurationException: When fit begins: the trainer has no logger.
        MissingPackageError: Then, too: statistics of the processor are wanted, and psutil is not installed.

    Example:
        >>> DeviceStatsMonitor(cpu_stats=False).uses_hook("on_train_batch_end")
        True
    """

    def __init__(self, cpu_stats: bool | None = None) -> None:  # noqa: FBT001 - the position is part of the public API
        super().__init__()
        if cpu_stats not in (None, True, False):
            raise MisconfigurationTypeError(
                f"DeviceStatsMonitor got cpu_stats={cpu_stats!r}; expected True, False or None. Write"
                " `cpu_stats=True` to log the load of the processor beside that of an accelerator."
            )
        self._cpu_stats = cpu_stats
        self._is_idle = False

    def uses_hook(self, name: str) -> bool:
        """Leave out the batches where there is nothing to log."""
        return name not in _HOOKS or not self._is_idle or is_replaced(self, DeviceStatsMonitor, name)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that there is something to log, and somewhere to log to."""
        on_cpu = trainer.strategy.root_device.type == "cpu"
        self._is_idle = not trainer.loggers or (on_cpu and self._cpu_stats is False)
        if stage != "fit":
            return
        if not trainer.loggers:
            raise MisconfigurationException(
                "Cannot use `DeviceStatsMonitor` callback with `Trainer(logger=False)`: there is nowhere to log to."
                " Expected a logger. Write `Trainer(logger=True)`, or leave the callback out."
            )
        if self._cpu_stats or (on_cpu and self._cpu_stats is None):
            _processor_stats()  # says what is missing

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Log before a training batch."""
        self._log(trainer, "on_train_batch_start")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Log after a training batch."""
        self._log(trainer, "on_train_batch_end")

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Log before a validation batch."""
        self._log(trainer, "on_validation_batch_start")

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Log after a validation batch."""
        self._log(trainer, "on_validation_batch_end")

    def on_test_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Log before a test batch."""
        self._log(trainer, "on_test_batch_start")

    def on_test_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Log after a test batch."""
        self._log(trainer, "on_test_batch_end")

    def _log(self, trainer: Trainer, hook: str) -> None:
        every, window = trainer.log_every_n_steps, trainer.num_logged_windows
        is_due = bool(every) and (window + 1) % every == 0
        if not (is_due or trainer.should_stop) or self._is_idle:
            return
        device = trainer.strategy.root_device
        stats = _device_stats(trainer, device)
        if self._cpu_stats and device.type != "cpu":
            stats = {**stats, **_processor_stats()}
        for logger in trainer.loggers:
            separator = logger.group_separator
            prefix = f"{type(self).__qualname__}.{hook}{separator}"
            logger.log_metrics({f"{prefix}{name}": value for name, value in stats.items()}, step=window)


def _device_stats(trainer: Trainer, device: torch.device) -> dict[str, Any]:
    """Ask the trainer's accelerator, if it has one; kinds of devices that others add know their own names."""
    accelerator: Any = getattr(trainer, "accelerator", None)
    if accelerator is not None and device.type != "cpu":
        return dict(accelerator.get_device_stats(device))
    if device.type == "cuda":
        return dict(torch.cuda.memory_stats(device))
    return _processor_stats() if device.type == "cpu" else {}


def _processor_stats() -> dict[str, float]:
    try:
        import psutil
    except ImportError as error:
        raise MissingPackageError(
            "`DeviceStatsMonitor` cannot log CPU stats as `psutil` is not installed. It was expected to be. Run"
            ' `pip install "lt-callbacks[stats]"`, or write `cpu_stats=False`.'
        ) from error
    return {
        "cpu_vm_percent": psutil.virtual_memory().percent,
        "cpu_percent": psutil.cpu_percent(),
        "cpu_swap_percent": psutil.swap_memory().percent,
    }
