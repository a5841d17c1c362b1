"""WeightAveraging and EMAWeightAveraging."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lt_callbacks import EMAWeightAveraging, ModelCheckpoint, WeightAveraging
from lt_core.callback import Callback
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.errors import CheckpointError, MisconfigurationException
from lt_core.module import LightningModule
from lt_core.testing import MiniTrainer

torch.set_num_threads(1)


class Line(LightningModule):
    """One weight, which each step of gradient descent brings nearer to 3, and batch normalisation of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, bias=False)
        self.norm = torch.nn.BatchNorm1d(1)
        torch.nn.init.zeros_(self.layer.weight)
        self.validated: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        self.norm(x)
        return torch.nn.functional.mse_loss(self.layer(x), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated.append(self.layer.weight.item())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.5)


class Trace(Callback):
    """Keeps the weights as they are in training, after each optimizer step."""

    def __init__(self) -> None:
        self.weights: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if trainer.global_step > len(self.weights):
            self.weights.append(pl_module.layer.weight.item())


def data() -> DataLoader[Any]:
    x = torch.linspace(-1, 2, 6).unsqueeze(1)
    return DataLoader(TensorDataset(x, 3 * x), batch_size=2)


def fit(*callbacks: Callback, module: Line | None = None, **kwargs: Any) -> tuple[MiniTrainer, Line]:
    module = Line() if module is None else module
    ckpt_path = kwargs.pop("ckpt_path", None)
    trainer = MiniTrainer(callbacks=list(callbacks), **{"max_epochs": 2, **kwargs})
    trainer.fit(module, data(), data(), ckpt_path=ckpt_path)
    return trainer, module


def moving_average(weights: list[float], decay: float) -> float:
    average = weights[0]
    for weight in weights[1:]:
        average = decay * average + (1 - decay) * weight
    return average


def test_the_moving_average_has_its_closed_form(tmp_path: Path) -> None:
    """After each step the average moves by one minus the decay; when fit is over the module has it."""
    trace = Trace()

    _, module = fit(trace, EMAWeightAveraging(decay=0.8))

    assert len(trace.weights) == 6
    assert module.layer.weight.item() == pytest.approx(moving_average(trace.weights, 0.8), abs=1e-6)


def test_without_a_function_all_weights_count_alike() -> None:
    """The default is the mean of the weights after all steps."""
    trace = Trace()

    _, module = fit(trace, WeightAveraging())

    assert module.layer.weight.item() == pytest.approx(sum(trace.weights) / 6, abs=1e-6)


def test_training_is_the_same_with_and_without_averaging() -> None:
    """Validation on the average leaves no trace in the weights that are trained, nor in the statistics of batches."""
    with_average, without = Trace(), Trace()
    averaging = WeightAveraging()

    fit(with_average, averaging, num_sanity_val_steps=1, val_check_interval=1)
    fit(without, num_sanity_val_steps=1, val_check_interval=1)

    assert with_average.weights == without.weights


def test_validation_sees_the_average() -> None:
    """Each validation step within fit runs on the averaged weights, and validate after it, too."""
    trace = Trace()

    trainer, module = fit(trace, WeightAveraging(), limit_val_batches=1)
    trainer.validate(module, data())

    first, both = sum(trace.weights[:3]) / 3, sum(trace.weights) / 6
    assert module.validated == pytest.approx([first, both, both], abs=1e-6)


def test_nothing_is_averaged_before_the_start() -> None:
    """Validation shows the weights of training until the first average is taken, not those of before training."""
    trace = Trace()

    _, module = fit(trace, EMAWeightAveraging(update_starting_at_step=4, decay=0.5), limit_val_batches=1)

    late = moving_average(trace.weights[4:], 0.5)
    assert module.validated == pytest.approx([trace.weights[2], late], abs=1e-6)


def test_a_run_that_ends_before_the_start_keeps_its_weights() -> None:
    """There is no average to leave the module with."""
    trace = Trace()

    _, module = fit(trace, EMAWeightAveraging(update_starting_at_step=100))

    assert module.layer.weight.item() == trace.weights[-1]


def test_a_start_by_epoch_alone_holds_the_steps_back_too() -> None:
    """With `update_starting_at_epoch` nothing is averaged in earlier epochs."""
    trace = Trace()

    _, module = fit(trace, EMAWeightAveraging(update_starting_at_epoch=1, decay=0.5))

    seen = [*trace.weights[3:], trace.weights[5]]  # the end of the epoch counts once more
    assert module.layer.weight.item() == pytest.approx(moving_average(seen, 0.5), abs=1e-6)


