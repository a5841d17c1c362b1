"""Seeds and states of every random number generator that training draws from.

A run is repeatable, and a resumed run continues with the same bits, only when the generators of Python, NumPy, torch
and each device are set together. States are taken as plain numbers and tensors so that a checkpoint that holds them
can be read with ``weights_only=True``.
"""

from __future__ import annotations

import operator
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationValueError
from lt_core.rank_zero import PossibleUserWarning, rank_prefixed_message, rank_zero_info, rank_zero_only, rank_zero_warn

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "collect_random_states",
    "isolate_rng",
    "pl_worker_init_function",
    "reset_seed",
    "restore_random_states",
    "seed_everything",
]

_LARGEST_SEED = 2**32 - 1  # numpy.random.seed takes no more
_MASK64 = 2**64 - 1


def _numpy() -> ModuleType | None:
    # The one place that asks for NumPy: it is no dependency of this package, and where it can be imported its global
    # generator has to be seeded even if nothing has drawn from it yet.
    try:
        import numpy  # noqa: ICN001 - it is handed on, not used here
    except ImportError:
        return None
    return numpy


def seed_everything(seed: int | None = None, workers: bool = False, verbose: bool = True) -> int:  # noqa: FBT001, FBT002 - a public signature that existing code calls by position
    """Seed the generators of Python, NumPy and torch (all devices).

    The seed is also put into the environment variable ``PL_GLOBAL_SEED``, so that processes started later use it.

    Args:
        seed: From 0 to 2**32 - 1. None: the environment variable ``PL_GLOBAL_SEED``, or 0 where that is not set.
        workers: Whether trainers give data loader workers seeds of their own (:func:`pl_worker_init_function`),
            noted in the environment variable ``PL_SEED_WORKERS``.
        verbose: Whether the seed is logged.

    Returns:
        The seed that was used.

    Raises:
        MisconfigurationValueError: The seed is no whole number or out of range.

    Example:
        >>> seed_everything(7, verbose=False)
        7
        >>> first = torch.rand(1)
        >>> _ = seed_everything(7, verbose=False)
        >>> bool(torch.rand(1) == first)
        True
    """
    given_by_environment = seed is None
    chosen = _seed_from_environment(verbose=verbose) if seed is None else seed
    number = _checked_seed(chosen, source="PL_GLOBAL_SEED" if given_by_environment else "seed")
    if verbose:
        rank_zero_info(rank_prefixed_message(f"Seed set to {number}", rank_zero_only.rank))
    os.environ["PL_GLOBAL_SEED"] = str(number)
    os.environ["PL_SEED_WORKERS"] = str(int(workers))
    random.seed(number)
    numpy = _numpy()
    if numpy is not None:
        numpy.random.seed(number)
    torch.manual_seed(number)
    return number


def _seed_from_environment(*, verbose: bool) -> int | str:
    text = os.environ.get("PL_GLOBAL_SEED")
    if text is not None:
        return text
    if verbose:
        rank_zero_warn("No seed was given and PL_GLOBAL_SEED is not set: the seed is 0. Pass a number to choose one.")
    return 0


def _checked_seed(seed: Any, source: str) -> int:
    # Configuration files and command lines give seeds as text or as 1e3.
    castable = isinstance(seed, str) or (isinstance(seed, float) and seed.is_integer())
    try:
        number = int(seed) if castable else operator.index(seed)
    except (TypeError, ValueError) as error:
        raise MisconfigurationValueError(
            f"{source} is {seed!r}. A seed is a whole number from 0 to {_LARGEST_SEED}."
            f" Write, for example, {source}=42."
        ) from error
    if not 0 <= number <= _LARGEST_SEED:
        raise MisconfigurationValueError(
            f"{source} is {number}, which is out of range. A seed is a whole number from 0 to {_LARGEST_SEED}."
            f" Write, for example, {source}={number % (_LARGEST_SEED + 1)}."
        )
    return number


def reset_seed() -> None:
    """Seed again as the last :func:`seed_everything` did; without one, do nothing."""
    if os.environ.get("PL_GLOBAL_SEED") is not None:
        seed_everything(workers=os.environ.get("PL_SEED_WORKERS", "0") == "1", verbose=False)


def _mix(value: int) -> int:
    # Finalizer of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    value = (value + 0x9E3779B97F4A7C15) & _MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)


