"""Find a port on which nobody listens."""

from __future__ import annotations

import socket

from lt_loops.environments.variables import number_or

__all__ = ["find_free_port"]


def find_free_port() -> int:
    """Return a port that is free now, or the one that the variable ``STANDALONE_PORT`` names.

    Example:
        >>> 0 < find_free_port() < 65536
        True
    """
    chosen = number_or("STANDALONE_PORT", None)
    if chosen is not None:
        return chosen
    with socket.socket() as server:
        server.bind(("", 0))
        port: int = server.getsockname()[1]
    return port
