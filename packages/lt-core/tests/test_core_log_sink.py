"""The log sink behind `self.log`: rules of each hook, names, means, memory and state."""

from __future__ import annotations

import gc
import tracemalloc
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lt_core import LogSink, MisconfigurationException, TrainerBase
from lt_core.checkpoint_file import load_checkpoint_file, save_checkpoint_file
from lt_core.hooks import HOOKS, LogRule
from lt_core.testing import BoringModel

ALLOWED = {
    "train": """training_step on_train_batch_start on_train_batch_end on_before_backward backward on_after_backward
        on_before_optimizer_step optimizer_step configure_gradient_clipping on_before_zero_grad optimizer_zero_grad""",
    "eval": """validation_step on_validation_batch_start on_validation_batch_end
        test_step on_test_batch_start on_test_batch_end""",
    "epoch": """on_train_start on_train_epoch_start on_train_epoch_end on_validation_start on_validation_epoch_start
        on_validation_epoch_end on_test_start on_test_epoch_start on_test_epoch_end""",
}
RULES = {name: kind for kind, names in ALLOWED.items() for name in names.split()}


class Scene:
    """A module attached to a trainer, and its sink."""

    def __init__(self, stage: str = "train", fx: str = "training_step") -> None:
        self.module = BoringModel()
        self.trainer = TrainerBase()
        self.trainer.attach(self.module)
        self.sink = self.trainer.log_sink
        self.sink.open(stage)
        self.sink.fx = fx
        self.log = self.module.log

    def epoch(self) -> dict[str, float]:
        self.sink.epoch_ended = True
        values = {name: float(value) for name, value in self.sink.read().callback.items()}
        self.sink.epoch_ended = False
        return values


def _step_and_epoch(fx: str, **options) -> tuple[bool, bool]:
    scene = Scene(fx=fx)
    scene.log("a", 1.0, **options)
    step = "a" in scene.sink.read().logger or "a_step" in scene.sink.read().logger
    return step, "a" in scene.epoch()


@pytest.mark.parametrize("fx", sorted(HOOKS))
def test_each_hook_may_log_what_the_reference_says(fx: str) -> None:
    """Defaults and permissions of every hook of the table, compared with the list written out above."""
    kind = RULES.get(fx)

    if kind is None:
        assert HOOKS[fx].logs is LogRule.NEVER
        with pytest.raises(MisconfigurationException, match=f"inside `{fx}`"):
            Scene(fx=fx).log("a", 1.0)
        return
    assert _step_and_epoch(fx) == ((True, False) if kind == "train" else (False, True))
    for on_step in (True, False):
        for on_epoch in (True, False):
            if (on_step, on_epoch) == (False, False) or (kind == "epoch" and (on_step, on_epoch) != (False, True)):
                with pytest.raises(MisconfigurationException, match="on_epoch"):
                    Scene(fx=fx).log("a", 1.0, on_step=on_step, on_epoch=on_epoch)
            else:
                assert _step_and_epoch(fx, on_step=on_step, on_epoch=on_epoch) == (on_step, on_epoch)


def test_a_hook_that_may_not_log_is_named_even_when_nothing_is_collected() -> None:
    """The error names the hook, not the missing collection."""
    scene = Scene(fx="on_train_end")
    scene.sink.close()

    with pytest.raises(MisconfigurationException, match="inside `on_train_end`"):
        scene.log("a", 1.0)


def test_logging_outside_of_hooks_and_outside_of_collections_is_an_error() -> None:
    """No hook, or a hook without an open book."""
    scene = Scene(fx=None)
    with pytest.raises(MisconfigurationException, match="no hook is running"):
        scene.log("a", 1.0)

    scene.sink.fx = "training_step"
    scene.sink.close()
    with pytest.raises(MisconfigurationException, match="nothing is collected"):
        scene.log("a", 1.0)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(0, 2**31))
def test_any_partition_into_batches_gives_the_mean_of_the_whole(sizes: list[int], seed: int) -> None:
    """The epoch's mean of batch means is the mean over all samples, whatever the batches are."""
    data = torch.rand(sum(sizes), generator=torch.Generator().manual_seed(seed)) + 0.5
    scene = Scene()

    for batch in data.split(sizes):
        scene.sink.batch = batch
        scene.log("mean", batch.mean(), on_epoch=True)

    assert scene.epoch()["mean"] == pytest.approx(float(data.double().mean()), rel=1e-6)


