"""Tests of accelerators: which devices a user's words mean."""

import logging
import sys
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MissingPackageError
from lt_loops.accelerators import (
    Accelerator,
    AcceleratorRegistry,
    CPUAccelerator,
    CUDAAccelerator,
    MPSAccelerator,
    find_usable_cuda_devices,
    resolve_accelerator,
    resolve_devices,
)
from lt_loops.accelerators.parsing import indices_from

no_gpu = pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="asks what happens where there is no GPU"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CPU = torch.device("cpu")


class Abacus(Accelerator):
    """A third party's accelerator: four devices that are numbered from 0 and compute on the processor."""

    @staticmethod
    def name():
        return "abacus"

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def auto_device_count():
        return 4

    @staticmethod
    def parse_devices(devices):
        return indices_from(devices, range(4), "abacuses")

    @staticmethod
    def get_parallel_devices(devices):
        return [torch.device("cpu", index) for index in devices]


@pytest.fixture
def abacus():
    """The third party's accelerator, registered for the test."""
    Abacus.register_accelerators(AcceleratorRegistry)
    yield "abacus"
    AcceleratorRegistry.remove("abacus")


@no_gpu
def test_auto_means_the_processor_where_there_is_no_gpu():
    """Without a GPU `auto` computes on the processor, in one process."""
    accelerator = resolve_accelerator("auto")

    assert isinstance(accelerator, CPUAccelerator)
    assert resolve_devices(accelerator, "auto") == [CPU]


@no_gpu
@pytest.mark.parametrize("flag", ["cuda", "mps"])
def test_an_accelerator_that_is_not_there_is_an_error_that_lists_what_is(flag):
    """The message says what this machine has."""
    with pytest.raises(MisconfigurationException, match=rf"accelerator='{flag}'.*Available here: cpu.*\"auto\""):
        resolve_accelerator(flag)


@no_gpu
def test_gpu_without_any_gpu_is_an_error():
    """`gpu` means mps or cuda; with neither it says so."""
    with pytest.raises(MisconfigurationException, match=r"no supported GPU.*Available here: cpu"):
        resolve_accelerator("gpu")


def test_an_unknown_accelerator_is_an_error_with_the_nearest_name():
    """A misspelling is recognised."""
    with pytest.raises(ValueError, match=r"no accelerator 'cudas'.*Did you mean `cuda`") as info:
        resolve_accelerator("cudas")

    assert isinstance(info.value, MisconfigurationException)


@pytest.mark.parametrize("flag", [None, True, 1, CPUAccelerator])
def test_what_is_no_name_and_no_accelerator_is_a_type_error(flag):
    """The class instead of an instance is an error, too."""
    with pytest.raises(MisconfigurationTypeError, match="A name or an instance"):
        resolve_accelerator(flag)


def test_an_instance_is_taken_as_it_is():
    """An instance needs no name."""
    mine = CPUAccelerator()

    assert resolve_accelerator(mine) is mine


def test_names_are_read_in_any_case():
    """`CPU` is `cpu`."""
    assert isinstance(resolve_accelerator("CPU"), CPUAccelerator)


def test_a_registered_accelerator_is_found_by_its_name(abacus):
    """A third party's accelerator counts and names devices its own way."""
    accelerator = resolve_accelerator(abacus)

    assert resolve_devices(accelerator, "auto") == [torch.device("cpu", index) for index in range(4)]
    assert resolve_devices(accelerator, "1,3") == [torch.device("cpu", 1), torch.device("cpu", 3)]


def test_auto_means_one_of_several_devices_in_a_notebook(abacus, monkeypatch, caplog):
    """A notebook cannot start processes for the others; the message says how to ask for them."""
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)

    with caplog.at_level(logging.INFO):
        devices = resolve_devices(resolve_accelerator(abacus), "auto")

    assert devices == [torch.device("cpu", 0)]
    assert "devices=4" in caplog.text


