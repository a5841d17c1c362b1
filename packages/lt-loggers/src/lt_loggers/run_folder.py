"""Where a local logger keeps a run: ``<save_dir>/<name>/version_<n>``.

All local loggers share the layout, so that the checkpoints, the TensorBoard files and the CSV files of a run lie in one
folder and tools find them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from lt_core.errors import MisconfigurationTypeError, MisconfigurationValueError
from lt_core.logger import Logger
from lt_loggers.write_retry import OnFailure, checked_on_failure

__all__ = ["RunFolderLogger", "expanded"]

_VERSION = re.compile(r"version_(\d+)")


class RunFolderLogger(Logger):
    """Base of loggers that write files into a folder for each run.

    Args:
        save_dir: The folder that holds everything. Environment variables and ``~`` in it are expanded where files are
            written. It must be local.
        name: The experiment's name, a folder within ``save_dir``; ``""`` or None for no folder of its own.
        version: Which run it is. A number n makes the folder ``version_<n>``, a string is the folder's name as it is;
            None takes the number after the highest that exists, when it is first asked for.
        prefix: What comes before each metric's name, joined with ``-``; ``""`` for nothing.
        on_failure: ``"warn"`` or ``"raise"``, where files cannot be written.

    Raises:
        MisconfigurationValueError: ``save_dir`` is the address of a remote file system, or ``on_failure`` is unknown.
        MisconfigurationTypeError: ``version`` is neither a number nor a string.
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        *,
        on_failure: OnFailure = "warn",
    ) -> None:
        self._on_failure = checked_on_failure(type(self).__name__, on_failure)
        self._save_dir = os.fspath(save_dir)
        self._name = name or ""
        self._version = version
        self._prefix = prefix
        if "://" in self._save_dir:
            raise MisconfigurationValueError(
                f"{type(self).__name__} got save_dir={self._save_dir!r}. Rows are appended to local files, which remote"
                " file systems do not offer. Pass a local folder and copy it afterwards, or mount the remote one."
            )
        if version is not None and (isinstance(version, bool) or not isinstance(version, (int, str))):
            raise MisconfigurationTypeError(
                f"{type(self).__name__} got version={version!r}. It is a whole number, a folder name, or None for the"
                " next free number. Pass one of these."
            )

    @property
    def name(self) -> str:
        """The experiment's name; ``""`` when it has no folder of its own."""
        return self._name

    @property
    def version(self) -> int | str:
        """The run's number or folder name. Without one given, the next free number is taken at the first look."""
        if self._version is None:
            self._version = self._next_version()
        return self._version

    def take_version(self, version: int | str) -> None:
        """Take over the version that rank 0 has found, so that all ranks name the same folder."""
        self._version = version

    @property
    def save_dir(self) -> str:
        """The folder that the logger was given."""
        return self._save_dir

    @property
    def root_dir(self) -> str:
        """The folder that holds all runs of the experiment: ``<save_dir>/<name>``."""
        return os.path.join(self._save_dir, self._name)

    @property
    def log_dir(self) -> str:
        """The folder of this run: ``<save_dir>/<name>/version_<n>``, with variables and ``~`` expanded."""
        version = self.version
        return expanded(os.path.join(self.root_dir, version if isinstance(version, str) else f"version_{version}"))

    def _next_version(self) -> int:
        root = Path(expanded(self.root_dir))
        if not root.is_dir():
            return 0
        found = [_VERSION.fullmatch(entry.name) for entry in root.iterdir() if entry.is_dir()]
        return max((int(match[1]) for match in found if match), default=-1) + 1


def expanded(path: str) -> str:
    """Return a path with environment variables and ``~`` expanded.

    Example:
        >>> expanded("logs")
        'logs'
    """
    return os.path.expanduser(os.path.expandvars(path))
