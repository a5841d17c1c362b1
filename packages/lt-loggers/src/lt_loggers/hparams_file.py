"""The ``hparams.yaml`` beside a run's metrics: what the run was started with."""

from __future__ import annotations

import os
from typing import Any

from lt_core.hparams_files import save_hparams_to_yaml

__all__ = ["HparamsFile"]


class HparamsFile:
    """Collects hyperparameters and writes them to a YAML file when they have changed.

    Args:
        path: The file.
        keep_existing: Leave a file alone that another run has written.
    """

    def __init__(self, path: str, *, keep_existing: bool) -> None:
        self.path = path
        self.hparams: dict[str, Any] = {}
        self._keep_existing = keep_existing
        self._changed = False
        self._own = False

    @property
    def due(self) -> bool:
        """Whether there is something that :meth:`write` has not dealt with."""
        return self._changed

    def update(self, params: dict[str, Any]) -> None:
        """Take further hyperparameters; later ones win.

        Args:
            params: Values by name.
        """
        self.hparams.update(params)
        self._changed = True

    def write(self) -> None:
        """Write the file if something has changed since it was last written.

        Raises:
            OSError: The file cannot be written. The next call tries again.
        """
        if not self._changed:
            return
        if self._own or not self._keep_existing or not os.path.isfile(self.path):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            save_hparams_to_yaml(self.path, self.hparams)
            self._own = True
        self._changed = False
