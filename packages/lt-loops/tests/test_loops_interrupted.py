"""A run that was interrupted leaves nothing behind that the next one would count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lt_core import Callback, LightningModule, MisconfigurationException
from lt_loops import SingleDeviceStrategy, Trainer
from lt_loops.accelerators import CPUAccelerator

Make = Callable[..., Trainer]


class Sum(nn.Module):
    """A metric by duck typing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def update(self, value: float) -> None:
        self.total += value

    def compute(self) -> Tensor:
        return torch.tensor(self.total)

    def reset(self) -> None:
        self.total = 0.0


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen = Sum()
        self.value, self.fails_at = 1.0, -1

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.update(self.value)
        self.log("seen", self.seen, on_step=False, on_epoch=True)
        if batch_idx == self.fails_at:
            raise InterruptedError
        return self.layer(batch).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader() -> DataLoader[Any]:
    return DataLoader(torch.ones(4, 1), batch_size=1)  # type: ignore[arg-type]


def test_a_metric_of_an_interrupted_run_begins_anew_in_the_next(quiet: Make) -> None:
    """Its state from before the exception is not counted."""
    module, trainer = Module(), quiet(max_epochs=1)
    module.value, module.fails_at = 100.0, 2
    with pytest.raises(InterruptedError):
        trainer.fit(module, loader())
    module.value, module.fails_at = 1.0, -1

    trainer.fit(module, loader())

    assert trainer.callback_metrics["seen"] == 4


def test_a_checkpoint_at_the_start_of_the_next_fit_knows_nothing_of_the_interrupted_one(
    quiet: Make, tmp_path: Path
) -> None:
    """Going on from it trains the whole epoch."""

    class Saves(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            trainer.save_checkpoint(tmp_path / "start.ckpt")

    first, second, trainer = Module(), Module(), quiet(max_epochs=1, callbacks=[Saves()])
    first.fails_at = 2
    with pytest.raises(InterruptedError):
        trainer.fit(first, loader())
    trainer.fit(second, loader())
    resumed = quiet(max_epochs=1)

    resumed.fit(Module(), loader(), ckpt_path=tmp_path / "start.ckpt")

    assert resumed.global_step == trainer.global_step == 4


def test_equal_options_may_be_written_differently(quiet: Make) -> None:
    """What is left out counts as its default."""

    class Twice(Module):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            self.log("a", 1.0)
            self.log("a", 2.0, on_step=True, on_epoch=False)
            return self.layer(batch).sum()

    trainer = quiet(max_epochs=1)

    trainer.fit(Twice(), loader())

    assert trainer.callback_metrics["a"] == 2


def test_one_key_for_several_loaders_is_refused(quiet: Make) -> None:
    """One loader's value would silently replace the other's."""

    class OneKey(Module):
        def validation_step(self, batch: Tensor, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log("w", 1.0, add_dataloader_idx=False)

    with pytest.raises(MisconfigurationException, match="Expected a key for each loader"):
        quiet().validate(OneKey(), [loader(), loader()])


def test_open_gradients_of_manual_optimisation_survive_a_restart(quiet: Make, tmp_path: Path) -> None:
    """Accumulation by hand over four batches goes on after the second."""

    class Manual(Module):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Tensor, batch_idx: int) -> None:  # type: ignore[override]
            self.manual_backward(self.layer(batch).sum() * (batch_idx + 1))
            if batch_idx == 3:
                self.optimizers().step()

    class Saves(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 1:
                trainer.save_checkpoint(tmp_path / "at.ckpt")

    whole = Manual()
    quiet(max_epochs=1, callbacks=[Saves()]).fit(whole, loader())
    resumed = Manual()

    quiet(max_epochs=1).fit(resumed, loader(), ckpt_path=tmp_path / "at.ckpt")

    assert torch.equal(whole.layer.weight, resumed.layer.weight)


def test_a_file_of_other_origin_with_a_plateau_scheduler_goes_on(quiet: Make, tmp_path: Path) -> None:
    """It holds no value for the scheduler, which waits for the next epoch's."""

    class Plateau(Module):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "seen"}}

    class Saves(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.save_checkpoint(tmp_path / "end.ckpt")

    quiet(max_epochs=1, callbacks=[Saves()]).fit(Plateau(), loader())
    content = torch.load(tmp_path / "end.ckpt", weights_only=True)
    del content["lt"]
    torch.save(content, tmp_path / "end.ckpt")
    trainer = quiet(max_epochs=3)

    trainer.fit(Plateau(), loader(), ckpt_path=tmp_path / "end.ckpt")

    assert (trainer.current_epoch, trainer.global_step) == (3, 12)


def test_an_accelerator_that_contradicts_the_strategy_is_refused(quiet: Make) -> None:
    """And devices that it cannot use, too."""
    with pytest.raises(TypeError, match="nonsense"):
        quiet(strategy=SingleDeviceStrategy("cpu", accelerator=CPUAccelerator()), devices="nonsense")
    with pytest.raises(MisconfigurationException, match="Expected one"):
        quiet(strategy=SingleDeviceStrategy("cpu", accelerator=CPUAccelerator()), devices=4)


def test_the_wrapped_optimizer_is_the_same_at_each_look(quiet: Make) -> None:
    """Reading the learning rate in a step makes no new object."""

    class Looks(Module):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            assert self.optimizers() is self.optimizers()
            return self.layer(batch).sum()

    trainer = quiet(max_epochs=1)

    trainer.fit(Looks(), loader())

    assert trainer.global_step == 4
