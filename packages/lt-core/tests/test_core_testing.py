"""The simple trainer passes the kits, and the kits find what is wrong."""

from __future__ import annotations

import pytest
import torch

from lt_core import Callback, MisconfigurationException
from lt_core.testing import (
    BoringModel,
    Check,
    ConformanceError,
    CountingCallback,
    KitModule,
    ManualOptimBoringModel,
    MiniTrainer,
    RecordingCallback,
    RecordingLogger,
    callback_checks,
    check_callback,
    check_logger,
    check_trainer,
    kit_loader,
    logger_checks,
    trainer_checks,
)


@pytest.mark.parametrize("check", trainer_checks(), ids=str)
def test_the_simple_trainer_conforms(check: Check) -> None:
    """Each behaviour of the trainer kit holds."""
    check(MiniTrainer)


@pytest.mark.parametrize("check", callback_checks(), ids=str)
def test_a_callback_conforms(check: Check) -> None:
    """Each behaviour of the callback kit holds for a callback with state."""
    check(CountingCallback)


@pytest.mark.parametrize("check", logger_checks(), ids=str)
def test_a_logger_conforms(check: Check) -> None:
    """Each behaviour of the logger kit holds."""
    check(lambda save_dir: RecordingLogger())


class Unweighted(MiniTrainer):
    """Weights each batch alike."""

    def batch_to_device(self, batch, dataloader_idx=0):
        batch = super().batch_to_device(batch, dataloader_idx)
        self.sink.batch = None
        return batch


class Deaf(MiniTrainer):
    """Ignores requests to stop."""

    def _may_stop(self) -> bool:
        self.should_stop = False
        return super()._may_stop()


class Forgetful(MiniTrainer):
    """Forgets the counters in a checkpoint."""

    def restore_progress(self, checkpoint) -> None:
        """Do nothing."""


class Silent(MiniTrainer):
    """Never calls `on_after_backward`."""

    def call(self, name, *args, **kwargs):
        return None if name == "on_after_backward" else super().call(name, *args, **kwargs)


class Swallowing(MiniTrainer):
    """Tells nobody about exceptions."""

    def _interrupted(self, error, module) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("trainer", "behaviour"),
    [
        (Unweighted, "epoch_means_are_weighted_by_batch_size"),
        (Deaf, "should_stop_is_honoured"),
        (Forgetful, "a_resumed_run_equals_an_unbroken_one"),
        (Silent, "a_fit_calls_the_hooks_in_the_order_of_the_table"),
        (Swallowing, "an_exception_reaches_callbacks_and_loggers_and_the_caller"),
    ],
)
def test_the_kit_finds_a_trainer_that_is_wrong(trainer: type[MiniTrainer], behaviour: str) -> None:
    """The report names the behaviour that is missing."""
    with pytest.raises(ConformanceError, match=behaviour):
        check_trainer(trainer)


def test_the_kit_finds_a_callback_that_is_wrong() -> None:
    """A misspelled hook, a state that is not taken back, and one that is not safe to read."""

    class Misspelled(Callback):
        def on_train_epoch_ends(self, trainer, pl_module):
            """Never called."""

    class Loses(CountingCallback):
        def load_state_dict(self, state_dict):
            """Do nothing."""

    with pytest.raises(ConformanceError, match="its_hooks_exist"):
        check_callback(Misspelled)
    with pytest.raises(ConformanceError, match="its_state_survives"):
        check_callback(Loses)


def test_the_kit_finds_a_logger_that_is_wrong() -> None:
    """One that cannot go on after `finalize`."""

    class Closing(RecordingLogger):
        def log_metrics(self, metrics, step=None):
            if self.statuses:
                raise ValueError("closed")
            super().log_metrics(metrics, step)

    with pytest.raises(ConformanceError, match="one_after_the_other"):
        check_logger(lambda save_dir: Closing())


def test_the_simple_trainer_returns_values_and_predictions() -> None:
    """One dict per loader from validate and test, one output per batch from predict."""
    trainer, module = MiniTrainer(max_epochs=1), KitModule()
    trainer.fit(module, kit_loader(), kit_loader())

    (row,) = trainer.validate(module, kit_loader())
    tests = trainer.test(module, [kit_loader(), kit_loader(4, 4)])
    predictions = trainer.predict(module, kit_loader())

    assert set(row) == {"val_loss", "val_acc"}
    assert [set(each) for each in tests] == [{"test_loss/dataloader_idx_0"}, {"test_loss/dataloader_idx_1"}]
    assert [len(each) for each in predictions] == [4, 3]


