"""What a checkpoint holds, who takes part in writing it, and what is said when it does not fit."""

from __future__ import annotations

import pytest
import torch

from lt_core import Callback, CheckpointError, TrainerBase
from lt_core.checkpoint import dump_checkpoint, restore_callbacks, restore_module, restore_optimizers
from lt_core.checkpoint_file import load_checkpoint_file
from lt_core.testing import BoringModel, CountingCallback, KitModule, MiniTrainer, RecordingCallback, kit_loader


def _trained(*callbacks: Callback) -> MiniTrainer:
    trainer = MiniTrainer(callbacks=list(callbacks))
    trainer.fit(KitModule(lr=0.25), kit_loader(), None)
    return trainer


def test_a_full_checkpoint_has_the_documented_keys() -> None:
    """The layout that existing files have."""
    trainer = _trained(CountingCallback())

    checkpoint = dump_checkpoint(trainer, trainer.lightning_module)

    assert {
        "epoch", "global_step", "pytorch-lightning_version", "state_dict", "callbacks", "optimizer_states",
        "lr_schedulers", "hparams_name", "hyper_parameters",
    } == set(checkpoint)  # fmt: skip
    assert checkpoint["epoch"] == 1
    assert checkpoint["global_step"] == 2
    assert checkpoint["callbacks"] == {"CountingCallback": {"batches": 2}}
    assert checkpoint["hyper_parameters"] == {"lr": 0.25}


def test_a_checkpoint_of_weights_leaves_out_what_only_resuming_needs() -> None:
    """Neither callbacks nor optimizers are in it, and callbacks are not asked."""
    recorder = RecordingCallback()
    trainer = _trained(recorder)

    checkpoint = dump_checkpoint(trainer, trainer.lightning_module, weights_only=True, extra={"own": 1})

    assert {"callbacks", "optimizer_states", "lr_schedulers"}.isdisjoint(checkpoint)
    assert checkpoint["own"] == 1
    assert "on_save_checkpoint" not in [call.hook for call in recorder.calls]


def test_the_module_has_the_last_word_on_saving() -> None:
    """Callbacks first, then the module, all in place."""

    class Adding(Callback):
        def on_save_checkpoint(self, trainer, pl_module, checkpoint):
            checkpoint["who"] = "callback"

    class Module(KitModule):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["who"] += ", module"

    trainer = MiniTrainer(callbacks=[Adding()], max_epochs=0)
    trainer.fit(Module(), kit_loader(), None)

    assert dump_checkpoint(trainer, trainer.lightning_module)["who"] == "callback, module"


def test_saving_writes_a_file_that_reads_back(tmp_path) -> None:
    """`save_checkpoint` and the safe reader fit together."""
    trainer = _trained(CountingCallback())
    trainer.save_checkpoint(tmp_path / "a.ckpt")

    checkpoint = load_checkpoint_file(tmp_path / "a.ckpt")

    assert torch.equal(checkpoint["state_dict"]["weight"], trainer.lightning_module.weight.detach())
    assert checkpoint["callbacks"] == {"CountingCallback": {"batches": 2}}
    with pytest.raises(TypeError, match="storage_options"):
        trainer.save_checkpoint(tmp_path / "b.ckpt", storage_options={})


def test_states_of_callbacks_that_are_gone_are_named() -> None:
    """Nothing is dropped in silence."""
    trainer = _trained(CountingCallback())
    checkpoint = dump_checkpoint(trainer, trainer.lightning_module)
    other = MiniTrainer()

    with pytest.warns(UserWarning, match="CountingCallback"):
        restore_callbacks(other, trainer.lightning_module, checkpoint)


def test_restored_states_are_copies() -> None:
    """A callback that changes its state does not change the checkpoint."""
    trainer, callback = _trained(CountingCallback()), CountingCallback()
    checkpoint = dump_checkpoint(trainer, trainer.lightning_module)
    restore_callbacks(MiniTrainer(callbacks=[callback]), trainer.lightning_module, checkpoint)

    callback.loaded["batches"] = 99

    assert checkpoint["callbacks"]["CountingCallback"]["batches"] == 2


def test_weights_must_be_there_and_fit() -> None:
    """Missing weights are named; strict loading may be switched off."""
    with pytest.raises(CheckpointError, match="state_dict"):
        restore_module(KitModule(), {"epoch": 1})
    state = BoringModel().state_dict()
    with pytest.raises(RuntimeError, match="Missing key"):
        restore_module(KitModule(), {"state_dict": state})
    module = KitModule()
    module.strict_loading = False
    restore_module(module, {"state_dict": state})


@pytest.mark.parametrize("key", ["optimizer_states", "lr_schedulers"])
def test_a_checkpoint_that_cannot_be_resumed_says_why(key: str) -> None:
    """A missing entry, or another number of optimizers or schedulers."""
    trainer = _trained()
    checkpoint = dump_checkpoint(trainer, trainer.lightning_module)

    with pytest.raises(CheckpointError, match=f"{key}.*configure_optimizers"):
        restore_optimizers(trainer, {**checkpoint, key: [1, 2, 3]})
    del checkpoint[key]
    with pytest.raises(CheckpointError, match=f"{key}` is missing"):
        restore_optimizers(trainer, checkpoint)


def test_saving_without_a_module_says_what_to_do(tmp_path) -> None:
    """There is nothing to save before the first run."""
    with pytest.raises(AttributeError, match="fit"):
        TrainerBase().save_checkpoint(tmp_path / "a.ckpt")
