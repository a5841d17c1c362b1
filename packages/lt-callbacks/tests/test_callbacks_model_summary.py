"""The table of a model's layers: counts, sizes, operations, and that making it changes nothing."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lt_callbacks import ModelSummary, RichModelSummary
from lt_callbacks.default_model_summary import default_model_summary
from lt_callbacks.summary import LayerSummary, summarize
from lt_callbacks.summary.counts import count_parameters
from lt_core.errors import MissingPackageError
from lt_core.testing import BoringModel, MiniTrainer, RandomDataset

torch.set_num_threads(1)


class Net(BoringModel):
    """Two nested layers and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(32, 4), nn.Dropout(), nn.Linear(4, 2))  # type: ignore[assignment]
        self.scale = nn.Parameter(torch.ones(3))


class Tied(nn.Module):
    """Two layers that share a weight, and one module registered twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4, bias=False)
        self.b = nn.Linear(4, 4, bias=False)
        self.b.weight = self.a.weight
        self.again = self.a


def fit(model: Any, callback: Any) -> None:
    loader = DataLoader(RandomDataset(32, 2))
    MiniTrainer(callbacks=[callback], max_steps=1).fit(model, loader, loader)


def test_nested_layers_count_what_is_in_them() -> None:
    """A parent counts its children; what is in no layer has a row of its own."""
    summary = summarize(Net(), max_depth=-1)

    assert dict(zip(summary.layer_names, summary.param_nums, strict=True)) == {
        "layer": 142,
        "layer.0": 132,
        "layer.1": 0,
        "layer.2": 10,
    }
    assert summary.total_parameters == 145
    assert "other params" in str(summary)
    assert dict(summary.columns())["Params"][-1].strip() == "3"


@pytest.mark.parametrize(("depth", "names"), [(0, []), (1, ["layer"]), (2, ["layer", "layer.0", "layer.1", "layer.2"])])
def test_the_depth_limits_the_rows(depth: int, names: list[str]) -> None:
    """Totals do not depend on it."""
    summary = summarize(Net(), max_depth=depth)

    assert summary.layer_names == names
    assert summary.total_parameters == 145


def test_shared_parameters_count_once() -> None:
    """Counts equal the number of distinct elements, in each module and in all."""
    model = Tied()

    summary = summarize(model, max_depth=-1)

    assert summary.total_parameters == 16
    assert summary.param_nums == [16, 16]
    assert count_parameters(model).by_module[model] == 16


def test_frozen_parameters_are_told_apart() -> None:
    """Trainable and not trainable add up to all."""
    model = Net()
    model.layer[0].requires_grad_(False)

    summary = summarize(model)

    assert summary.trainable_parameters == 13
    assert summary.total_parameters == 145


def test_the_size_is_that_of_the_precision_of_each_parameter() -> None:
    """Half precision takes half the room, parameters without memory count as they will be."""
    full, half = summarize(Net()), summarize(Net().to(torch.bfloat16))
    with torch.device("meta"):
        meta = summarize(Net())

    assert full.model_size == pytest.approx(145 * 4e-6)
    assert half.model_size == pytest.approx(145 * 2e-6)
    assert meta.total_parameters == 145


def test_parameters_without_a_shape_are_reported_and_counted_after_a_forward_pass() -> None:
    """An example input gives them one."""

    class Lazy(nn.Module):
        def __init__(self, example: Any) -> None:
            super().__init__()
            self.layer = nn.LazyLinear(3)
            self.example_input_array = example

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    with pytest.warns(UserWarning, match="example_input_array"):
        unknown = summarize(Lazy(None))
    known = summarize(Lazy(torch.zeros(2, 5)))

    assert unknown.param_nums == [0]
    assert known.param_nums == [18]
    assert known.total_parameters == 18


@pytest.mark.filterwarnings("ignore:.*example_input_array")
def test_an_example_input_adds_sizes_and_operations() -> None:
    """Two linear layers on 8 samples: 2 * 8 * (32 * 4 + 4 * 2) operations."""
    model = Net()
    model.example_input_array = torch.zeros(8, 32)

    summary = summarize(model, max_depth=-1)

    assert summary.in_sizes == [[8, 32], [8, 32], [8, 4], [8, 4]]
    assert summary.out_sizes == [[8, 2], [8, 4], [8, 4], [8, 2]]
    assert [sum(ops.values()) for ops in summary.flop_counts.values()] == [2176, 2048, 0, 128]
    assert summary.total_flops == 2176
    assert "Total Flops" in str(summary)


def test_without_example_input_no_operations_are_claimed() -> None:
    """A column of zeros would be wrong."""
    text = str(summarize(Net()))

    assert "FLOPs" not in text
    assert "Total Flops" not in text


@pytest.mark.parametrize(
    "example", [(torch.zeros(2, 3), torch.zeros(2, 3)), {"x": torch.zeros(2, 3), "y": torch.zeros(2, 3)}]
)
def test_examples_may_be_several_inputs(example: Any) -> None:
    """A tuple is spread over the arguments, a dict over their names."""

    class Two(nn.Module):
        example_input_array = example

        def __init__(self) -> None:
            super().__init__()
            self.both = nn.Bilinear(3, 3, 1)
            self.unused = nn.Linear(1, 1)

        def forward(self, x: Any, y: Any) -> Any:
            return self.both(x, y)

    summary = summarize(Two())

    assert summary.in_sizes == [[[2, 3], [2, 3]], "?"]


def test_making_a_summary_changes_nothing() -> None:
    """Modes, random state, buffers of batch norm and hooks are as before."""

    class Random(nn.Module):
        example_input_array = torch.zeros(4, 3)

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop = nn.BatchNorm1d(3), nn.Dropout()
            self.drop.eval()

        def forward(self, x: Any) -> Any:
            return self.drop(self.norm(x + torch.rand_like(x)))

    model = Random()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)

    summarize(model, max_depth=-1)

    assert torch.rand(1) == expected
    assert [module.training for module in model.modules()] == [True, True, False]
    assert model.norm.num_batches_tracked == 0
    assert not any(module._forward_hooks for module in model.modules())


def test_modes_are_put_back_when_the_forward_pass_fails() -> None:
    """And the error is the user's own."""

    class Fails(nn.Module):
        example_input_array = torch.zeros(1)

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, x: Any) -> Any:
            raise KeyError("mine")

    model = Fails()
    with pytest.raises(KeyError, match="mine"):
        summarize(model)

    assert model.layer.training
    assert not model.layer._forward_hooks