def test_should_update_is_asked_once_for_each_optimizer_step_and_epoch() -> None:
    """Batches that only accumulate gradients are no steps."""

    class Asked(WeightAveraging):
        def __init__(self) -> None:
            super().__init__()
            self.asked: list[tuple[int | None, int | None]] = []

        def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
            self.asked.append((step_idx, epoch_idx))
            return False

    averaging = Asked()

    fit(averaging, accumulate_grad_batches=2)

    assert averaging.asked == [(0, None), (1, None), (None, 0), (2, None), (3, None), (None, 1)]


@pytest.mark.parametrize("use_buffers", [True, False])
def test_buffers_are_averaged_or_taken_over(use_buffers: bool) -> None:
    """Counters are taken over in either case: an average that is cut off would lag behind."""

    class FirstAndLast(WeightAveraging):
        def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
            return step_idx in (0, 5)

    means: list[float] = []

    class Means(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            means.append(pl_module.norm.running_mean.item())

    _, module = fit(Means(), FirstAndLast(use_buffers=use_buffers))

    expected = (means[0] + means[5]) / 2 if use_buffers else means[5]
    assert module.norm.running_mean is not None
    assert module.norm.running_mean.item() == pytest.approx(expected, abs=1e-6)
    assert module.norm.num_batches_tracked == 6


def test_the_checkpoint_has_both_sets_by_name(tmp_path: Path) -> None:
    """`state_dict` is the average, `current_model_state` what training goes on with; either is loaded by its name."""
    trace = Trace()
    fit(trace, WeightAveraging(), ModelCheckpoint(tmp_path, filename="both"))
    path, module = tmp_path / "both.ckpt", Line()

    checkpoint = load_checkpoint_file(path)
    WeightAveraging.load_weights(module, path)
    averaged = module.layer.weight.item()
    WeightAveraging.load_weights(module, path, weights="current")
    current = module.layer.weight.item()

    assert averaged == pytest.approx(sum(trace.weights) / 6, abs=1e-6)
    assert current == trace.weights[-1]
    assert checkpoint["averaging_state"] == {"n_averaged": torch.tensor(6)}
    assert Line.load_from_checkpoint(path).layer.weight.item() == averaged


def test_a_checkpoint_written_during_validation_has_the_same_sets(tmp_path: Path) -> None:
    """While the module shows the average, the copy holds what training goes on with."""

    class SaveInValidation(Callback):
        def on_validation_batch_end(self, trainer: Any, *args: Any) -> None:
            trainer.save_checkpoint(tmp_path / "during.ckpt")

    trace = Trace()

    fit(trace, WeightAveraging(), SaveInValidation(), max_epochs=1)
    checkpoint = load_checkpoint_file(tmp_path / "during.ckpt")

    assert checkpoint["current_model_state"]["layer.weight"].item() == trace.weights[2]
    assert checkpoint["state_dict"]["layer.weight"].item() == pytest.approx(sum(trace.weights) / 3, abs=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        WeightAveraging,
        lambda: EMAWeightAveraging(decay=0.7, update_every_n_steps=2),
        lambda: EMAWeightAveraging(decay=0.7, update_starting_at_step=4),
        lambda: EMAWeightAveraging(decay=0.7, update_starting_at_epoch=0),
    ],
    ids=["all", "every second", "late", "epochs"],
)
@pytest.mark.parametrize("when", ["step 2", "step 5", "epoch", "end"])
def test_a_resumed_run_ends_with_the_same_bits(make: Any, when: str, tmp_path: Path) -> None:
    """The average, the weights of training and the statistics go on as in a run that was not interrupted."""
    path = tmp_path / "resume.ckpt"

    class Save(Callback):
        role = "checkpoint"

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            if when == f"step {trainer.global_step}":
                trainer.save_checkpoint(path)

        def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
            if when == "epoch" and trainer.current_epoch == 0:
                trainer.save_checkpoint(path)

    whole, expected = fit(make(), max_epochs=4)
    interrupted, _ = fit(make(), Save(), max_epochs=2)
    if when == "end":
        interrupted.save_checkpoint(path)
    resumed, module = fit(make(), max_epochs=4, ckpt_path=path)
    resumed.save_checkpoint(tmp_path / "resumed.ckpt")
    whole.save_checkpoint(tmp_path / "whole.ckpt")

    one, other = (load_checkpoint_file(tmp_path / name) for name in ("resumed.ckpt", "whole.ckpt"))
    for key in ("state_dict", "current_model_state"):
        assert {name: value.tolist() for name, value in one[key].items()} == {
            name: value.tolist() for name, value in other[key].items()
        }
    assert one["averaging_state"] == other["averaging_state"]
    assert one["callbacks"] == other["callbacks"]
    assert module.layer.weight.item() == expected.layer.weight.item()