def pl_worker_init_function(worker_id: int, rank: int | None = None) -> None:
    """Seed the generators of a data loader worker: each worker of each rank draws its own numbers.

    To be used as ``worker_init_fn`` of a ``DataLoader``. The seeds follow from the seed that the loader drew for this
    epoch, the worker and the rank, so that epochs differ and runs repeat.

    Args:
        worker_id: Number of the worker, from 0.
        rank: Global rank of the process the worker belongs to; None for ``rank_zero_only.rank``. To be given where
            workers are spawned, because the rank does not travel there.

    Example:
        >>> state = collect_random_states()
        >>> pl_worker_init_function(0)
        >>> restore_random_states(state)
    """
    global_rank = rank_zero_only.rank if rank is None else rank
    # torch seeds worker i with base + i; two ranks with the same base seed must still differ.
    stream = _mix((torch.initial_seed() - worker_id) & _MASK64)
    stream = _mix(stream ^ worker_id)
    stream = _mix(stream ^ global_rank)
    words = [stream]
    while len(words) < 4:
        words.append(_mix(words[-1]))
    torch.manual_seed(words[0])
    random.seed(words[1] << 64 | words[2])
    numpy = _numpy()
    if numpy is not None:
        numpy.random.seed([words[3] & 0xFFFFFFFF, words[3] >> 32])


def collect_random_states(include_cuda: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - same form as isolate_rng
    """Take the states of the global generators of Python, NumPy (where installed), torch and each CUDA device.

    CUDA is not initialised by this: while nothing has used a device its generator is as the last seed left it, and
    that seed is kept instead of a state.

    Args:
        include_cuda: Whether the generators of CUDA devices are included.

    Returns:
        Numbers, strings, lists and tensors only, so that ``torch.load(weights_only=True)`` reads them.

    Example:
        >>> states = collect_random_states()
        >>> first = random.random(), torch.rand(1)
        >>> restore_random_states(states)
        >>> (random.random(), torch.rand(1)) == first
        True
    """
    version, internal, gauss_next = random.getstate()
    states: dict[str, Any] = {
        "python": [version, list(internal), gauss_next],
        "torch": torch.get_rng_state(),
    }
    numpy = _numpy()
    if numpy is not None:
        states["numpy"] = _plain(numpy, numpy.random.get_state(legacy=False))
    if include_cuda:
        states["cuda_seed"] = torch.initial_seed()
        states["cuda"] = torch.cuda.get_rng_state_all() if _cuda_is_in_use() else []
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Put the generators back to what :func:`collect_random_states` took.

    Args:
        states: What that function returned, in this process or in another. Generators that it does not name are left
            alone.
    """
    if "python" in states:
        version, internal, gauss_next = states["python"]
        random.setstate((version, tuple(internal), gauss_next))
    if "torch" in states:
        # `.cpu()`: a checkpoint that is read with `map_location` has its states on the device.
        torch.set_rng_state(states["torch"].cpu())
    numpy = _numpy()
    if numpy is not None and "numpy" in states:
        numpy.random.set_state(_unplain(numpy, states["numpy"]))
    if "cuda" in states:
        _restore_cuda(states["cuda"], states["cuda_seed"])


def _cuda_is_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _restore_cuda(saved: list[torch.Tensor], seed: int) -> None:
    if not saved:
        # Nothing had used a device by then. If something has since, seeding gives the generators that state again.
        if _cuda_is_in_use():
            torch.cuda.manual_seed_all(seed)
        return
    present = torch.cuda.device_count()
    if present != len(saved):
        rank_zero_warn(
            f"Random states of {len(saved)} CUDA devices are to be restored and {present} are present. Where the"
            " numbers differ the draws differ from those of the run that saved them; to continue it bit for bit,"
            f" make {len(saved)} devices visible.",
            category=PossibleUserWarning,
        )
    for index, state in enumerate(saved[:present]):
        torch.cuda.set_rng_state(state.cpu(), index)


def _plain(numpy: ModuleType, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(numpy, item) for key, item in value.items()}
    if isinstance(value, numpy.ndarray):
        # torch has few unsigned types: the same bits are kept as signed numbers.
        signed = value.view(f"int{8 * value.itemsize}")
        return {"dtype": value.dtype.name, "bits": torch.tensor(signed.tolist(), dtype=torch.int64)}
    return value


def _unplain(numpy: ModuleType, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"dtype", "bits"}:
        dtype = numpy.dtype(value["dtype"])
        return numpy.array(value["bits"].tolist(), dtype=f"int{8 * dtype.itemsize}").view(dtype)
    return {key: _unplain(numpy, item) for key, item in value.items()}


@contextmanager
def isolate_rng(include_cuda: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002 - a public signature that existing code calls by position
    """Give the generators back as they were, whatever the block draws and however it ends.

    Args:
        include_cuda: Whether the generators of CUDA devices are included.

    Example:
        >>> _ = torch.manual_seed(1)
        >>> with isolate_rng():
        ...     inside = torch.rand(3)
        >>> bool((torch.rand(3) == inside).all())
        True
    """
    states = collect_random_states(include_cuda)
    try:
        yield
    finally:
        restore_random_states(states)