@pytest.mark.parametrize(("interval", "batches"), [(0.5, [2, 4]), (1, [1, 2, 3, 4]), (3, [3]), (1.0, [4])])
def test_the_simple_trainer_validates_when_it_is_due(interval: float, batches: list[int]) -> None:
    """By fraction of an epoch, or by number of batches."""
    recorder = RecordingCallback()
    trainer = MiniTrainer(callbacks=[recorder], val_check_interval=interval)
    trainer.fit(KitModule(), kit_loader(8, 2), kit_loader())

    hooks = [call.hook for call in recorder.calls]
    starts = [index for index, hook in enumerate(hooks) if hook == "on_validation_start"]
    assert [hooks[:index].count("on_train_batch_end") for index in starts] == batches


def test_the_simple_trainer_scales_a_short_last_window_by_its_length() -> None:
    """Three batches in windows of two equal steps on the mean over two and on one."""
    module, by_hand = KitModule(), KitModule()
    MiniTrainer(accumulate_grad_batches=2).fit(module, kit_loader(6, 2), None)

    optimizer = by_hand.configure_optimizers()
    batches = list(kit_loader(6, 2))
    for window in (batches[:2], batches[2:]):
        optimizer.zero_grad()
        for batch in window:
            (by_hand.loss(batch) / len(window)).backward()
        optimizer.step()

    assert torch.equal(module.weight, by_hand.weight)


def test_the_simple_trainer_goes_on_in_the_middle_of_an_epoch(tmp_path) -> None:
    """A checkpoint of any batch continues with the same bits: weights, epoch mean and the loggers' steps."""
    path = tmp_path / "middle.ckpt"

    class Saving(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 6:
                trainer.save_checkpoint(path)

    def fit(ckpt_path=None, **options):
        module, logger = KitModule(), RecordingLogger()
        trainer = MiniTrainer(max_epochs=2, logger=logger, log_every_n_steps=1, **options)
        trainer.fit(module, kit_loader(8, 2), kit_loader(), ckpt_path=ckpt_path)
        return module.weight.detach(), trainer.callback_metrics["loss_epoch"], logger.rows

    weight, mean, rows = fit(callbacks=[Saving()])
    resumed = fit(path)

    assert torch.equal(resumed[0], weight)
    assert torch.equal(resumed[1], mean)
    assert resumed[2] == rows[-len(resumed[2]) :]


def test_fast_dev_run_touches_everything_once_and_writes_nothing(tmp_path) -> None:
    """One batch of each, no rows."""
    recorder, logger = RecordingCallback(), RecordingLogger()
    trainer = MiniTrainer(callbacks=[recorder], logger=logger, fast_dev_run=True, default_root_dir=tmp_path)
    trainer.fit(KitModule(), kit_loader(), kit_loader())

    hooks = [call.hook for call in recorder.calls]
    assert hooks.count("on_train_batch_end") == hooks.count("on_validation_batch_end") == 1
    assert logger.rows == []
    assert list(tmp_path.iterdir()) == []


def test_a_sanity_check_leaves_no_trace() -> None:
    """It runs before training, publishes nothing and leaves the random state alone."""
    recorder, logger = RecordingCallback(), RecordingLogger()
    trainer = MiniTrainer(callbacks=[recorder], logger=logger, num_sanity_val_steps=1, max_epochs=0)
    state = torch.get_rng_state()
    trainer.fit(KitModule(), kit_loader(), kit_loader())

    hooks = [call.hook for call in recorder.calls]
    assert hooks[hooks.index("on_sanity_check_start") :].count("on_validation_batch_end") == 1
    assert trainer.callback_metrics == {}
    assert logger.rows == []
    assert torch.equal(torch.get_rng_state(), state)


def test_schedulers_step_and_manual_models_train() -> None:
    """BoringModel's scheduler cuts its rate each epoch; a manual model counts its own steps."""
    trainer = MiniTrainer(max_epochs=2, limit_train_batches=2, limit_val_batches=1)
    trainer.fit(BoringModel())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.001)

    trainer = MiniTrainer(limit_train_batches=3, limit_val_batches=0)
    trainer.fit(ManualOptimBoringModel())
    assert trainer.global_step == 3


def test_a_plateau_scheduler_without_its_metric_says_what_was_logged() -> None:
    """The message lists the keys."""

    class Plateau(KitModule):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "nothing"}

    with pytest.raises(MisconfigurationException, match=r"'nothing'.*val_loss"):
        MiniTrainer().fit(Plateau(), kit_loader(), kit_loader())
