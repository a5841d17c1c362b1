"""What a process tells the others about itself before they begin, and what must be the same for all."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import socket
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from lt_core import __version__

__all__ = ["RankCard", "code_of_class", "code_of_script", "disagreement"]


@dataclass(frozen=True)
class RankCard:
    """One process, as it sees itself.

    Attributes:
        rank: Its number among all.
        local_rank: Its number on its machine.
        node_rank: The number of its machine.
        world_size: How many processes it counts.
        num_nodes: How many machines it counts.
        device: Its device: ``"cpu"``, ``"cuda:1"``.
        backend: The process group's backend.
        strategy: The name of the strategy.
        script: Name and digest of the main script, two empty strings where there is none.
        module: Name and digest of the module's source, two empty strings where there is none.
        host: The machine's name.
        pid: The process's number on its machine.
        lt: The version of lt.
        torch: The version of torch.
        python: The version of Python, without its last part.
    """

    rank: int
    local_rank: int
    node_rank: int
    world_size: int
    num_nodes: int
    device: str
    backend: str
    strategy: str = ""
    script: tuple[str, str] = ("", "")
    module: tuple[str, str] = ("", "")
    host: str = ""
    pid: int = 0
    lt: str = ""
    torch: str = ""
    python: str = ""

    def of_this_process(self) -> RankCard:
        """Return a copy that says where it runs, with which versions and which script."""
        known = asdict(self)
        known.update(
            script=code_of_script(),
            host=socket.gethostname(),
            pid=os.getpid(),
            lt=__version__,
            torch=str(torch.__version__),
            python=".".join(platform.python_version_tuple()[:2]),
        )
        return RankCard(**known)

    def dump(self) -> str:
        """Return it as text, for `load`."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str | bytes) -> RankCard:
        """Return the card that `dump` made text of."""
        values: dict[str, Any] = json.loads(text)
        for name in ("script", "module"):
            values[name] = tuple(values[name])
        return cls(**values)

    @property
    def device_kind(self) -> str:
        """The kind of its device, without the index."""
        return self.device.partition(":")[0]

    @property
    def where(self) -> str:
        """Where it runs, for messages."""
        return f"rank {self.rank} (process {self.pid} on {self.host})"


def code_of_script() -> tuple[str, str]:
    """Return name and digest of the script that Python runs; two empty strings in a notebook."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return ("", "") if path is None else _code_of_file(str(path))


def code_of_class(kind: type) -> tuple[str, str]:
    """Return a class's name and the digest of the file that defines it; an empty digest where there is no file.

    Example:
        >>> name, digest = code_of_class(RankCard)
        >>> name, len(digest)
        ('RankCard', 12)
    """
    try:
        path = inspect.getsourcefile(kind)
    except (TypeError, OSError):  # a class of a notebook or of a compiled module
        path = None
    return kind.__qualname__, "" if path is None else _code_of_file(path)[1]


@lru_cache
def _code_of_file(path: str) -> tuple[str, str]:
    try:
        content = Path(path).read_bytes()
    except OSError:
        return "", ""
    return Path(path).name, hashlib.sha256(content).hexdigest()[:12]


def disagreement(first: RankCard, other: RankCard) -> str | None:
    """Return what two processes of one run disagree about, as an error's text; None where they agree."""
    for name, what, instead in _MUST_AGREE:
        theirs, ours = getattr(other, name), getattr(first, name)
        if theirs != ours:
            return _text(first, other, f"{what} {ours}", f"{what} {theirs}", instead)
    if first.script[0] == other.script[0] and first.script[1] != other.script[1]:
        script = f"the script {first.script[0]} with digest"
        return _text(first, other, f"{script} {first.script[1]}", f"{script} {other.script[1]}", _COPY)
    if first.module[0] != other.module[0]:
        ours, theirs = f"the module `{first.module[0]}`", f"the module `{other.module[0]}`"
        return _text(first, other, ours, theirs, "run the same script with the same arguments on all")
    if first.module[1] and other.module[1] and first.module[1] != other.module[1]:
        source = f"the source of `{first.module[0]}` with digest"
        return _text(first, other, f"{source} {first.module[1]}", f"{source} {other.module[1]}", _COPY)
    return None


_COPY = "put the same code on all machines"
_INSTALL = "install the same versions on all machines"
_MUST_AGREE = (
    ("world_size", "a world of size", "start as many processes as `devices` times `num_nodes`, with equal variables"),
    ("num_nodes", "machines:", "pass the same `num_nodes` and `devices` everywhere"),
    ("lt", "lt", _INSTALL),
    ("torch", "torch", _INSTALL),
    ("python", "Python", _INSTALL),
    ("strategy", "the strategy", "pass the same `strategy` everywhere"),
    ("backend", "the backend", "pass the same `process_group_backend` everywhere"),
    ("device_kind", "a device of the kind", "pass the same `accelerator` everywhere, and check the machines' drivers"),
)


def _text(first: RankCard, other: RankCard, ours: str, theirs: str, instead: str) -> str:
    return (
        f"The ranks disagree: {other.where} has {theirs}, {first.where} has {ours}. Expected the same on all ranks: "
        f"{instead}."
    )
