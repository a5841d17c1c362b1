"""What counts as a parameter, how often, how big it is, and that counting goes through the modules once."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from lt_callbacks.summary import summarize
from lt_callbacks.summary.counts import count_parameters
from lt_callbacks.summary.module_tree import ModuleTree
from lt_callbacks.summary.stored_size import stored_size

torch.set_num_threads(1)


def big(blocks: int) -> nn.Module:
    """A model of six modules per block, as deep as real ones are."""
    model = nn.Module()
    model.blocks = nn.ModuleList(
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
        for _ in range(blocks)
    )
    model.head = nn.Linear(2, 2)
    return model


def calls(function: Callable[[], Any]) -> int:
    """Count the Python functions that are called."""
    count = 0

    def see(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    gc.collect()
    sys.setprofile(see)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("depth", [1, -1])
def test_a_summary_goes_through_the_modules_once(tied: bool, depth: int) -> None:
    """A few calls for each module and parameter, with shared weights, too; twice as many for twice the modules."""
    small, large = big(50), big(100)
    if tied:
        for model in (small, large):
            model.head.weight = model.blocks[0][0].weight
    summarize(small, depth)

    few, many = calls(lambda: summarize(small, depth)), calls(lambda: summarize(large, depth))

    assert many < 2.1 * few
    assert many < (3 if depth == 1 else 7) * len(list(large.modules()))


def test_a_walk_finds_the_modules_in_the_order_and_with_the_names_of_torch() -> None:
    """Modules that are registered twice have the name of their first place."""
    model = big(3)
    model.again = model.blocks[1]

    tree = ModuleTree(model)

    assert [(name, tree.modules[at]) for name, at in tree.shown] == list(model.named_modules())[1:]
    assert tree.modules == list(model.modules())


@pytest.mark.parametrize("seed", range(20))
def test_each_module_counts_the_distinct_elements_in_it(seed: int) -> None:
    """Random models with tied weights and modules in several places agree with torch's own iterators."""
    rng = random.Random(seed)
    modules: list[nn.Module] = [nn.Module()]
    parameters: list[nn.Parameter] = []
    for _ in range(rng.randint(1, 25)):
        module = nn.Module()
        for each in range(rng.randint(0, 3)):
            if parameters and rng.random() < 0.3:
                module.register_parameter(f"p{each}", rng.choice(parameters))
            else:
                parameters.append(nn.Parameter(torch.zeros(rng.randint(1, 50)), requires_grad=rng.random() < 0.7))
                module.register_parameter(f"p{each}", parameters[-1])
        for parent in rng.sample(modules, min(len(modules), 1 + (rng.random() < 0.3))):
            parent.add_module(f"m{len(parent._modules)}", module)
        modules.append(module)
    root = modules[0]
    root.register_parameter("own", rng.choice(parameters) if parameters else None)

    counts = count_parameters(root)

    assert counts.by_module == {module: sum(each.numel() for each in module.parameters()) for module in root.modules()}
    assert counts.total == counts.by_module[root]
    assert counts.trainable == sum(each.numel() for each in root.parameters() if each.requires_grad)
    assert counts.size_in_bytes == 4 * counts.total


def test_a_module_within_itself_is_counted_once() -> None:
    """Torch allows the circle, and so does the count."""
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].add_module("owner", model)

    assert list(count_parameters(model).by_module.values()) == [6, 6]


def test_a_parameter_with_two_names_in_the_model_itself_is_outside_of_its_layers_once() -> None:
    """One that a layer holds, too, is not outside."""
    model = nn.Module()
    model.a = model.b = nn.Parameter(torch.zeros(5))
    model.layer = nn.Linear(2, 2, bias=False)
    model.c = model.layer.weight

    assert count_parameters(model).outside_layers == 5


@pytest.mark.filterwarnings("ignore")  # torch says that it moved its quantisation elsewhere
@pytest.mark.skipif(torch.backends.quantized.engine == "none", reason="torch was built without quantised kernels")
def test_layers_that_torch_quantised_keep_their_elements() -> None:
    """Eight bits each, and frozen: they are no parameters any more."""
    model = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)

    before, after = count_parameters(model), count_parameters(quantised)

    assert before.total == after.total == 76
    assert list(after.by_module.values())[1] == 68
    assert after.trainable == 0
    assert after.size_in_bytes == 16 * 4 + 4 * 4 + 4 * 2


class Packed(torch.Tensor):
    """Eight-bit elements and a scale behind the face of a float tensor, as quantising libraries make them."""

    content: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def __new__(cls, content: torch.Tensor, scale: torch.Tensor) -> Packed:
        return torch.Tensor._make_wrapper_subclass(cls, content.shape, dtype=torch.float32)  # type: ignore[attr-defined, no-any-return]

    def __init__(self, content: torch.Tensor, scale: torch.Tensor) -> None:
        self.content, self.scale = content, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["content", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = args[0]
        return cls(first.content, first.scale) if func is torch.ops.aten.detach.default else NotImplemented


def test_a_tensor_that_wraps_others_takes_their_memory() -> None:
    """Its elements are those of its shape."""
    packed = Packed(torch.zeros(10, 3, dtype=torch.int8), torch.zeros(10))

    size = stored_size(nn.Parameter(packed, requires_grad=False))

    assert size == (30, 30 + 40)


def test_four_bit_elements_count_by_the_shape_they_stand_for() -> None:
    """They are packed in pairs; the shape before packing is kept beside them."""

    class State:
        shape = (64, 8)

    class FourBit(nn.Parameter):
        quant_state: Any = None

    packed = FourBit(torch.zeros(256, 1, dtype=torch.uint8), requires_grad=False)
    unpacked = stored_size(packed)
    packed.quant_state = State()

    assert unpacked == (256, 256)
    assert stored_size(packed) == (512, 256)


@pytest.fixture
def two_of_four_processes() -> Iterator[Any]:
    """Make this process the first of four that need not be there."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("torch was built without distributed")
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    from torch.distributed.device_mesh import init_device_mesh

    yield init_device_mesh("cpu", (4,))
    distributed.destroy_process_group()


def test_sharded_parameters_count_over_all_devices(two_of_four_processes: Any) -> None:
    """What is on the other devices belongs to the model, too."""
    from torch.distributed.tensor import DTensor, Shard

    model = nn.Linear(8, 16)
    local = nn.Parameter(DTensor.from_local(torch.zeros(4, 8), two_of_four_processes, [Shard(0)]))
    model.weight = local

    counts = count_parameters(model)

    assert local.to_local().numel() == 32
    assert counts.total == 16 * 8 + 16
    assert counts.size_in_bytes == 4 * (16 * 8 + 16)


def test_a_model_without_memory_is_counted_and_run_through() -> None:
    """Sizes and operations need no real numbers."""

    class Meta(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(32, 4)
            self.example_input_array = torch.zeros(8, 32)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    with torch.device("meta"):
        model = Meta()
    model.example_input_array = torch.zeros(8, 32)

    summary = summarize(model)

    assert (summary.total_parameters, summary.model_size) == (132, pytest.approx(132 * 4e-6))
    assert summary.out_sizes == [[8, 4]]
    assert summary.total_flops == 2 * 8 * 32 * 4


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_scripted_modules_are_counted() -> None:
    """Their parts are other objects, with the same parameters."""
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1))))
    model = nn.Module()
    model.scripted = scripted

    summary = summarize(model, max_depth=-1)

    assert dict(zip(summary.layer_names, summary.param_nums, strict=True)) == {
        "scripted": 13,
        "scripted.0": 9,
        "scripted.1": 4,
        "scripted.1.0": 4,
    }
