"""BaseFinetuning and BackboneFinetuning. The rates are those of Lightning 2.6.6 for the same arguments."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lt_callbacks import BackboneFinetuning, BaseFinetuning
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException
from lt_core.module import LightningModule
from lt_core.testing import MiniTrainer

torch.set_num_threads(1)


class Classifier(LightningModule):
    """A head on a backbone with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
        self.head = nn.Linear(4, 1)
        self.rates: list[list[float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.head(self.backbone(x)), y)

    def on_train_epoch_start(self) -> None:
        self.rates.append([round(group["lr"], 8) for group in self.trainer.optimizers[0].param_groups])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([each for each in self.parameters() if each.requires_grad], lr=0.01, momentum=0.9)


def data() -> DataLoader[Any]:
    x = torch.linspace(-1, 2, 12).reshape(6, 2)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True) * 3), batch_size=3)


def fit(module: Classifier, *callbacks: Callback, epochs: int = 6, **kwargs: Any) -> MiniTrainer:
    trainer = MiniTrainer(callbacks=list(callbacks), max_epochs=epochs)
    trainer.fit(module, data(), **kwargs)
    return trainer


def test_the_backbone_gets_a_rate_of_its_own_which_grows() -> None:
    """It begins with a tenth of the module's, and doubles each epoch."""
    module = Classifier()

    fit(module, BackboneFinetuning(unfreeze_backbone_at_epoch=2))

    assert module.rates == [[0.01], [0.01], [0.01, 0.001], [0.01, 0.002], [0.01, 0.004], [0.01, 0.008]]


def test_the_rate_of_the_backbone_stops_at_the_module_s() -> None:
    """Unless it should not be aligned."""
    aligned, free = Classifier(), Classifier()

    fit(aligned, BackboneFinetuning(unfreeze_backbone_at_epoch=0, lambda_func=lambda epoch: 9.0), epochs=4)
    fit(
        free,
        BackboneFinetuning(
            unfreeze_backbone_at_epoch=0, lambda_func=lambda epoch: 9.0, should_align=False, backbone_initial_lr=0.002
        ),
        epochs=4,
    )

    assert [rates[1] for rates in aligned.rates] == [0.001, 0.009, 0.01, 0.01]
    assert [rates[1] for rates in free.rates] == [0.002, 0.018, 0.162, 1.458]


