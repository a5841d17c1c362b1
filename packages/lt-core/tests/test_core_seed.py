"""Seeding, and taking and restoring the states of the random number generators."""

import io
import os
import random
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lt_core.errors import MisconfigurationValueError
from lt_core.rank_zero import rank_zero_only
from lt_core.seed import (
    collect_random_states,
    isolate_rng,
    pl_worker_init_function,
    reset_seed,
    restore_random_states,
    seed_everything,
)


@pytest.fixture(autouse=True)
def given_back(monkeypatch: pytest.MonkeyPatch):
    """Generators and environment are as they were after each test."""
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        # Setting before deleting makes monkeypatch undo what the test itself sets.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with isolate_rng():
        yield


def draws() -> list[float]:
    """Numbers from every generator there is, including the cached second normal variate of Python and NumPy."""
    found = [random.random(), random.gauss(0, 1), *torch.randn(3).tolist()]
    try:
        import numpy as np
    except ImportError:
        return found
    # The global generator is what is tested.
    return [*found, float(np.random.rand()), float(np.random.randn())]  # noqa: NPY002


def test_same_seed_gives_the_same_draws_and_another_seed_others():
    """All generators are seeded, and the seed is returned and noted for child processes."""
    assert seed_everything(11, verbose=False) == 11
    first = draws()
    seed_everything(11, verbose=False)
    again = draws()
    seed_everything(12, workers=True, verbose=False)
    other = draws()

    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert os.environ["PL_GLOBAL_SEED"] == "12"
    assert os.environ["PL_SEED_WORKERS"] == "1"


def test_without_seed_the_environment_decides():
    """A launcher hands its seed to the processes it starts."""
    os.environ["PL_GLOBAL_SEED"] = "123"

    assert seed_everything(verbose=False) == 123


def test_without_seed_and_environment_the_seed_is_zero_with_a_notice():
    """The notice says how to choose one; verbose=False keeps it quiet."""
    with pytest.warns(UserWarning, match="the seed is 0"):
        assert seed_everything() == 0
    del os.environ["PL_GLOBAL_SEED"]
    assert seed_everything(verbose=False) == 0


def test_seed_is_logged(caplog):
    """One line with the rank and the seed."""
    with caplog.at_level("INFO", logger="lt"):
        seed_everything(5)

    assert caplog.messages == ["[rank: 0] Seed set to 5"]


@pytest.mark.parametrize("seed", ["17", 17.0, 17])
def test_seed_may_come_as_text_or_whole_float(seed):
    """Configuration files and command lines give such values."""
    assert seed_everything(seed, verbose=False) == 17


@pytest.mark.parametrize("seed", [-1, 2**32, "many", 1.5, [1]])
def test_bad_seed_is_an_error_with_value_range_and_fix(seed):
    """It is a ValueError, too, and nothing is seeded."""
    before = torch.get_rng_state()

    with pytest.raises(
        MisconfigurationValueError, match=r"whole number from 0 to 4294967295.*Write, for example"
    ) as info:
        seed_everything(seed)

    assert isinstance(info.value, ValueError)
    assert str(seed) in str(info.value)
    assert torch.equal(before, torch.get_rng_state())


def test_bad_seed_in_the_environment_names_the_variable():
    """The user has to look where the value came from."""
    os.environ["PL_GLOBAL_SEED"] = "abc"

    with pytest.raises(MisconfigurationValueError, match="PL_GLOBAL_SEED is 'abc'"):
        seed_everything()


def test_reset_repeats_the_last_seed_and_does_nothing_without_one():
    """Processes that set up communication seed again afterwards."""
    seed_everything(3, workers=True, verbose=False)
    first = draws()
    draws()
    reset_seed()
    assert draws() == first
    assert os.environ["PL_SEED_WORKERS"] == "1"

    del os.environ["PL_GLOBAL_SEED"]
    before = torch.get_rng_state()
    reset_seed()
    assert torch.equal(before, torch.get_rng_state())


def test_restored_states_give_the_same_bits_even_in_the_middle_of_a_pair_of_normals():
    """Python and NumPy cache every second normal variate: the cache is part of the state."""
    draws()
    random.gauss(0, 1)
    states = collect_random_states()
    expected = [draws() for _ in range(5)]
    seed_everything(99, verbose=False)

    restore_random_states(states)

    assert [draws() for _ in range(5)] == expected


def test_states_survive_a_file_that_is_read_with_weights_only():
    """Only numbers, text, lists and tensors are in them."""
    states = collect_random_states()
    expected = draws()
    buffer = io.BytesIO()
    torch.save(states, buffer)
    buffer.seek(0)

    restore_random_states(torch.load(buffer, weights_only=True))

    assert draws() == expected


