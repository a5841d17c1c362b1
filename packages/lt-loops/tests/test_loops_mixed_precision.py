"""Tests of mixed precision: the same bits as a loop written by hand, and gradients of the right size."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from lt_core.errors import MisconfigurationException
from lt_loops.precision import FusedOptimizerClippingError, MixedPrecision
from lt_loops.precision.contexts import AutocastContext, weight_cache_keeps_gradients

STEPS = 6
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Net(nn.Module):
    """A small net one of whose layers is used twice, so that the cache of cast weights matters for the bits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.enter = nn.Linear(4, 8)
        self.shared = nn.Linear(8, 8)
        self.leave = nn.Linear(8, 1)

    def forward(self, x):
        hidden = torch.relu(self.enter(x))
        hidden = torch.relu(self.shared(hidden))
        hidden = torch.relu(self.shared(hidden))
        return self.leave(hidden)

    def loss(self, x):
        return nn.functional.mse_loss(self(x), x.sum(1, keepdim=True))

    def backward(self, loss, *args, **kwargs):
        loss.backward(*args, **kwargs)


def batches(device="cpu"):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(5, 4, generator=generator).to(device) for _ in range(STEPS)]


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def train(precision, net, *, clip=0.0, validate=False, peek=False, device="cpu"):
    """Train as a trainer does: one context, entered at each step and each validation."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    context = precision.step_context()
    for batch in batches(device):
        with context:
            if peek:
                with torch.no_grad():
                    net(batch)
            loss = net.loss(batch)
        optimizer.zero_grad()
        precision.backward(precision.pre_backward(loss, net), net)
        precision.unscale(optimizer)
        precision.clip_gradients(optimizer, clip, "norm")
        precision.step(optimizer)
        if validate:
            with torch.no_grad(), context:
                net(batch)
    return net


def train_by_hand(net, dtype, *, scaler=None, clip=0.0, device="cpu"):
    """The loop that torch's documentation shows."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for batch in batches(device):
        with torch.autocast(device, dtype=dtype, cache_enabled=weight_cache_keeps_gradients()):
            loss = net.loss(batch)
        optimizer.zero_grad()
        if scaler is None:
            loss.backward()
        else:
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
    return net


def scaled(**options):
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", **options))


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_bfloat16_training_has_the_bits_of_a_loop_by_hand(clip):
    """Weights are equal after several steps, also of a layer that is used twice; validation between steps or not."""
    by_hand = train_by_hand(Net(), torch.bfloat16, clip=clip)

    plain = train(MixedPrecision("bf16-mixed", "cpu"), Net(), clip=clip)
    validated = train(MixedPrecision("bf16-mixed", "cpu"), Net(), clip=clip, validate=True)

    assert same_weights(plain, by_hand)
    assert same_weights(validated, by_hand)
    assert not same_weights(plain, Net())


def test_bfloat16_training_within_the_users_own_autocast_sees_each_update():
    """An autocast around the whole run keeps no weight from before a step."""
    expected = train_by_hand(Net(), torch.bfloat16)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = train(MixedPrecision("bf16-mixed", "cpu"), Net())
        validated = train(MixedPrecision("bf16-mixed", "cpu"), Net(), validate=True)

    assert same_weights(plain, expected)
    assert same_weights(validated, expected)


def test_a_forward_pass_without_gradients_inside_a_step_takes_none_away():
    """A peek under `no_grad` before the real pass leaves the weights after training as they would be."""
    expected = train(MixedPrecision("bf16-mixed", "cpu"), Net())

    assert same_weights(train(MixedPrecision("bf16-mixed", "cpu"), Net(), peek=True), expected)


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("init_scale", [2.0**10, 2.0**40])
def test_float16_training_has_the_bits_of_a_loop_by_hand(init_scale, clip):
    """Weights and the scaler's state are equal, also where gradients overflow and steps are left out."""
    options = {"init_scale": init_scale, "growth_interval": 2}
    by_hand_scaler = torch.amp.GradScaler("cpu", **options)
    by_hand = train_by_hand(Net(), torch.float16, scaler=by_hand_scaler, clip=clip)
    precision = scaled(**options)

    ours = train(precision, Net(), clip=clip)

    assert same_weights(ours, by_hand)
    assert precision.state_dict() == by_hand_scaler.state_dict()
    assert precision.state_dict()["scale"] != init_scale


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_is_halved():
    """Infinite gradients change no weight; the next scale is smaller."""
    net, precision = Net(), scaled(init_scale=2.0**40)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    with precision.step_context():
        loss = net.loss(batches()[0])

    precision.backward(precision.pre_backward(loss, net), net)
    precision.unscale(optimizer)
    result = precision.step(optimizer)

    assert result is None
    assert same_weights(net, Net())
    assert precision.scaler.get_scale() == 2.0**39


def test_a_closure_is_run_before_a_scaled_step():
    """In manual optimisation a step may bring its own loss."""
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    precision = scaled(init_scale=8.0)

    precision.step(optimizer, lambda: precision.pre_backward((weight**2).sum(), nn.Module()).backward())

    assert weight.item() == 0.0