def test_a_layer_alone_can_be_summarised() -> None:
    """Its sizes are those of the first forward pass."""
    layer = nn.Conv2d(3, 8, 3)
    summary = LayerSummary(layer)

    layer(torch.rand(1, 3, 5, 5))
    layer(torch.rand(2, 3, 9, 9))

    assert (summary.in_size, summary.out_size) == ([1, 3, 5, 5], [1, 8, 3, 3])


def test_the_callback_prints_when_fit_begins(caplog: Any) -> None:
    """The table is logged, once."""
    with caplog.at_level(logging.INFO):
        fit(Net(), ModelSummary(max_depth=2))

    assert caplog.text.count("Total params") == 1
    assert "layer.2" in caplog.text


def test_richs_callback_prints_a_table() -> None:
    """With names in brackets taken literally."""
    rich = pytest.importorskip("rich")
    output = io.StringIO()
    before = vars(rich.get_console()).copy()
    rich.reconfigure(file=output, width=100)
    model = Net()
    model.add_module("odd[/name]", nn.Linear(1, 1))

    fit(model, RichModelSummary(header_style="bold"))
    vars(rich.get_console()).update(before)

    assert "odd[/name]" in output.getvalue()
    assert "Trainable params:" in output.getvalue()
    assert "147" in output.getvalue()


def test_a_depth_of_zero_prints_nothing_and_uses_no_hook(caplog: Any) -> None:
    """It is the documented way to switch the summary off."""
    summary = ModelSummary(max_depth=0)

    with caplog.at_level(logging.INFO):
        fit(Net(), summary)

    assert "Total params" not in caplog.text
    assert not summary.uses_hook("on_fit_start")


@pytest.mark.parametrize("depth", [-2, 1.5])
def test_a_depth_that_is_none_is_refused(depth: Any) -> None:
    """By the callback and by the function."""
    with pytest.raises(ValueError, match="expected -1 for all levels"):
        ModelSummary(max_depth=depth)
    with pytest.raises(ValueError, match="expected -1 for all levels"):
        summarize(Net(), max_depth=depth)


def test_the_default_is_richs_where_rich_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the plain one elsewhere."""
    pytest.importorskip("rich")
    import lt_callbacks.default_model_summary as package

    with_rich = default_model_summary()
    monkeypatch.setattr(package, "find_spec", lambda name: None)

    assert type(with_rich) is RichModelSummary
    assert type(default_model_summary()) is ModelSummary


def test_a_missing_rich_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the callback is made."""
    import sys

    monkeypatch.setitem(sys.modules, "rich", None)

    with pytest.raises(MissingPackageError, match="pip install rich"):
        RichModelSummary()
