"""Tests of precisions: what they cast, which context steps run in, and how names are resolved."""

import dataclasses
import warnings
from collections import OrderedDict, defaultdict
from types import MappingProxyType
from typing import NamedTuple

import pytest
import torch
from torch import nn

from lt_core.errors import MisconfigurationException, MisconfigurationTypeError
from lt_loops.precision import (
    DoublePrecision,
    HalfPrecision,
    MixedPrecision,
    Precision,
    PrecisionRegistry,
    resolve_precision,
)
from lt_loops.precision.convert import cast_floats


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Sample:
    x: torch.Tensor
    name: str


@pytest.mark.parametrize(
    ("value", "kind", "name"),
    [
        (None, Precision, "32-true"),
        (32, Precision, "32-true"),
        ("32", Precision, "32-true"),
        ("32-true", Precision, "32-true"),
        (64, DoublePrecision, "64-true"),
        ("64", DoublePrecision, "64-true"),
        ("64-true", DoublePrecision, "64-true"),
        ("16-true", HalfPrecision, "16-true"),
        ("bf16-true", HalfPrecision, "bf16-true"),
        ("bf16-mixed", MixedPrecision, "bf16-mixed"),
    ],
)
def test_each_name_means_its_precision_and_warns_of_nothing(value, kind, name):
    """The current names and the short forms of full precision are taken silently."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        precision = resolve_precision(value, "cpu")

    assert type(precision) is kind
    assert precision.precision == name


@pytest.mark.parametrize(("value", "name"), [("bf16", "bf16-mixed"), (16, "16-mixed"), ("16", "16-mixed")])
def test_discouraged_short_forms_name_the_form_to_write(value, name):
    """The older forms work and say what they are taken as."""
    with pytest.warns(UserWarning, match=rf"discouraged.*`precision=\"{name}\"`"):
        precision = resolve_precision(value, "mps")  # builds a scaler, if any, without touching a device

    assert precision.precision == name
    assert precision.scales_loss == (name == "16-mixed")


def test_float16_on_the_processor_becomes_bfloat16_with_one_warning():
    """The processor scales no loss."""
    with pytest.warns(UserWarning, match=r"'bf16-mixed' is used instead") as caught:
        precision = resolve_precision("16-mixed", "cpu")

    assert len(caught) == 1
    assert precision.precision == "bf16-mixed"
    assert not precision.scales_loss


@pytest.mark.parametrize(
    ("value", "near"), [("16-mix", "16-mixed"), ("bf-16-mixed", "bf16-mixed"), ("32-tru", "32-true"), (8, "32-true")]
)
def test_an_unknown_precision_is_an_error_with_what_to_write(value, near):
    """The message lists all names and the nearest."""
    with pytest.raises(
        ValueError, match=rf"precision={value!r}`: there is no such precision.*64-true.*`.*{near}"
    ) as info:
        resolve_precision(value, "cpu")

    assert isinstance(info.value, MisconfigurationException)


@pytest.mark.parametrize("value", [True, 16.0, ["32"], torch.float16])
def test_what_is_no_name_of_a_precision_is_a_type_error(value):
    """Also a dtype: the name says more than the dtype."""
    with pytest.raises(MisconfigurationTypeError, match="A name was expected"):
        resolve_precision(value, "cpu")


def test_an_instance_is_returned_as_it_is():
    """A precision object needs no name."""
    mine = DoublePrecision()

    assert resolve_precision(mine, "cpu") is mine


def test_apple_gpus_have_no_double_precision():
    """The error comes before anything is moved there."""
    with pytest.raises(MisconfigurationException, match=r"Apple GPU.*`precision=\"32-true\"`"):
        resolve_precision(64, "mps")


def test_a_registered_precision_is_found_by_its_name():
    """A third party's precision is made from its class."""

    class Posit(Precision):
        precision = "posit"

    PrecisionRegistry.register("posit", Posit)
    try:
        assert isinstance(resolve_precision("posit", "cpu"), Posit)
    finally:
        PrecisionRegistry.remove("posit")


@pytest.mark.parametrize(("kind", "name"), [(HalfPrecision, "8-true"), (MixedPrecision, "16-true")])
def test_a_class_refuses_a_precision_that_is_not_its_own(kind, name):
    """Directly made, too, a precision checks its name."""
    arguments = (name,) if kind is HalfPrecision else (name, "cpu")

    with pytest.raises(ValueError, match=rf"precision='{name}'\)`: there is no such"):
        kind(*arguments)


# -- full precision


def test_full_precision_touches_nothing():
    """32 bits: what comes in goes out, and there is no context."""
    precision = Precision()
    module, batch, loss = nn.Linear(1, 1), {"x": torch.ones(1)}, torch.ones(())

    assert precision.convert_module(module) is module
    assert precision.convert_input(batch) is batch
    assert precision.convert_output(batch) is batch
    assert precision.pre_backward(loss, module) is loss
    assert precision.step_context() is None
    assert not precision.converts_input
    assert not precision.scales_loss
    assert precision.state_dict() == {}
    with precision.train_step_context(), precision.module_init_context():
        assert torch.ones(1).dtype is torch.float32


def test_backward_goes_through_the_module_with_all_arguments():
    """The module's own `backward` decides."""
    calls = []

    class Module(nn.Module):
        def backward(self, loss, *args, **kwargs):
            calls.append((loss, args, kwargs))

    loss = torch.ones(())

    Precision().backward(loss, Module(), 1, retain_graph=True)

    assert calls == [(loss, (1,), {"retain_graph": True})]


