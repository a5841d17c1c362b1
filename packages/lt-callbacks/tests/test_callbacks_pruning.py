"""ModelPruning."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

from lt_callbacks import ModelCheckpoint, ModelPruning
from lt_core.callback import Callback
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.errors import MisconfigurationException
from lt_core.module import LightningModule
from lt_core.testing import MiniTrainer

torch.set_num_threads(1)


class Net(LightningModule):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(2, 4)
        self.second = nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.second(torch.tanh(self.first(x))), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def data() -> DataLoader[Any]:
    x = torch.linspace(-1, 2, 12).reshape(6, 2)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True) * 3), batch_size=3)


def fit(module: Net, *callbacks: Callback, epochs: int = 2, **kwargs: Any) -> MiniTrainer:
    ckpt_path = kwargs.pop("ckpt_path", None)
    trainer = MiniTrainer(callbacks=list(callbacks), max_epochs=epochs, **kwargs)
    trainer.fit(module, data(), data(), ckpt_path=ckpt_path)
    return trainer


def zeros(module: nn.Module) -> int:
    return sum(int((parameter == 0).sum()) for parameter in module.parameters())


class Zeros(Callback):
    """Counts what is pruned at the end of each epoch."""

    def __init__(self) -> None:
        self.counted: list[int] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        masks = [buffer for name, buffer in pl_module.named_buffers() if name.endswith("_mask")]
        self.counted.append(sum(int((mask == 0).sum()) for mask in masks))


def test_each_epoch_prunes_a_part_of_what_is_left() -> None:
    """17 parameters, half of them after the first epoch, half of the rest after the second."""
    zeros_seen = Zeros()
    module = Net()

    fit(module, ModelPruning("l1_unstructured", amount=0.5), zeros_seen, epochs=3)

    assert zeros_seen.counted == [8, 12, 14]
    assert zeros(module) == 14
    assert sorted(dict(module.named_parameters())) == ["first.bias", "first.weight", "second.bias", "second.weight"]


def test_the_least_of_all_layers_go_first_or_of_each_layer() -> None:
    """Pruned together, the smallest absolute values of the model; apart, half of each parameter."""
    together, apart = Net(), Net()
    names = ["weight"]

    fit(
        together,
        ModelPruning("l1_unstructured", parameter_names=names, use_lottery_ticket_hypothesis=False),
        epochs=1,
    )
    fit(apart, ModelPruning("l1_unstructured", parameter_names=names, use_global_unstructured=False), epochs=1)

    kept = torch.cat([layer.weight.flatten() for layer in (together.first, together.second)]).abs()
    assert (kept == 0).sum() == 6
    assert [zeros(apart.first), zeros(apart.second)] == [4, 2]


def test_what_is_pruned_stays_zero_while_the_rest_is_trained() -> None:
    """The second epoch, in which nothing more is pruned, moves the others alone."""
    module = Net()

    class Look(Callback):
        def __init__(self) -> None:
            self.weights: list[Tensor] = []

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.weights.append(pl_module.first.weight.detach().clone())

    look = Look()
    pruning = ModelPruning("l1_unstructured", amount=0.5, apply_pruning=lambda epoch: epoch == 0)

    fit(module, pruning, look)

    pruned = look.weights[0] == 0
    assert pruned.any()
    assert torch.equal(look.weights[1] == 0, pruned)
    assert not torch.equal(look.weights[1][~pruned], look.weights[0][~pruned])


@pytest.mark.parametrize("hypothesis", [True, False])
def test_a_lottery_ticket_begins_anew_from_the_initial_values(hypothesis: bool) -> None:
    """After each pruning, not the first alone, what is left has the values of before training."""
    module = Net()
    initial = module.first.weight.detach().clone()

    fit(module, ModelPruning("l1_unstructured", amount=0.2, use_lottery_ticket_hypothesis=hypothesis), epochs=3)

    left = module.first.weight != 0
    assert torch.equal(module.first.weight[left], initial[left]) is hypothesis


def test_a_lottery_ticket_may_be_drawn_anew() -> None:
    """Both parameters of a layer come from one `reset_parameters`."""
    module = Net()
    initial = module.first.weight.detach().clone()

    fit(module, ModelPruning("l1_unstructured", amount=0.2, resample_parameters=True))

    left = module.first.weight != 0
    assert (module.first.weight[left] != initial[left]).all()
    assert module.first.weight.abs().max() <= 2**-0.5  # the range from which Linear(2, …) draws


def test_structured_pruning_takes_whole_rows() -> None:
    """With the norm and the dimension that were given."""
    module = Net()
    pruning = ModelPruning(
        "ln_structured",
        parameters_to_prune=[(module.first, "weight")],
        use_global_unstructured=False,
        amount=0.5,
        pruning_dim=0,
        pruning_norm=2,
    )

    fit(module, pruning, epochs=1)

    assert (module.first.weight == 0).all(dim=1).sum() == 2
    assert zeros(module.second) == 0


def test_a_method_of_one_s_own_is_a_class() -> None:
    """It prunes all parameters together."""

    class EverySecond(prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def __init__(self, amount: float) -> None:
            pass

        def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    module = Net()

    fit(module, ModelPruning(EverySecond, parameters_to_prune=[(module.first, "weight")]), epochs=1)

    assert (module.first.weight.flatten() == 0).tolist() == [True, False] * 4


@pytest.mark.parametrize("permanent", [True, False])
def test_checkpoints_hold_plain_weights_where_pruning_is_permanent(permanent: bool, tmp_path: Path) -> None:
    """They load into a module that knows nothing of pruning."""
    module = Net()
    pruning = ModelPruning("l1_unstructured", amount=0.5, make_pruning_permanent=permanent)

    fit(module, pruning, ModelCheckpoint(tmp_path, filename="pruned"), epochs=1)
    state = load_checkpoint_file(tmp_path / "pruned.ckpt")["state_dict"]

    assert ("first.weight" in state) is permanent
    assert ("first.weight_mask" in state) is not permanent
    if permanent:
        assert zeros(Net.load_from_checkpoint(tmp_path / "pruned.ckpt")) == 8


@pytest.mark.parametrize("hypothesis", [True, False])
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_resumed_run_ends_with_the_same_bits(epoch: int, hypothesis: bool, tmp_path: Path) -> None:
    """Masks and initial values are in the checkpoint."""

    class Save(Callback):
        role = "checkpoint"

        def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
            if trainer.current_epoch == epoch:
                trainer.save_checkpoint(tmp_path / "resume.ckpt")

    def make() -> ModelPruning:
        return ModelPruning("l1_unstructured", amount=0.3, use_lottery_ticket_hypothesis=hypothesis)

    whole, resumed = Net(), Net()
    with torch.no_grad():
        resumed.first.weight.add_(1)  # other initial values, as another process may have

    fit(whole, make(), Save(), epochs=4)
    fit(resumed, make(), epochs=4, ckpt_path=tmp_path / "resume.ckpt")

    assert {name: value.tolist() for name, value in resumed.state_dict().items()} == {
        name: value.tolist() for name, value in whole.state_dict().items()
    }


def test_pruning_may_follow_validation() -> None:
    """Then the weights that were validated are pruned, and not in the sanity check."""
    counted: list[int] = []

    class Count(Callback):
        def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            counted.append(sum(int((buffer == 0).sum()) for buffer in pl_module.buffers()))

    fit(
        Net(),
        ModelPruning("l1_unstructured", prune_on_train_epoch_end=False),
        Count(),
        epochs=1,
        num_sanity_val_steps=1,
    )

    assert counted == [0, 8]


def test_how_much_is_pruned_is_said_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """In all with `verbose=1`, for each parameter with 2."""
    module = Net()
    pairs = [(module.first, "weight"), (module.second, "weight")]

    with caplog.at_level(logging.INFO):
        fit(module, ModelPruning("l1_unstructured", parameters_to_prune=pairs, verbose=2), epochs=1)

    said = [record.message for record in caplog.records if "Pruned:" in record.message]
    assert said[0] == "Applied `L1Unstructured`. Pruned: 0/12 (0.00%) -> 6/12 (50.00%)"
    assert len(said) == 3


def test_a_filter_says_what_is_pruned() -> None:
    """The method is for subclasses."""

    class SecondOnly(ModelPruning):
        def filter_parameters_to_prune(self, parameters_to_prune: Any = ()) -> Any:
            return [(module, name) for module, name in parameters_to_prune if module.out_features == 1]

    module = Net()

    fit(module, SecondOnly("l1_unstructured", parameter_names=["weight"]), epochs=1)

    assert (zeros(module.first), zeros(module.second)) == (0, 2)


def test_a_module_with_nothing_to_prune_is_told_so() -> None:
    """And trained."""

    class Bare(Net):
        def __init__(self) -> None:
            super().__init__()
            del self.first, self.second
            self.scale = nn.Parameter(torch.ones(1))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return (self.scale * batch[0]).sum()

    with pytest.warns(UserWarning, match="found nothing to prune in `Bare`"):
        trainer = fit(Bare(), ModelPruning("l1_unstructured"), epochs=1)

    assert trainer.global_step == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pruning_fn": "l1_unstructurd"}, "Did you mean `l1_unstructured`"),
        ({"pruning_fn": prune.L1Unstructured(0.5)}, "Pass the class, not an instance"),
        ({"pruning_fn": prune.L1Unstructured, "use_global_unstructured": False}, "only supported with"),
        ({"pruning_fn": "random_structured", "use_global_unstructured": False}, "`pruning_dim` should be provided"),
        (
            {"pruning_fn": "ln_structured", "use_global_unstructured": False, "pruning_dim": 0},
            "`pruning_norm` should be provided",
        ),
        ({"pruning_fn": "random_structured", "pruning_dim": 0}, 'Only the "unstructured" PRUNING_TYPE'),
        ({"pruning_fn": "l1_unstructured", "amount": "half"}, "either be an int, a float or Callable|be either an int"),
        ({"pruning_fn": "l1_unstructured", "amount": 1.5}, r"amount=1.5; expected a part from 0.0 to 1.0"),
        ({"pruning_fn": "l1_unstructured", "amount": -1}, "amount=-1; expected a part"),
        ({"pruning_fn": "l1_unstructured", "verbose": 3}, r"`verbose` must be any of \(0, 1, 2\)"),
        ({"pruning_fn": "l1_unstructured", "parameter_names": ["scale"]}, "name: scale isn't in"),
    ],
)
def test_wrong_arguments_are_answered_with_what_to_write(arguments: Any, message: str) -> None:
    """Each is refused when the callback is made."""
    with pytest.raises(MisconfigurationException, match=message):
        ModelPruning(**arguments)


def test_parameters_that_the_model_does_not_have_are_named() -> None:
    """Other modules, other names, other forms."""
    module, other = Net(), nn.Linear(1, 1)

    with pytest.raises(MisconfigurationException, match=r"missing modules: \[Linear"):
        fit(module, ModelPruning("l1_unstructured", parameters_to_prune=[(other, "weight")]))
    with pytest.raises(MisconfigurationException, match=r"missing parameters: \['scale'\]"):
        fit(module, ModelPruning("l1_unstructured", parameters_to_prune=[(module.first, "scale")]))
    with pytest.raises(MisconfigurationException, match="list of tuple with 2 elements"):
        fit(module, ModelPruning("l1_unstructured", parameters_to_prune=["first.weight"]))  # type: ignore[list-item]
    with pytest.raises(MisconfigurationException, match="list of tuple with 2 elements"):
        fit(module, ModelPruning("l1_unstructured", parameters_to_prune=module.first))  # type: ignore[arg-type]
