"""Where logged values live: dtypes, numbers, weights, and metric objects by duck typing."""

from __future__ import annotations

import pytest
import torch

from lt_core import LightningModule, MisconfigurationException, TrainerBase
from lt_core.log import LogOptions, Slot, Totals, is_metric, named_metrics

CPU = torch.device("cpu")


def _slot(reduction: str = "mean", *, on_epoch: bool = True, enable_graph: bool = False) -> Slot:
    options = LogOptions(False, True, True, on_epoch, reduction, enable_graph, False, None, True, False)
    return Slot("a", options, None, None)


def _value(slot: Slot) -> torch.Tensor:
    return slot.epoch(slot.totals(CPU))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("enable_graph", [False, True])
def test_values_are_kept_in_at_least_32_bits(dtype: torch.dtype, enable_graph: bool) -> None:
    """Half precision is widened, double precision is kept."""
    slot = _slot(enable_graph=enable_graph)
    for _ in range(300):
        slot.add(torch.tensor(1.0, dtype=dtype), 1)

    assert _value(slot) == 1.0
    assert _value(slot).dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert slot._last.dtype == (dtype if enable_graph else _value(slot).dtype)


def test_integer_tensors_become_floats_with_a_warning_once() -> None:
    """The key's dtype is then float32."""
    slot = _slot()

    with pytest.warns(UserWarning, match="int64"):
        slot.add(torch.tensor(3), 1)
    slot.add(torch.tensor(4), 1)

    assert _value(slot).item() == 3.5


def test_complex_values_are_refused() -> None:
    """The message says to log a part."""
    with pytest.raises(MisconfigurationException, match="absolute value"):
        _slot().add(torch.tensor(1j), 1)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
def test_tensors_with_one_element_are_scalars(shape: tuple[int, ...]) -> None:
    """Their shape is dropped."""
    slot = _slot()
    slot.add(torch.full(shape, 2.0, requires_grad=True), 1)

    assert _value(slot).shape == ()
    assert slot.last(CPU).shape == ()


@pytest.mark.parametrize("number", [True, 3, 2.5, float("nan"), float("inf")])
def test_numbers_are_kept_as_they_are(number: float) -> None:
    """Also those that are not finite."""
    slot = _slot()
    slot.add(number, 1)

    assert slot.last(CPU).equal(torch.tensor(float(number))) or number != number
    assert str(float(_value(slot))) == str(float(number))


def test_numpy_scalars_are_numbers() -> None:
    """NumPy is not needed for it."""
    numpy = pytest.importorskip("numpy")
    slot = _slot()
    slot.add(numpy.float32(1.5), 1)
    slot.add(numpy.array([2.5]), 1)

    assert _value(slot) == 2.0


def test_numbers_have_the_default_dtype_but_never_below_32_bits() -> None:
    """As torch would make them."""
    default = torch.get_default_dtype()
    try:
        for dtype, expected in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
            torch.set_default_dtype(dtype)
            slot = _slot()
            slot.add(0.1, 1)
            assert slot.last(CPU).dtype == _value(slot).dtype == expected
    finally:
        torch.set_default_dtype(default)


def test_numbers_become_tensors_on_the_device_that_is_asked_for() -> None:
    """Step and epoch values of logged numbers live where the module lives."""
    slot, device = _slot(), torch.device("meta")
    slot.add(0.5, 1)

    assert slot.last(device).device == device
    assert slot.totals(device).value.device == device


def test_means_do_not_lose_small_values_in_long_epochs() -> None:
    """Sums are kept in double precision: a million values of 0.1 have the mean 0.1."""
    slot = _slot()
    value = torch.tensor(0.1)
    for _ in range(20_000):
        slot.add(value, 50)

    assert abs(slot.totals(CPU).result().item() - float(value)) < 1e-12


def test_a_mean_over_no_weight_is_not_a_number() -> None:
    """Batches of size zero have no mean, and do not spoil that of others."""
    assert torch.isnan(Totals(torch.tensor(0.0), 0, "mean").result())
    merged = Totals(torch.tensor(0.0), 0, "mean").merge(Totals(torch.tensor(6.0), 3, "mean"))
    assert merged.result() == 2.0