@pytest.mark.parametrize(("reduce_fx", "expected"), [("sum", 10.0), (torch.max, 4.0), (min, 1.0), ("AVG", 2.5)])
@pytest.mark.parametrize("kind", ["tensor", "number", "mixed"])
def test_reductions_reduce_numbers_and_tensors_alike(reduce_fx, expected: float, kind: str) -> None:
    """Sum, minimum, maximum and mean over four values."""
    scene = Scene()
    scene.sink.batch = torch.zeros(3)

    for index in range(1, 5):
        number = kind == "number" or (kind == "mixed" and index % 2)
        scene.log("a", float(index) if number else torch.tensor(float(index)), on_epoch=True, reduce_fx=reduce_fx)

    assert scene.epoch()["a"] == expected


@pytest.mark.parametrize("on_epoch", [False, True])
@pytest.mark.parametrize("enable_graph", [False, True])
def test_a_tensor_that_is_changed_afterwards_logs_the_value_that_it_had(on_epoch: bool, enable_graph: bool) -> None:
    """The value is copied at the call, so a running buffer may go on."""
    scene, running = Scene(), torch.tensor(1.0)
    scene.sink.batch = torch.zeros(2)

    scene.log("a", running, on_epoch=on_epoch, enable_graph=enable_graph)
    running.add_(41.0)

    assert scene.sink.read().callback["a"] == 1.0
    if on_epoch:
        assert scene.epoch()["a"] == 1.0


def test_a_published_value_does_not_change_with_the_next_step() -> None:
    """What a callback has read stays what it was."""
    scene = Scene()
    scene.log("a", torch.tensor(1.0))
    read = scene.sink.read().callback["a"]

    scene.log("a", torch.tensor(2.0))

    assert read == 1.0


def _live_tensors() -> int:
    # Not isinstance: some module objects answer it with a deprecation warning.
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_a_hundred_thousand_logged_steps_keep_memory_flat() -> None:
    """Neither the number of live tensors nor Python's memory grows with the steps."""
    scene, value = Scene(), torch.ones((), requires_grad=True) * 2
    scene.sink.batch = torch.zeros(4)

    def steps(count: int) -> None:
        for _ in range(count):
            scene.log("step", value)
            scene.log("epoch", value, on_epoch=True)
            scene.log("number", 0.5, on_epoch=True)

    steps(1000)
    gc.collect()
    tensors = _live_tensors()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    steps(5000)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    steps(94_000)
    gc.collect()

    assert _live_tensors() <= tensors + 2
    assert after - before < 20_000
    assert scene.epoch()["epoch"] == 2.0


@pytest.mark.parametrize("on_epoch", [False, True])
def test_logging_does_not_keep_the_graph(on_epoch: bool) -> None:
    """Logged values are detached."""
    scene = Scene()
    scene.sink.batch = torch.zeros(2)
    scene.log("a", torch.ones((), requires_grad=True) * 2, on_epoch=on_epoch)

    assert not scene.sink.read().callback["a"].requires_grad
    scene.sink.epoch_ended = True
    assert not any(value.requires_grad for value in scene.sink.read().callback.values())


def test_enable_graph_keeps_the_graph_of_step_and_epoch_values() -> None:
    """Both can be differentiated."""
    scene, weight = Scene(), torch.ones((), requires_grad=True)
    scene.sink.batch = torch.zeros(2)
    for factor in (1.0, 3.0):
        scene.log("a", weight * factor, on_epoch=True, enable_graph=True)

    step = scene.sink.read().callback["a_step"]
    scene.sink.epoch_ended = True
    epoch = scene.sink.read().callback["a_epoch"]

    assert torch.autograd.grad(step, weight, retain_graph=True)[0] == 3.0
    assert torch.autograd.grad(epoch, weight)[0] == 2.0


def test_logging_the_same_key_with_other_options_is_an_error() -> None:
    """The same options add up, others are a mistake, another hook or another key is free."""
    scene = Scene()
    scene.log("a", 1.0)
    scene.log("a", 2.0)

    with pytest.raises(MisconfigurationException, match="twice in `training_step`"):
        scene.log("a", 1.0, prog_bar=True)
    scene.sink.fx = "on_train_batch_end"
    scene.log("a", 3.0, prog_bar=True)
    scene.log("b", 3.0, prog_bar=True)
    assert scene.sink.read().callback["a"] == 3.0


@pytest.mark.parametrize("value", ["text", None, [1.0], {"a": 1.0}, object(), torch.ones(2), torch.ones(0)])
def test_what_is_no_single_number_cannot_be_logged(value: object) -> None:
    """The error is a ValueError as well and names the key."""
    with pytest.raises(MisconfigurationException, match=r"self.log\('a'") as caught:
        Scene().log("a", value)

    assert isinstance(caught.value, ValueError)