def test_the_backbone_does_not_change_before_its_epoch() -> None:
    """Batch normalisation, which stays trainable, does; the rest is trained from that epoch on."""
    seen: list[list[float]] = []

    class Look(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            backbone = pl_module.backbone
            seen.append([part.detach().abs().sum().item() for part in (backbone[2][0].weight, backbone[1].weight)])

    module = Classifier()
    before = module.backbone[2][0].weight.abs().sum().item()

    fit(module, BackboneFinetuning(unfreeze_backbone_at_epoch=2), Look(), epochs=4)

    linear, norm = zip(*seen, strict=True)
    assert linear[0] == linear[1] == pytest.approx(before)
    assert len({linear[1], linear[2], linear[3]}) == 3
    assert len(set(norm)) == 4


@pytest.mark.parametrize("epochs", [1, 2, 3, 4], ids=lambda epochs: f"after {epochs}")
def test_a_resumed_run_ends_with_the_same_bits(epochs: int, tmp_path: Path) -> None:
    """What is trainable, the groups and their rates go on, whenever the run was interrupted."""

    class Save(Callback):
        role = "checkpoint"

        def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
            if trainer.current_epoch + 1 == epochs:
                trainer.save_checkpoint(tmp_path / "resume.ckpt")

    whole, resumed = Classifier(), Classifier()

    fit(whole, BackboneFinetuning(unfreeze_backbone_at_epoch=2), Save())
    fit(resumed, BackboneFinetuning(unfreeze_backbone_at_epoch=2), ckpt_path=tmp_path / "resume.ckpt")

    assert {name: value.tolist() for name, value in resumed.state_dict().items()} == {
        name: value.tolist() for name, value in whole.state_dict().items()
    }
    assert resumed.rates == whole.rates[epochs:]
    assert all(parameter.requires_grad for parameter in resumed.parameters())


def test_a_file_that_tells_no_trainability_trains_what_was_added(tmp_path: Path) -> None:
    """Files of another origin hold the groups alone; a parameter that was added had been unfrozen."""
    first = fit(Classifier(), BackboneFinetuning(unfreeze_backbone_at_epoch=1), epochs=2)
    state = first.callbacks[0].state_dict()
    module, callback = Classifier(), BackboneFinetuning(unfreeze_backbone_at_epoch=1)

    callback.setup(first, module, "fit")
    callback.load_state_dict({key: value for key, value in state.items() if key != "trainable"})
    first.optimizers = [module.configure_optimizers()]
    frozen = module.backbone[0].weight.requires_grad
    callback.on_fit_start(first, module)

    assert (frozen, module.backbone[0].weight.requires_grad) == (False, True)
    assert [len(group["params"]) for group in first.optimizers[0].param_groups] == [4, 4]


def test_runs_that_do_not_train_freeze_nothing() -> None:
    """Validation after a fit leaves the module as it is."""

    class Validated(Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

    module = Validated()

    MiniTrainer(callbacks=[BackboneFinetuning()]).validate(module, data())

    assert all(parameter.requires_grad for parameter in module.parameters())


def test_tools_find_freeze_and_unfreeze_nested_modules() -> None:
    """Modules come alone, in lists, in dicts and nested; those with parameters of their own count, too."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.inner = nn.Linear(1, 1)

    own, norm, linear = Own(), nn.BatchNorm1d(1), nn.Linear(1, 1)
    nested = [nn.ModuleDict({"a": own}), [norm, nn.Sequential(linear)]]

    flat = BaseFinetuning.flatten_modules(nested)
    BaseFinetuning.freeze(nested, train_bn=True)
    trainable = list(BaseFinetuning.filter_params(nested))
    without = list(BaseFinetuning.filter_params(nested, train_bn=False))
    BaseFinetuning.freeze(nested, train_bn=False)
    tracking = norm.track_running_stats
    BaseFinetuning.make_trainable(nested)

    assert flat == [own, own.inner, norm, linear]
    assert [id(each) for each in trainable] == [id(norm.weight), id(norm.bias)]
    assert without == []
    assert (tracking, norm.track_running_stats) == (False, True)
    assert len(list(BaseFinetuning.filter_params(nested))) == 7


def test_parameters_are_told_apart_by_identity() -> None:
    """Two layers whose values are the same are not the same parameters."""
    one, other = nn.Linear(2, 1), nn.Linear(2, 1)
    other.load_state_dict(one.state_dict())
    optimizer = torch.optim.SGD(one.parameters(), lr=0.5)

    BaseFinetuning.freeze(one)
    BaseFinetuning.unfreeze_and_add_param_group(other, optimizer)
    with pytest.warns(UserWarning, match="2 of 2 parameters to unfreeze are in a group of the optimizer already"):
        BaseFinetuning.unfreeze_and_add_param_group(one, optimizer)

    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]
    assert optimizer.param_groups[1]["params"] == list(other.parameters())


def test_the_rates_are_said_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """`verbose` says both rates in each epoch, rounded."""
    with caplog.at_level(logging.INFO):
        fit(Classifier(), BackboneFinetuning(unfreeze_backbone_at_epoch=0, verbose=True, rounding=3), epochs=2)

    said = [record.message for record in caplog.records if "Backbone lr" in record.message]
    assert said == ["Current lr: 0.01, Backbone lr: 0.001", "Current lr: 0.01, Backbone lr: 0.002"]


def test_a_module_without_a_backbone_is_told_so() -> None:
    """Before the optimizers are made."""

    class Headless(Classifier):
        def __init__(self) -> None:
            super().__init__()
            del self.backbone

    with pytest.raises(MisconfigurationException, match=r"should have a nn.Module `backbone` attribute"):
        fit(Headless(), BackboneFinetuning())


def test_a_subclass_without_its_two_methods_is_told_what_to_write() -> None:
    """Both are errors that code which expects NotImplementedError catches."""
    with pytest.raises(NotImplementedError, match=r"Write `def freeze_before_training\(self, pl_module\):`"):
        fit(Classifier(), BaseFinetuning())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unfreeze_backbone_at_epoch": -1}, "unfreeze_backbone_at_epoch=-1; expected an epoch"),
        ({"unfreeze_backbone_at_epoch": 1.5}, r"unfreeze_backbone_at_epoch=1.5; expected a whole number"),
        ({"lambda_func": 2.0}, r"lambda_func=2.0; expected a function"),
        ({"backbone_initial_lr": 0}, "backbone_initial_lr=0; expected a number above 0"),
        ({"backbone_initial_ratio_lr": -0.1}, r"backbone_initial_ratio_lr=-0.1; expected a number above 0"),
        ({"initial_denom_lr": "10"}, "initial_denom_lr='10'; expected a number above 0"),
    ],
)
def test_wrong_arguments_are_answered_with_what_to_write(arguments: Any, message: str) -> None:
    """Each is refused when the callback is made."""
    with pytest.raises(MisconfigurationException, match=message) as caught:
        BackboneFinetuning(**arguments)

    assert "Write for example `" in str(caught.value)