@pytest.mark.parametrize("name", ["PCG64", "Philox", "SFC64", "MT19937"])
def test_numpy_generators_of_every_kind_are_restored(name):
    """NumPy's global generator can be exchanged; the states of the others have other forms."""
    numpy = pytest.importorskip("numpy")
    before = numpy.random.get_bit_generator()
    try:
        numpy.random.set_bit_generator(getattr(numpy.random, name)(5))
        numpy.random.randn()
        states = collect_random_states(include_cuda=False)
        expected = [*numpy.random.rand(5), *numpy.random.randn(3)]
        buffer = io.BytesIO()
        torch.save(states, buffer)
        buffer.seek(0)

        restore_random_states(torch.load(buffer, weights_only=True))

        assert [*numpy.random.rand(5), *numpy.random.randn(3)] == expected
    finally:
        numpy.random.set_bit_generator(before)


def test_states_are_taken_and_seeds_set_where_numpy_is_not_installed():
    """NumPy is optional: an import that fails is no error."""
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from lt_core.seed import *\n"
        "import random, torch\n"
        "seed_everything(1, verbose=False); s = collect_random_states(); a = random.random(), float(torch.rand(1))\n"
        "restore_random_states(s); assert a == (random.random(), float(torch.rand(1)))\n"
        "pl_worker_init_function(0)\n"
        "print(sorted(s))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "['cuda', 'cuda_seed', 'python', 'torch']"


def test_isolated_block_leaves_the_generators_as_they_were():
    """What follows the block is as if the block had not been."""
    seed_everything(4, verbose=False)
    expected = draws()
    seed_everything(4, verbose=False)

    with isolate_rng():
        draws()
        seed_everything(77, verbose=False)

    assert draws() == expected


def test_isolated_block_gives_back_also_when_it_raises():
    """An exception passes through, and the states are restored."""
    seed_everything(4, verbose=False)
    expected = draws()
    seed_everything(4, verbose=False)

    @isolate_rng()
    def failing() -> None:
        draws()
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        failing()

    assert draws() == expected


def worker_draws(base: int, worker: int, rank: int) -> tuple[float, ...]:
    torch.manual_seed(base + worker)
    pl_worker_init_function(worker, rank=rank)
    return tuple(draws())


def test_workers_of_all_ranks_draw_different_numbers_and_repeat():
    """Base seed, worker and rank each lead to other numbers in every generator."""
    cases = [(base, worker, rank) for base in (0, 1, 2**40) for worker in (0, 1, 2) for rank in (0, 1, 2)]

    found = [worker_draws(*case) for case in cases]

    for column in zip(*found, strict=True):
        assert len(set(column)) == len(cases)
    assert found == [worker_draws(*case) for case in cases]


def test_rank_of_a_worker_is_that_of_the_process_when_not_given():
    """In a forked worker the rank is still known."""
    try:
        rank_zero_only.rank = 2
        torch.manual_seed(8)
        pl_worker_init_function(0)
        found = tuple(draws())
    finally:
        del rank_zero_only.rank

    assert found == worker_draws(8, 0, 2)


class Draws(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(draws(), dtype=torch.float64)


def test_real_workers_draw_different_numbers():
    """Two worker processes with the function, each sample from other numbers."""
    torch.manual_seed(0)
    loader = DataLoader(Draws(), batch_size=1, num_workers=2, worker_init_fn=pl_worker_init_function)

    rows = torch.cat(list(loader))

    assert rows.unique().numel() == rows.numel()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_draws_are_restored_exactly():
    """Also when the states travel through a file that was mapped to the device."""
    torch.rand(1, device="cuda")
    states = collect_random_states()
    expected = torch.rand(5, device="cuda")
    moved = {key: value.cuda() if isinstance(value, torch.Tensor) else value for key, value in states.items()}
    moved["cuda"] = [state.cuda() for state in states["cuda"]]

    restore_random_states(moved)

    assert torch.equal(torch.rand(5, device="cuda"), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_taking_states_does_not_initialise_cuda_and_restoring_is_exact_all_the_same():
    """A run on the CPU of a machine with devices does not touch them; a device first used inside is set back."""
    code = (
        "import torch; from lt_core.seed import *\n"
        "seed_everything(3, verbose=False)\n"
        "with isolate_rng():\n"
        "    assert not torch.cuda.is_initialized()\n"
        "    inside = torch.rand(4, device='cuda')\n"
        "assert torch.equal(inside, torch.rand(4, device='cuda'))\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_number_of_cuda_devices_is_said():
    """States of devices that are not there cannot be restored, and that changes results."""
    states = collect_random_states()
    states["cuda"] = [torch.zeros(16, dtype=torch.uint8)] * (torch.cuda.device_count() + 1)
    if torch.cuda.device_count():
        states["cuda"] = [*torch.cuda.get_rng_state_all(), states["cuda"][0]]

    with pytest.warns(UserWarning, match=r"make \d+ devices visible"):
        restore_random_states(states)