def test_a_dict_points_to_log_dict_and_a_key_must_be_a_string() -> None:
    """The message says what to write."""
    with pytest.raises(MisconfigurationException, match="log_dict"):
        Scene().log("a", {"b": 1.0})
    with pytest.raises(MisconfigurationException, match="key is a int"):
        Scene().log(5, 1.0)


@pytest.mark.parametrize(("reduce_fx", "hint"), [("meen", "Did you mean `mean`"), (len, "torchmetrics"), ([], "torch")])
def test_other_reductions_are_refused(reduce_fx: object, hint: str) -> None:
    """Only what combines exactly over steps is taken."""
    with pytest.raises(MisconfigurationException, match=hint):
        Scene().log("a", 1.0, on_epoch=True, reduce_fx=reduce_fx)


def test_forked_keys_and_destinations() -> None:
    """On step and on epoch fork the name; logger and progress bar get the forked one, callbacks both."""
    scene = Scene()
    scene.sink.batch = torch.zeros(2)
    scene.log("a", 1.0, on_epoch=True, prog_bar=True)
    scene.log("b", 2.0, logger=False)

    step = scene.sink.read()
    scene.sink.epoch_ended = True
    epoch = scene.sink.read()

    assert set(step.callback) == {"a", "a_step", "b"}
    assert set(step.logger) == set(step.progress_bar) == {"a_step"}
    assert set(epoch.callback) == {"a", "a_epoch"}
    assert set(epoch.logger) == set(epoch.progress_bar) == {"a_epoch"}


def test_several_loaders_get_their_index_in_the_key() -> None:
    """The suffix follows the fork, may be switched off, and each loader has its own row."""
    scene = Scene("validate", "validation_step")
    for index in range(2):
        scene.sink.dataloader_idx = index
        scene.sink.batch = torch.zeros(1)
        scene.log("m", float(index), on_step=True)
        scene.log(f"own_{index}", 5.0, add_dataloader_idx=False)
    scene.sink.dataloader_idx, scene.sink.batch = None, None
    scene.sink.fx, scene.sink.epoch_ended = "on_validation_epoch_end", True
    scene.log("all", 7.0)

    assert set(scene.sink.read().callback) == {
        "m/dataloader_idx_0", "m_epoch/dataloader_idx_0", "m/dataloader_idx_1", "m_epoch/dataloader_idx_1",
        "own_0", "own_1", "all",
    }  # fmt: skip
    assert scene.sink.read_per_loader(2) == [
        {"m_epoch/dataloader_idx_0": 0.0, "own_0": 5.0, "all": 7.0},
        {"m_epoch/dataloader_idx_1": 1.0, "own_1": 5.0, "all": 7.0},
    ]


def test_a_key_that_holds_the_loaders_suffix_is_refused() -> None:
    """The suffix is appended by the sink."""
    with pytest.raises(MisconfigurationException, match="add_dataloader_idx=False"):
        Scene().log("a/dataloader_idx_0", 1.0)


def test_stages_do_not_disturb_each_other() -> None:
    """Validation in the middle of an epoch leaves what training has logged."""
    scene = Scene()
    scene.sink.batch = torch.zeros(1)
    scene.log("a", 1.0, on_epoch=True)
    scene.sink.open("validate")
    scene.sink.fx = "validation_step"
    scene.sink.batch = torch.zeros(1)
    scene.log("a", 100.0)
    assert scene.epoch() == {"a": 100.0}
    scene.sink.reset()

    scene.sink.open("train")
    scene.sink.fx = "training_step"
    scene.sink.batch = torch.zeros(1)
    scene.log("a", 3.0, on_epoch=True)

    assert scene.epoch()["a"] == 2.0


def test_a_batch_size_that_cannot_be_told_is_asked_for_only_where_it_counts() -> None:
    """An epoch mean needs it, a step value, a sum and an explicit size do not."""
    scene = Scene()
    scene.sink.batch = {"x": torch.zeros(3), "y": torch.zeros(5)}

    scene.log("step", 1.0)
    scene.log("sum", 1.0, on_epoch=True, reduce_fx="sum")
    scene.log("explicit", 1.0, on_epoch=True, batch_size=3)
    with pytest.raises(MisconfigurationException, match=r"self.log\('mean', value, batch_size=…\)"):
        scene.log("mean", 1.0, on_epoch=True)


