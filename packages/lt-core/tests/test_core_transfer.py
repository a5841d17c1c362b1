"""Moving nested batches to a device; the device ``meta`` stands for an accelerator where there is none."""

import array
import dataclasses
from collections import OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from functools import cached_property
from types import MappingProxyType
from typing import Any

import pytest
import torch

from lt_core.transfer import move_data_to_device

Pair = namedtuple("Pair", ["x", "y"])


def on_meta(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == "meta"


@pytest.mark.parametrize("device", ["meta", torch.device("meta")])
def test_tensor_moves(device):
    """A device is given as text or as an object."""
    assert on_meta(move_data_to_device(torch.zeros(2), device))


def test_nested_containers_move_in_their_own_types_and_the_given_ones_are_left_alone():
    """Names and numbers in between stay what they are."""
    inner = [torch.zeros(2), "name", 3]
    batch = {"list": inner, "tuple": (torch.zeros(1), None), "pair": Pair(torch.zeros(1), {"deep": torch.zeros(1)})}

    moved = move_data_to_device(batch, "meta")

    assert on_meta(moved["list"][0])
    assert moved["list"][1:] == ["name", 3]
    assert on_meta(moved["tuple"][0])
    assert isinstance(moved["pair"], Pair)
    assert on_meta(moved["pair"].y["deep"])
    assert inner[0].device.type == "cpu"


@pytest.mark.parametrize(
    "container",
    [
        OrderedDict(a=torch.zeros(1)),
        UserDict(a=torch.zeros(1)),
        MappingProxyType({"a": torch.zeros(1)}),
        defaultdict(list, a=torch.zeros(1)),
    ],
)
def test_mappings_keep_their_type(container):
    """Also those whose constructor takes more than the items."""
    moved = move_data_to_device(container, "meta")

    assert type(moved) is type(container)
    assert on_meta(moved["a"])
    assert container["a"].device.type == "cpu"


def test_default_factory_is_kept():
    """A defaultdict stays one."""
    moved = move_data_to_device(defaultdict(list, a=torch.zeros(1)), "meta")

    assert moved["new"] == []


@pytest.mark.parametrize("kind", [deque, UserList, type("Rows", (list,), {})])
def test_sequences_keep_their_type(kind):
    """Subclasses of list included."""
    given = kind([torch.zeros(1), "name"])

    moved = move_data_to_device(given, "meta")

    assert type(moved) is kind
    assert on_meta(moved[0])
    assert moved[1] == "name"
    assert given[0].device.type == "cpu"


def test_bounded_deque_keeps_its_bound():
    """What the constructor would not be told is kept."""
    assert move_data_to_device(deque([torch.zeros(1)], maxlen=3), "meta").maxlen == 3


@pytest.mark.parametrize(
    "value",
    ["text", b"bytes", bytearray(b"12"), array.array("d", [1.5, 2.5]), range(3), {1, 2}, None, 3, torch.nn.Linear, int],
)
def test_what_cannot_move_stays_the_same_object(value):
    """Classes that define `to` are no batches either."""
    assert move_data_to_device(value, "meta") is value


@dataclasses.dataclass
class Sample:
    x: torch.Tensor
    name: str
    doubled: torch.Tensor = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.doubled = 2 * self.x

    @cached_property
    def total(self) -> torch.Tensor:
        return self.x.sum()


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: torch.Tensor
    inner: Any = None


def test_dataclass_moves_with_all_its_fields_and_forgets_what_it_had_computed():
    """Fields that are not arguments of the constructor move, too."""
    sample = Sample(torch.zeros(2), "a")
    assert sample.total.device.type == "cpu"

    moved = move_data_to_device(sample, "meta")

    assert on_meta(moved.x)
    assert on_meta(moved.doubled)
    assert on_meta(moved.total)
    assert moved.name == "a"
    assert sample.x.device.type == "cpu"


def test_frozen_dataclasses_move():
    """They are rebuilt, so being frozen is no obstacle."""
    moved = move_data_to_device([Frozen(torch.zeros(1), inner=Frozen(torch.zeros(1)))], "meta")

    assert on_meta(moved[0].x)
    assert on_meta(moved[0].inner.x)


class Graph:
    def __init__(self, *, returns_itself: bool) -> None:
        self.device = "cpu"
        self.returns_itself = returns_itself

    def to(self, device: torch.device) -> "Graph | None":
        self.device = device.type
        return self if self.returns_itself else None


@pytest.mark.parametrize("returns_itself", [True, False])
def test_objects_with_a_method_to_are_asked_to_move(returns_itself):
    """One that moves itself and returns nothing is kept."""
    graph = Graph(returns_itself=returns_itself)

    moved = move_data_to_device([graph], "meta")

    assert moved == [graph]
    assert graph.device == "meta"


def test_packed_sequence_moves_as_a_whole():
    """It is a named tuple that knows better how to move."""
    packed = torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 1), torch.zeros(2, 1)])

    moved = move_data_to_device(packed, "meta")

    assert isinstance(moved, torch.nn.utils.rnn.PackedSequence)
    assert on_meta(moved.data)


class Recording(torch.Tensor):
    """A tensor that keeps how it was asked to move."""

    asked: dict[str, Any]

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.asked = kwargs
        return torch.zeros(())


@pytest.mark.parametrize(("device", "non_blocking"), [("cuda", True), ("cpu", False), ("mps", False)])
def test_copies_wait_only_where_they_must(device, non_blocking):
    """To the CPU and to MPS a copy that does not wait may be read too early."""
    tensor = torch.zeros(1).as_subclass(Recording)

    move_data_to_device(tensor, device)

    assert tensor.asked == {"non_blocking": non_blocking}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_values_arrive_on_a_real_device():
    """What is on the device equals what was sent."""
    batch = {"x": torch.arange(1000.0), "pair": (torch.ones(2), "name")}

    moved = move_data_to_device(batch, "cuda:0")

    assert moved["x"].is_cuda
    assert torch.equal(moved["x"].cpu(), batch["x"])
    assert moved["pair"][1] == "name"