@pytest.mark.parametrize(("reduction", "expected"), [("mean", 2.0), ("sum", 8.0), ("min", 2.0), ("max", 6.0)])
def test_totals_of_two_ranks_merge_exactly(reduction: str, expected: float) -> None:
    """Values and weights are combined as the reduction says."""
    merged = Totals(torch.tensor(2.0), 1, reduction).merge(Totals(torch.tensor(6.0), 3, reduction))

    assert merged.result() == expected


def test_totals_do_not_change_the_slot() -> None:
    """Reading twice gives the same, and adding goes on."""
    slot = _slot("sum")
    for value in (1.0, 2.0, 3.0):
        slot.add(torch.tensor(value), 1)
        assert _value(slot) == _value(slot)

    assert _value(slot) == 6.0


class Average(torch.nn.Module):
    """A metric by hand, whose result is the very state that it goes on to change."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))
        self._forward_cache: torch.Tensor | None = None
        self.resets = 0

    def update(self, value: torch.Tensor) -> None:
        self.total += value

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.update(value)
        self._forward_cache = value.clone()
        return value

    def compute(self) -> torch.Tensor:
        return self.total

    def reset(self) -> None:
        self.total.zero_()
        self.resets += 1


class Measured(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.metrics = torch.nn.ModuleDict({"inner": Average()})


@pytest.fixture
def measured():
    """A module with a metric, attached and logging in a training step."""
    module, trainer = Measured(), TrainerBase()
    trainer.attach(module)
    trainer.log_sink.open("train")
    trainer.log_sink.fx = "training_step"
    return module, trainer.log_sink


def test_whatever_updates_computes_and_resets_is_a_metric() -> None:
    """No library is needed for it; other modules are none."""
    module = Measured()

    assert is_metric(Average())
    assert not is_metric(torch.nn.Linear(1, 1))
    assert [name for name, _ in named_metrics(module)] == ["metrics.inner"]


def test_a_metric_publishes_its_last_call_and_its_result_and_is_reset(measured) -> None:
    """Step: the value of the last call. Epoch: `compute`. Afterwards the metric begins anew."""
    module, sink = measured
    metric = module.metrics["inner"]
    for value in (1.0, 2.0):
        metric(torch.tensor(value))
        module.log("m", metric, on_step=True, on_epoch=True)

    assert sink.read().callback["m"] == 2.0
    sink.epoch_ended = True
    published = sink.read().callback["m_epoch"]
    sink.reset()

    assert published == 3.0
    assert metric.resets == 1
    assert sink.read().callback == {}


def test_a_metric_that_was_only_updated_has_no_step_value(measured) -> None:
    """`update` alone gives nothing to publish before the epoch ends."""
    module, sink = measured
    module.metrics["inner"].update(torch.tensor(1.0))
    module.log("m", module.metrics["inner"], on_step=True, on_epoch=True)

    assert sink.read().callback == {}


def test_a_metric_that_hangs_nowhere_is_refused(measured) -> None:
    """The message says where to put it, or how to name it."""
    module, _ = measured

    with pytest.raises(MisconfigurationException, match=r"self\.my_metric = Average"):
        module.log("m", Average())
    with pytest.raises(MisconfigurationException, match=r"\['metrics\.inner'\]"):
        module.log("m", module.metrics["inner"], metric_attribute="other")


def test_another_metric_under_the_same_key_is_refused(measured) -> None:
    """One key, one object."""
    module, _ = measured
    module.second = Average()
    module.log("m", module.metrics["inner"])

    with pytest.raises(MisconfigurationException, match="one metric object per key"):
        module.log("m", module.second)


def test_one_metric_for_two_loaders_is_refused(measured) -> None:
    """Their values would be mixed."""
    module, sink = measured
    sink.open("validate")
    sink.fx, sink.dataloader_idx = "validation_step", 0
    module.log("m", module.metrics["inner"])

    sink.dataloader_idx = 1
    with pytest.raises(MisconfigurationException, match="one metric object per loader"):
        module.log("m", module.metrics["inner"])


def test_a_result_with_several_values_is_refused(measured) -> None:
    """The message points to `log_dict`."""
    module, sink = measured
    module.metrics["inner"].compute = lambda: torch.ones(2)
    module.log("m", module.metrics["inner"], on_step=False, on_epoch=True)
    sink.epoch_ended = True

    with pytest.raises(ValueError, match="log_dict"):
        sink.read()