def test_a_checkpoint_without_an_average_begins_one(tmp_path: Path) -> None:
    """The run goes on from its weights, and says what is missing."""
    trainer, _ = fit(max_epochs=1)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    trace = Trace()

    with pytest.warns(UserWarning, match="written without WeightAveraging"):
        _, module = fit(WeightAveraging(), trace, ckpt_path=tmp_path / "plain.ckpt")

    assert module.layer.weight.item() == pytest.approx(sum(trace.weights[-3:]) / 3, abs=1e-6)


def test_an_exception_in_validation_gives_the_weights_of_training_back() -> None:
    """The module is as it was before validation, also for a checkpoint that is written on the exception."""

    class Fails(Callback):
        def on_validation_batch_start(self, *args: Any) -> None:
            raise ValueError("in the middle")

    trace, module = Trace(), Line()

    with pytest.raises(ValueError, match="in the middle"):
        fit(WeightAveraging(), trace, Fails(), module=module)

    assert module.layer.weight.item() == trace.weights[2]


def test_files_with_weights_only_are_warned_about(tmp_path: Path) -> None:
    """Callbacks have no part in such files, so they hold the weights of training."""
    with pytest.warns(UserWarning, match=r"save_weights_only=True.*as they are in training"):
        fit(WeightAveraging(), ModelCheckpoint(tmp_path, save_weights_only=True), max_epochs=1)


def test_sharded_parameters_are_refused() -> None:
    """A copy of one process's part is no copy of the module."""
    module = Line()
    module.layer.weight.placements = ()  # type: ignore[attr-defined]

    with pytest.raises(MisconfigurationException, match=r"sharded parameters, such as `layer.weight`"):
        fit(WeightAveraging(), module=module)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EMAWeightAveraging(decay=1.5), r"decay=1.5; expected a number from 0 to 1"),
        (lambda: EMAWeightAveraging(decay="0.9"), r"decay='0.9'; expected a number"),  # type: ignore[arg-type]
        (lambda: EMAWeightAveraging(update_every_n_steps=0), r"update_every_n_steps=0; expected at least 1"),
        (lambda: EMAWeightAveraging(update_starting_at_step=-1), r"update_starting_at_step=-1; expected at least 0"),
        (lambda: EMAWeightAveraging(update_starting_at_epoch=0.5), r"expected a whole number"),  # type: ignore[arg-type]
        (lambda: EMAWeightAveraging(avg_fn=max), r"got `avg_fn`; expected none"),
        (lambda: WeightAveraging(avg_fun=max), r"'avg_fun'.*Did you mean `avg_fn`"),
        (lambda: WeightAveraging(avg_fn=0.5), r"avg_fn=0.5; expected a function"),
        (lambda: WeightAveraging(avg_fn=max, multi_avg_fn=max), r"both `avg_fn` and `multi_avg_fn`"),
        (lambda: WeightAveraging(device="gpu"), r"device='gpu', which torch does not know"),
        (lambda: WeightAveraging(device=0.5), r"device=0.5, a float"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_are_answered_with_what_to_write(make: Any, message: str) -> None:
    """Each is refused when the callback is made."""
    with pytest.raises(MisconfigurationException, match=message) as caught:
        make()

    assert "Write " in str(caught.value) or "leave " in str(caught.value)


def test_a_set_that_the_file_does_not_have_is_named(tmp_path: Path) -> None:
    """A file from a run without averaging has one set only, and there is no third name."""
    trainer, module = fit(max_epochs=1)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")

    with pytest.raises(CheckpointError, match="`current_model_state` among them"):
        WeightAveraging.load_weights(module, tmp_path / "plain.ckpt", weights="current")
    with pytest.raises(MisconfigurationException, match="Did you mean `averaged`"):
        WeightAveraging.load_weights(module, tmp_path / "plain.ckpt", weights="average")  # type: ignore[arg-type]