def test_losses_scaled_together_are_unscaled_alike_by_each_optimizer():
    """With two optimizers the scale does not grow between the steps of losses that were scaled before."""
    weights = [nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([1.0]))]
    optimizers = [torch.optim.SGD([weight], lr=0.25) for weight in weights]
    precision = scaled(init_scale=4.0, growth_interval=1)

    for weight in weights:
        precision.pre_backward((weight**2).sum(), nn.Module()).backward()
    for optimizer in optimizers:
        precision.unscale(optimizer)
        precision.step(optimizer)

    assert [weight.item() for weight in weights] == [0.5, 0.5]
    assert precision.scaler.get_scale() == 8.0


def test_an_optimizer_may_step_again_without_a_new_loss():
    """A second step in a row settles the scale first, as torch asks for."""
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([weight], lr=0.25)
    precision = scaled(init_scale=4.0, growth_interval=100)
    precision.pre_backward((weight**2).sum(), nn.Module()).backward()
    precision.unscale(optimizer)
    precision.step(optimizer)

    weight.grad = torch.tensor([4.0 * 2.0])
    precision.unscale(optimizer)
    precision.step(optimizer)

    assert weight.item() == 1.0 - 0.25 * 2.0 - 0.25 * 2.0


def test_the_scalers_state_survives_a_restart():
    """A run that is cut in two goes on with the same scale, and counts on to the next growth."""
    whole, first, second = (scaled(init_scale=2.0**8, growth_interval=4) for _ in range(3))
    train(whole, Net())
    train(whole, Net())

    train(first, Net())
    second.load_state_dict(first.state_dict())
    train(second, Net())

    assert second.state_dict() == whole.state_dict()
    assert first.state_key() == "MixedPrecision"
    assert first.state_dict() != whole.state_dict()


def test_bfloat16_has_no_state_and_scales_nothing():
    """Its range is that of float32."""
    precision = MixedPrecision("bf16-mixed", "cpu")
    loss = torch.ones(())

    assert precision.pre_backward(loss, nn.Module()) is loss
    assert precision.scaler is None
    assert not precision.scales_loss
    assert precision.state_dict() == {}
    with pytest.raises(MisconfigurationException, match=r"no loss is scaled.*leave the argument out"):
        MixedPrecision("bf16-mixed", "cpu", torch.amp.GradScaler("cpu"))


def test_lbfgs_with_loss_scaling_is_refused_before_the_first_step():
    """It evaluates the loss several times in a step; with bfloat16 it may."""
    parameters = list(Net().parameters())
    optimizers = [torch.optim.SGD(parameters, lr=0.1), torch.optim.LBFGS(parameters)]

    MixedPrecision("bf16-mixed", "cpu").check_optimizers(optimizers)
    scaled().check_optimizers(optimizers[:1])
    with pytest.raises(MisconfigurationException, match=r'Optimizer 1 is `LBFGS`.*`precision="bf16-mixed"`'):
        scaled().check_optimizers(optimizers)


def test_clipping_a_fused_optimizer_with_loss_scaling_is_an_error():
    """It unscales inside its step, after clipping; without scaling, or without clipping, there is no conflict."""
    optimizer = torch.optim.Adam(Net().parameters(), fused=True)

    scaled().clip_gradients(optimizer, 0.0)
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, 1.0)
    with pytest.raises(FusedOptimizerClippingError, match=r"`Adam`.*clipped to 1.0.*fused=False") as info:
        scaled().clip_gradients(optimizer, 1.0)

    assert isinstance(info.value, RuntimeError)
    assert isinstance(info.value, MisconfigurationException)


def test_a_fused_optimizer_unscales_its_gradients_itself():
    """The update is that of the unscaled gradients, the same as with one that is not fused."""

    def step(*, fused):
        net, precision = Net(), scaled(init_scale=2.0**6)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=fused)
        precision.backward(precision.pre_backward(net.loss(batches()[0]), net), net)
        precision.unscale(optimizer)
        precision.step(optimizer)
        return net

    for ours, theirs in zip(step(fused=True).parameters(), step(fused=False).parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("outer", [nullcontext(), torch.autocast("cpu", dtype=torch.bfloat16)])
def test_leaving_a_step_forgets_the_cast_weights(outer):
    """The next step casts the weights as the optimizer has left them, wherever the step runs."""
    layer, x = nn.Linear(2, 1, bias=False), torch.ones(1, 2)
    context = AutocastContext("cpu", torch.bfloat16)

    with outer:
        with context:
            before = layer(x)
        with torch.no_grad():
            layer.weight.fill_(1.0)
        with context:
            after = layer(x)

    assert after.item() == 2.0 != before.item()


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("name", ["16-mixed", "bf16-mixed"])
def test_training_on_a_cuda_device_has_the_bits_of_a_loop_by_hand(name):
    """A real device: autocast, scaling and clipping."""
    dtype = torch.float16 if name == "16-mixed" else torch.bfloat16
    scaler = torch.amp.GradScaler("cuda") if name == "16-mixed" else None
    by_hand = train_by_hand(Net().cuda(), dtype, scaler=scaler, clip=0.5, device="cuda")

    ours = train(MixedPrecision(name, "cuda"), Net().cuda(), clip=0.5, device="cuda")

    assert same_weights(ours, by_hand)
