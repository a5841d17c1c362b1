"""Where a cross-validation keeps what it has: ``<default_root_dir>/cross_validation/version_<n>/fold_<i>``.

A run that was killed leaves a folder in which not every fold has a result; with ``ckpt_path="last"`` it goes on there.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_core.atomic_file import replacing_file
from lt_core.errors import MisconfigurationException
from lt_core.rank_zero import rank_zero_info

if TYPE_CHECKING:
    from lt_loops.cross_validation.protocol import FoldsProtocol

__all__ = ["RunFolder"]

_VERSION = re.compile(r"version_(\d+)")
_FACTS = "cross_validation.json"


class RunFolder:
    """The folder of one cross-validation.

    Args:
        path: The folder.
        facts: What is remembered of the run: ``fingerprint``, ``num_folds`` and ``logger_versions``.

    Attributes:
        path: The folder.
        logger_versions: The version that each logger of the trainer had.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.logger_versions: list[Any] = facts["logger_versions"]
        self._num_folds: int = facts["num_folds"]

    @classmethod
    def begin(cls, root: Path, folds: FoldsProtocol, logger_versions: list[Any]) -> RunFolder:
        """Make the folder of a new run.

        Args:
            root: The trainer's folder.
            folds: The folds.
            logger_versions: The version that each logger has now.
        """
        parent = root / "cross_validation"
        path = parent / f"version_{max(_versions(parent), default=-1) + 1}"
        path.mkdir(parents=True)
        facts = {"fingerprint": folds.fingerprint(), "num_folds": len(folds), "logger_versions": logger_versions}
        with replacing_file(path / _FACTS) as file:
            file.write(json.dumps(facts, indent=2).encode())
        return cls(path, facts)

    @classmethod
    def find_unfinished(cls, root: Path, folds: FoldsProtocol) -> RunFolder | None:
        """Return the folder of the last run if folds of it are left to do, else None.

        Raises:
            MisconfigurationException: That run had other folds.
        """
        parent = root / "cross_validation"
        versions = [version for version in _versions(parent) if (parent / f"version_{version}" / _FACTS).exists()]
        if not versions:
            return None
        path = parent / f"version_{max(versions)}"
        facts = json.loads((path / _FACTS).read_text())
        folder = cls(path, facts)
        if all(folder.result(index).exists() for index in range(facts["num_folds"])):
            return None
        if facts["fingerprint"] != folds.fingerprint():
            raise MisconfigurationException(
                f"`cross_validate(ckpt_path='last')` found the unfinished run in {str(path)!r}, which has "
                f"{facts['num_folds']} folds other than these {len(folds)}. Expected the same rows, splitter and seed: "
                "restore them, or leave `ckpt_path` out to begin anew."
            )
        rank_zero_info(f"Going on with the cross-validation in {path}.")
        return folder

    def fold(self, index: int) -> Path:
        """Return the folder of a fold."""
        return self.path / f"fold_{index}"

    def result(self, index: int) -> Path:
        """Return the file with the result of a fold; it exists when the fold is done."""
        return self.path / f"fold_{index}" / "result.ckpt"

    def discard(self, folders: list[Path]) -> None:
        """Remove what a fold has written before it begins anew."""
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _versions(parent: Path) -> list[int]:
    if not parent.is_dir():
        return []
    found = [_VERSION.fullmatch(entry.name) for entry in parent.iterdir() if entry.is_dir()]
    return [int(match[1]) for match in found if match]