@pytest.mark.parametrize("devices", [1, "1", " 1 ", "auto", "AUTO"])
def test_one_process_on_the_processor(devices):
    """All spellings of one."""
    assert resolve_devices(CPUAccelerator(), devices) == [CPU]


def test_several_processes_share_the_processor():
    """A number above 1 is the number of processes."""
    assert resolve_devices(CPUAccelerator(), 3) == [CPU, CPU, CPU]


@pytest.mark.parametrize("devices", [0, "0", -1, "-1", -2])
def test_fewer_than_one_process_is_an_error(devices):
    """The processor has no 'all' and no 'none'."""
    with pytest.raises(MisconfigurationException, match=r"A positive number was expected. Write `devices=1`"):
        resolve_devices(CPUAccelerator(), devices)


@pytest.mark.parametrize("devices", [[0], [], "0,1", 1.5, True, "two", None, {}])
def test_the_processor_takes_nothing_but_a_number(devices):
    """Lists name devices, and the processor is one device."""
    with pytest.raises(TypeError, match=r"devices=.*Write `devices=") as info:
        resolve_devices(CPUAccelerator(), devices)

    assert isinstance(info.value, MisconfigurationException)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (1, [0]),
        (2, [0, 1]),
        ("2", [0, 1]),
        (-1, [0, 1, 2]),
        ("-1", [0, 1, 2]),
        ([2], [2]),
        ([2, 0], [2, 0]),
        ((1, 2), [1, 2]),
        ("0,2", [0, 2]),
        (" 0 , 2 ", [0, 2]),
        ("1,", [1]),
        ("0,", [0]),
    ],
)
def test_the_forms_in_which_devices_are_named(devices, expected):
    """A number means how many, a list which."""
    assert indices_from(devices, range(3), "GPUs") == expected


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (0, r"`devices=0` asks for none of the GPUs. There are 3 GPUs, of index 0, 1, 2.*write `devices=\[0\]`"),
        ("0", r"`devices='0'` asks for none of the GPUs.*write `devices=\[0\]`"),
        ([], r"`devices=\[\]` asks for none.*There are 3.*Write `devices=\[0\]`"),
        (",", r"`devices=','` asks for none"),
        (-2, r"`devices=-2` asks for a negative number \(-2\) of GPUs.*-1 for all"),
        (4, r"`devices=4` asks for 4 GPUs. There are 3 GPUs, of index 0, 1, 2.*up to `devices=3`"),
        ("4", r"`devices='4'` asks for 4 GPUs. There are 3"),
        ([0, 7], r"`devices=\[0, 7\]` asks for 7, which this process does not see. There are 3 GPUs"),
        ([-1], r"`devices=\[-1\]` asks for -1, which"),
        ("0,5", r"`devices='0,5'` asks for 5"),
        ([1, 0, 1], r"`devices=\[1, 0, 1\]` names 1 more than once.*Write `devices=\[1, 0\]`"),
        ("0,0", r"`devices='0,0'` names 0 more than once.*Write `devices=\[0\]`"),
    ],
)
def test_devices_that_there_are_not_are_an_error_that_says_what_there_is(devices, message):
    """Each message names the value, what there is and what to write."""
    with pytest.raises(MisconfigurationException, match=message):
        indices_from(devices, range(3), "GPUs")


@pytest.mark.parametrize("devices", [True, 1.0, "one", "", " ", [True], ["0"], [0.0], {0}, None, object()])
def test_what_says_nothing_about_devices_is_a_type_error(devices):
    """Neither a number, nor a list of numbers, nor such a string."""
    with pytest.raises(TypeError, match=r"does not say which GPUs are meant.*Write `devices=1`"):
        indices_from(devices, range(3), "GPUs")


