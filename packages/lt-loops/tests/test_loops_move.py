"""How a batch gets to the device."""

from collections import namedtuple
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from lt_core.data_hooks import DataHooks
from lt_core.module import LightningModule
from lt_core.transfer import move_data_to_device
from lt_loops.data.move import resolve_move
from lt_loops.data.side_stream import SideStreamCopier, tensors_in

CPU = torch.device("cpu")


class Noting:
    """Notes which hook ran, with what, and under which name."""

    def note(self, name, batch, *rest):
        self.seen.append((name, *rest, self.position.fx))
        return [*batch, name]


class Before(Noting):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        return self.note("before", batch, dataloader_idx)


class Transfer(Noting):
    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return self.note("transfer", batch, device.type, dataloader_idx)


class After(Noting):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return self.note("after", batch, dataloader_idx)


def make(base, *mixins):
    owner = type(base.__name__ + "".join(mixin.__name__ for mixin in mixins), (*mixins, base), {})()
    owner.seen = []
    owner.position = SimpleNamespace(fx=None)
    return owner


def test_on_a_cpu_without_hooks_there_is_nothing_to_do():
    """The loop does not even ask."""
    assert resolve_move(LightningModule(), DataHooks(), CPU, SimpleNamespace(fx=None)) is None


def test_the_hooks_run_in_order_under_their_names():
    """Each gets what the one before returned."""
    model = make(LightningModule, Before, Transfer, After)

    move = resolve_move(model, None, CPU, model.position)

    assert move([], 3) == ["before", "transfer", "after"]
    assert model.seen == [
        ("before", 3, "on_before_batch_transfer"),
        ("transfer", "cpu", 3, "transfer_batch_to_device"),
        ("after", 3, "on_after_batch_transfer"),
    ]
    assert model.position.fx is None


@pytest.mark.parametrize("hook", [Before, Transfer, After])
def test_a_single_hook_is_enough(hook):
    """The others are not missed."""
    model = make(LightningModule, hook)

    assert resolve_move(model, None, CPU, model.position)([], 0) == [hook.__name__.lower()]


def test_the_data_modules_hook_wins_with_a_word_about_it():
    """The module's own are used where the data module has none."""
    model, data = make(LightningModule, Before, After), make(DataHooks, Before)
    data.position = model.position

    with pytest.warns(UserWarning, match="`on_before_batch_transfer` is defined on both"):
        move = resolve_move(model, data, CPU, model.position)

    assert move([], 0) == ["before", "after"]
    assert [seen[0] for seen in data.seen] == ["before"]
    assert [seen[0] for seen in model.seen] == ["after"]


def test_on_another_device_a_batch_moves_without_hooks():
    """Whatever holds tensors is gone through, the rest is handed on."""
    move = resolve_move(LightningModule(), None, torch.device("meta"), SimpleNamespace(fx=None))
    strange = object()

    moved = move({"x": torch.ones(2), "names": ["a"]}, 0)

    assert moved["x"].device.type == "meta"
    assert moved["names"] == ["a"]
    assert move(strange, 0) is strange


# -- the side stream


class FakeTensorLog(torch.Tensor):
    """Only here to be a tensor of another class."""


class Streams:
    """Streams that note what is asked of them."""

    def __init__(self):
        self.log = []
        self.inside = None

    def side(self):
        return SimpleNamespace(name="side")

    def current(self):
        return SimpleNamespace(name="main", wait_stream=lambda other: self.log.append(("main waits for", other.name)))

    @contextmanager
    def use(self, stream):
        self.inside = stream.name
        try:
            yield
        finally:
            self.inside = None


@dataclass
class Record:
    x: torch.Tensor
    label: str


Pair = namedtuple("Pair", "left right")


@pytest.fixture
def scene(monkeypatch):
    streams = Streams()
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda self, stream: streams.log.append(("recorded on", stream.name))
    )

    def move(batch, device):
        streams.log.append(("moved on", streams.inside or "main"))
        return move_data_to_device(batch, device)

    return streams, SideStreamCopier(torch.device("meta"), streams, move)


@pytest.mark.parametrize(
    ("batch", "tensors"),
    [
        (torch.ones(2), 1),
        ({"x": torch.ones(2), "y": [torch.ones(1), "name"]}, 2),
        (Record(torch.ones(1), "a"), 1),
        (Pair(torch.ones(1), torch.ones(1)), 2),
    ],
)
def test_a_batch_is_copied_on_the_side_and_its_memory_is_claimed_by_the_main_stream(scene, batch, tensors):
    """The main stream waits for the copy, and each tensor is recorded on it."""
    streams, copier = scene

    copier(batch)

    assert streams.log == [("moved on", "side"), ("main waits for", "side"), *[("recorded on", "main")] * tensors]


@pytest.mark.parametrize(
    "batch",
    [
        [torch.nn.utils.rnn.pack_sequence([torch.ones(1)])],
        [torch.ones(1), SimpleNamespace],
        torch.ones(1, device="meta"),
        torch.ones(1).as_subclass(FakeTensorLog),
    ],
    ids=["moves itself", "a class", "from another device", "another kind of tensor"],
)
def test_what_the_side_stream_cannot_be_sure_of_is_copied_on_the_main_one(scene, batch):
    """Memory that is not known cannot be claimed."""
    streams, copier = scene
    if isinstance(batch, list) and batch[-1] is SimpleNamespace:
        batch = [torch.nn.Linear(1, 1)]

    copier(batch)

    assert streams.log == [("moved on", "main")]


def test_a_batch_without_tensors_is_handed_on(scene):
    """Nothing is copied and nothing waits."""
    streams, copier = scene
    batch = ["a", 1, object()]

    assert copier(batch) is batch
    assert streams.log == []


def test_tensors_are_found_wherever_a_batch_holds_them():
    """As deep as they are moved."""
    assert len(tensors_in({"a": [Record(torch.ones(1), "x")], "b": (torch.ones(1), {"c": torch.ones(1)})})) == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device_batches_arrive_whole_and_nothing_waits():
    """Also when the device is busy and memory is given back at once; the host never waits for it."""
    device = torch.device("cuda", 0)
    move = resolve_move(LightningModule(), None, device, SimpleNamespace(fx=None))
    total = torch.zeros((), device=device, dtype=torch.float64)
    weight = torch.ones(2048, 2048, device=device)
    batches = [{"x": torch.full((1024, 1024), float(index)).pin_memory()} for index in range(64)]
    torch.cuda.synchronize()

    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            moved = move(batch, 0)
            weight = weight @ weight * 1e-4
            total += moved["x"].double().mean()
            del moved
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert total.item() == sum(range(64))