def test_reset_forgets_values_and_clear_forgets_keys() -> None:
    """After a reset the same key counts anew; after a clear it may have other options."""
    scene = Scene()
    scene.log("a", 1.0, on_epoch=True)
    scene.sink.reset()
    assert scene.epoch() == {}
    scene.log("a", 5.0, on_epoch=True)
    assert scene.epoch()["a"] == 5.0

    scene.sink.clear()
    scene.sink.open("train")
    scene.log("a", 1.0, prog_bar=True)
    assert scene.sink.keys == {"a"}


@pytest.mark.parametrize("after", [1, 63, 64, 65, 130])
def test_the_state_goes_on_with_the_same_bits(after: int) -> None:
    """A sink restored in the middle of an epoch ends it with the bits of one that was not interrupted."""
    values = torch.rand(200, generator=torch.Generator().manual_seed(1))
    sizes = [1 + int(value * 7) for value in values]

    def log(scene: Scene, start: int, end: int) -> None:
        for index in range(start, end):
            scene.log("mean", values[index], on_epoch=True, batch_size=sizes[index])
            scene.log("sum", values[index] * 3, on_epoch=True, reduce_fx="sum")
            scene.log("max", float(values[index]), on_epoch=True, reduce_fx="max")
            scene.log("graph", values[index], on_epoch=True, enable_graph=True, batch_size=2)

    unbroken = Scene()
    log(unbroken, 0, 200)
    first, second = Scene(), Scene()
    log(first, 0, after)
    second.sink.load_state_dict(first.sink.state_dict(), second.module)
    log(second, after, 200)

    expected, found = unbroken.sink.read().callback, second.sink.read().callback
    assert {name: value.item() for name, value in found.items()} == {k: v.item() for k, v in expected.items()}
    assert second.epoch() == unbroken.epoch()


def test_a_key_that_is_not_logged_again_after_a_restart_is_still_published() -> None:
    """Its values of before the restart count, with their options."""
    first, second = Scene(), Scene()
    first.log("rare", torch.tensor(4.0), on_epoch=True, batch_size=2, prog_bar=True)
    second.sink.load_state_dict(first.sink.state_dict(), second.module)

    assert second.sink.read().progress_bar.keys() == {"rare_step"}
    assert second.epoch() == {"rare": 4.0, "rare_epoch": 4.0}


def test_a_restored_key_keeps_its_options() -> None:
    """Other options than before the restart are a mistake like any other."""
    first, second = Scene(), Scene()
    first.log("a", 1.0)
    second.sink.load_state_dict(first.sink.state_dict(), second.module)

    with pytest.raises(MisconfigurationException, match="twice"):
        second.log("a", 1.0, prog_bar=True)


def test_the_state_is_of_safe_types(tmp_path) -> None:
    """It can be read with weights_only=True."""
    scene = Scene()
    scene.log("a", torch.tensor(1.0), on_epoch=True, batch_size=2)
    save_checkpoint_file({"sink": scene.sink.state_dict()}, tmp_path / "state.ckpt")

    read = load_checkpoint_file(tmp_path / "state.ckpt")["sink"]

    other = Scene()
    other.sink.load_state_dict(read, other.module)
    assert other.epoch()["a"] == 1.0


def test_logging_under_inference_mode_can_be_read_outside_of_it() -> None:
    """What is published is an ordinary tensor."""
    scene = Scene("test", "test_step")
    with torch.inference_mode():
        scene.sink.batch = torch.zeros(2)
        for _ in range(2):
            scene.log("a", torch.ones(()) * 2)
    scene.sink.epoch_ended = True

    value = scene.sink.read().callback["a"]

    value.add_(1.0)
    assert value == 3.0


def test_a_module_without_a_trainer_warns_once_and_logs_nothing() -> None:
    """`self.log` outside of a run is harmless."""
    module = BoringModel()

    with pytest.warns(UserWarning, match="no trainer is attached"):
        module.log("outside_of_a_run", 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module.log("outside_of_a_run", 1.0)


def test_asking_for_a_logger_that_is_not_there_warns() -> None:
    """`logger=True` without a logger is told once."""
    with pytest.warns(UserWarning, match="no logger"):
        Scene().log("asked_for_a_logger", 1.0, logger=True)


def test_a_new_sink_has_nothing_to_read() -> None:
    """Reading before anything was opened gives empty dicts."""
    sink = LogSink()

    assert sink.read().callback == {}
    assert sink.state_dict() == {}
    sink.reset()
