"""Open the store where processes exchange their first words: within a stated time, or with the reason why not."""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import timedelta

import torch.distributed as dist

from lt_core.errors import LtError, MisconfigurationValueError

__all__ = ["HandshakeError", "open_store", "seconds_to_start"]

_VARIABLE = "LT_START_TIMEOUT"
_DEFAULT = 300.0  # seconds
_GRACE = 2.0  # seconds that torch gets beyond the limit it was given
_LATER = "give them more time by the environment variable LT_START_TIMEOUT (seconds)"


class HandshakeError(LtError, RuntimeError):
    """The processes of a run did not find together, or do not fit together."""


def seconds_to_start(timeout: timedelta) -> float:
    """Return how long processes may wait for each other to start: five minutes, or less if all waits are shorter.

    The environment variable ``LT_START_TIMEOUT`` (seconds) says otherwise.

    Args:
        timeout: How long any wait for the others may take.

    Raises:
        MisconfigurationValueError: The variable is no positive number.

    Example:
        >>> seconds_to_start(timedelta(minutes=30)), seconds_to_start(timedelta(seconds=3))
        (300.0, 3.0)
    """
    text = os.environ.get(_VARIABLE)
    if text is None:
        return min(_DEFAULT, timeout.total_seconds())
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise MisconfigurationValueError(
            f"The environment variable {_VARIABLE} is {text!r}. Expected a positive number of seconds: write, for "
            f"example, {_VARIABLE}=600."
        )
    return seconds


def open_store(address: str, port: int, seconds: float, *, rank: int, hosts: bool) -> dist.TCPStore:
    """Return the store at ``address``.

    Args:
        address: The machine of rank 0.
        port: Where to meet there.
        seconds: How long to try.
        rank: This process's number, for messages.
        hosts: Whether this process holds the store.

    Raises:
        HandshakeError: The port is taken, or nobody answers in time.
    """
    if not hosts:
        _wait_for_listener(address, port, seconds, rank)
    opened: list[dist.TCPStore | dist.DistError] = []

    def connect() -> None:
        try:
            opened.append(
                dist.TCPStore(
                    address,
                    port,
                    None,
                    is_master=hosts,
                    timeout=timedelta(seconds=seconds),
                    wait_for_workers=False,
                    multi_tenant=True,  # a second trainer of this process meets at the same port
                )
            )
        except dist.DistError as error:
            opened.append(error)

    # torch waits for ever where somebody listens and says nothing.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds + _GRACE)
    result = opened[0] if opened else None
    if isinstance(result, dist.TCPStore):
        return result
    if result is not None and hosts:
        raise _cannot_host(address, port, rank, result) from result
    raise HandshakeError(
        f"Rank {rank} reached {address}:{port}, and what listens there is not rank 0 of this run: it did not answer "
        f"as expected within {seconds:g} s. Expected rank 0 there: set MASTER_PORT to a port that nobody uses."
    ) from result


def _wait_for_listener(address: str, port: int, seconds: float, rank: int) -> None:
    """Try until somebody listens; torch would do so as well, and print each failure with a trace."""
    deadline = time.monotonic() + seconds
    failure = _try_to_reach(address, port, seconds)
    while failure is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise HandshakeError(
                f"Rank {rank} found nobody at {address}:{port} (MASTER_ADDR, MASTER_PORT) within {seconds:g} s: "
                f"{failure}. Expected rank 0 there: check that it was started and that the address is its machine's, "
                f"or {_LATER}."
            ) from failure
        time.sleep(min(left, 0.1))
        failure = _try_to_reach(address, port, left)


def _try_to_reach(address: str, port: int, seconds: float) -> OSError | None:
    try:
        socket.create_connection((address, port), timeout=max(seconds, 0.1)).close()
    except OSError as error:
        return error
    return None


def _cannot_host(address: str, port: int, rank: int, error: Exception) -> HandshakeError:
    if "EADDRINUSE" in str(error) or "address already in use" in str(error).lower():
        return HandshakeError(
            f"Rank {rank} cannot wait for the others at {address}:{port} (MASTER_PORT), since that port is in use. "
            "Expected a port of its own, and one process of this rank: set MASTER_PORT to a free port for all "
            "processes, and check that no other run or second rank 0 uses it."
        )
    return HandshakeError(
        f"Rank {rank} cannot wait for the others at {address}:{port} (MASTER_ADDR, MASTER_PORT): "
        f"{str(error).splitlines()[0]} Expected the address of this machine: set MASTER_ADDR to the machine on which "
        "rank 0 runs."
    )