@pytest.mark.parametrize("devices", [1, -1, [0], "0,1"])
def test_any_wish_is_an_error_where_there_are_no_devices(devices):
    """With none to choose from, the message points to the processor."""
    with pytest.raises(MisconfigurationException, match=r'There are no GPUs. Write `accelerator="cpu"`'):
        indices_from(devices, [], "GPUs")


@given(present=st.integers(1, 8), data=st.data())
def test_the_text_of_a_list_means_the_list(present, data):
    """For any choice of devices the list and its text name the same ones, in the same order."""
    chosen = data.draw(st.lists(st.integers(0, present - 1), min_size=1, unique=True))

    assert indices_from(",".join(map(str, chosen)) + ",", range(present), "GPUs") == chosen
    assert indices_from(chosen, range(present), "GPUs") == chosen


@pytest.mark.parametrize("accelerator", [CUDAAccelerator(), MPSAccelerator()])
@no_gpu
def test_gpu_accelerators_find_no_device_where_there_is_none(accelerator):
    """Asked directly, they know that this machine has none."""
    assert not accelerator.is_available()
    with pytest.raises(MisconfigurationException, match="There are no"):
        accelerator.parse_devices(1)


@pytest.mark.parametrize(
    ("accelerator", "device"),
    [(CPUAccelerator(), "cuda:0"), (CUDAAccelerator(), "cpu"), (MPSAccelerator(), "cpu")],
)
def test_a_device_of_another_kind_is_refused(accelerator, device):
    """Each accelerator sets up its own devices only, and names the accelerator to use."""
    with pytest.raises(MisconfigurationException, match=rf'accelerator="{device.partition(":")[0]}"'):
        accelerator.setup_device(torch.device(device))


def test_the_processor_is_set_up_without_ado():
    """There is nothing to choose; all life-cycle calls can be made."""
    accelerator = CPUAccelerator()

    accelerator.setup_device(CPU)
    accelerator.setup(None)
    accelerator.teardown()

    assert torch.zeros(1).device == CPU


def test_statistics_of_the_processor_are_percentages():
    """Processor, memory and swap, between 0 and 100."""
    pytest.importorskip("psutil")

    stats = CPUAccelerator().get_device_stats(CPU)

    assert sorted(stats) == ["cpu_percent", "cpu_swap_percent", "cpu_vm_percent"]
    assert 0 < stats["cpu_vm_percent"] <= 100


def test_statistics_without_psutil_say_what_to_install():
    """The optional package is named with its install line."""
    with mock.patch.dict(sys.modules, {"psutil": None}), pytest.raises(MissingPackageError, match="pip install psutil"):
        CPUAccelerator().get_device_stats(CPU)


def test_usable_devices_none_wanted():
    """None wanted is none, on any machine."""
    assert find_usable_cuda_devices(0) == []


@pytest.mark.parametrize("number", [-2, 1.0, True, "1"])
def test_usable_devices_take_a_number(number):
    """Anything else is an error."""
    with pytest.raises(ValueError, match="expected how many devices, or -1 for all"):
        find_usable_cuda_devices(number)


@pytest.mark.parametrize("number", [1, -1])
@no_gpu
def test_usable_devices_where_there_are_none(number):
    """Wanting some where there are none is an error that says so."""
    with pytest.raises(ValueError, match=r"this process sees 0 CUDA devices"):
        find_usable_cuda_devices(number)


@pytest.mark.gpu
@needs_cuda
def test_a_cuda_device_is_made_the_current_one_and_tells_its_memory():
    """A real device: chosen by `auto`, set up, measured, given back."""
    accelerator = resolve_accelerator("cuda")
    device = resolve_devices(accelerator, [torch.cuda.device_count() - 1])[0]

    accelerator.setup_device(device)
    held = torch.ones(1024, device=device)
    stats = accelerator.get_device_stats(device)
    accelerator.teardown()

    assert torch.cuda.current_device() == device.index
    assert stats["allocated_bytes.all.current"] >= held.numel() * 4
    assert find_usable_cuda_devices(1) != []