def test_a_step_runs_the_closure_inside_the_optimizer():
    """LBFGS evaluates the loss more than once in a step."""
    weight = nn.Parameter(torch.tensor([3.0]))
    optimizer = torch.optim.LBFGS([weight], max_iter=4)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        losses.append(loss.item())
        return loss

    first = Precision().step(optimizer, closure)

    assert len(losses) > 1
    assert first.item() == losses[0] == 9.0
    assert losses[-1] < losses[0]


def test_clipping_by_norm_and_value_equals_torchs():
    """Bit for bit what `torch.nn.utils` does."""
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(4, 3, generator=generator), torch.randn(3, generator=generator)]

    def with_grads():
        parameters = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad.clone()
        return parameters

    for algorithm, reference in [("norm", nn.utils.clip_grad_norm_), ("value", nn.utils.clip_grad_value_)]:
        ours, theirs = with_grads(), with_grads()

        Precision().clip_gradients(torch.optim.SGD(ours, lr=1.0), 0.3, algorithm)
        reference(theirs, 0.3)

        for mine, other, before in zip(ours, theirs, grads, strict=True):
            assert torch.equal(mine.grad, other.grad)
            assert not torch.equal(mine.grad, before)


@pytest.mark.parametrize("clip_val", [None, 0, 0.0, -1.0])
def test_no_limit_clips_nothing(clip_val):
    """None and what is not positive leave gradients alone."""
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])

    Precision().clip_gradients(torch.optim.SGD([parameter], lr=1.0), clip_val, "norm")

    assert parameter.grad.tolist() == [3.0, 4.0]


def test_an_unknown_way_to_clip_is_an_error():
    """Norm or value."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)

    with pytest.raises(ValueError, match=r"clipped by 'norms'.*Expected 'norm' or 'value'.*mean `norm`"):
        Precision().clip_gradients(optimizer, 1.0, "norms")


# -- other number formats


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        (DoublePrecision(), torch.float64),
        (HalfPrecision("16-true"), torch.float16),
        (HalfPrecision("bf16-true"), torch.bfloat16),
    ],
)
def test_true_precisions_cast_module_input_and_new_tensors(precision, dtype):
    """Weights, batches and what a step makes have one type; whole numbers stay so."""
    module = nn.BatchNorm1d(2)

    converted = precision.convert_module(module)
    batch = precision.convert_input([torch.ones(1), torch.tensor([1])])
    with precision.step_context():
        made_in_step = torch.zeros(1)
    with precision.tensor_init_context():
        made = torch.zeros(1)
    with precision.module_init_context():
        built = nn.Linear(1, 1)
    output = precision.convert_output({"loss": made_in_step})

    assert converted is module
    assert module.weight.dtype is dtype
    assert module.running_mean.dtype is dtype
    assert module.num_batches_tracked.dtype is torch.int64
    assert [tensor.dtype for tensor in batch] == [dtype, torch.int64]
    assert made.dtype is made_in_step.dtype is built.weight.dtype is dtype
    assert output["loss"].dtype is torch.float32
    assert precision.converts_input
    assert torch.zeros(1).dtype is torch.float32


@pytest.mark.parametrize("precision", [DoublePrecision(), HalfPrecision(), MixedPrecision("bf16-mixed", "cpu")])
def test_a_step_context_is_entered_again_and_within_itself_and_after_an_error(precision):
    """One object serves a whole run, and always leaves things as it found them."""

    def settings():
        return torch.get_default_dtype(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    before = settings()
    context = precision.step_context()

    with context:
        inside = settings()
        with context:
            assert settings() == inside
        assert settings() == inside
    assert settings() == before
    with pytest.raises(KeyError), context, context:
        raise KeyError("in a step")
    assert settings() == before
    with context:
        assert settings() == inside
    assert inside != before
    assert settings() == before


def test_casting_rebuilds_every_kind_of_container_in_its_own_type():
    """Nothing of a batch is lost, and the given one stays as it is."""
    table = defaultdict(list, {"x": torch.ones(1)})
    given = {
        "pair": Pair(torch.ones(1), torch.tensor([True])),
        "list": [torch.ones(1), "name", 3, 2.5, None],
        "tuple": (torch.ones(1),),
        "sample": Sample(torch.ones(1), "a"),
        "table": table,
        "ordered": OrderedDict(x=torch.ones(1)),
        "readonly": MappingProxyType({"x": torch.ones(1)}),
        "complex": torch.ones(1, dtype=torch.complex64),
    }

    cast = cast_floats(given, torch.float64)

    assert isinstance(cast["pair"], Pair)
    assert (cast["pair"].x.dtype, cast["pair"].y.dtype) == (torch.float64, torch.bool)
    assert cast["list"][0].dtype is torch.float64
    assert cast["list"][1:] == ["name", 3, 2.5, None]
    assert cast["tuple"][0].dtype is torch.float64
    assert cast["sample"].x.dtype is torch.float64
    assert cast["sample"].name == "a"
    assert cast["table"].default_factory is list
    for name in ("table", "ordered", "readonly"):
        assert type(cast[name]) is type(given[name])
        assert cast[name]["x"].dtype is torch.float64
    assert cast["complex"].dtype is torch.complex64
    assert table["x"].dtype is given["sample"].x.dtype is given["list"][0].dtype is torch.float32


def test_a_packed_sequence_is_cast_and_keeps_its_lengths():
    """Batches of sequences of different length go through whole."""
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 2), torch.ones(1, 2)])

    cast = cast_floats(packed, torch.float64)

    assert type(cast) is type(packed)
    assert cast.data.dtype is torch.float64
    assert torch.equal(cast.batch_sizes, packed.batch_sizes)
