"""How a run ends that does not end by itself: stop requests, exceptions, Ctrl-C, SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lt_core import Callback, LightningModule
from lt_core.data_hooks import DataHooks
from lt_core.errors import SIGTERMException
from lt_core.logger import Logger
from lt_loops import Trainer
from lt_loops.strategies import SingleDeviceStrategy

Make = Callable[..., Trainer]


def loader(batches: int = 4) -> DataLoader[Any]:
    return DataLoader(torch.ones(batches, 1))


class Model(LightningModule):
    """Raises or asks to stop in the batch that it is told."""

    def __init__(self, error: BaseException | None = None, *, at: int = 1, where: str = "train") -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.error, self.at, self.where = error, at, where
        self.tore_down = False

    def _raise(self, where: str, batch_idx: int) -> None:
        if self.error is not None and where == self.where and batch_idx == self.at and not self.trainer.sanity_checking:
            raise self.error

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self._raise("train", batch_idx)
        self.log("loss", 1.0, batch_size=1)
        return self.layer(batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self._raise("validation", batch_idx)

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self._raise("test", batch_idx)

    def predict_step(self, batch: Tensor, batch_idx: int) -> None:
        self._raise("predict", batch_idx)
        return batch

    def configure_optimizers(self) -> Any:
        self._raise("configure_optimizers", 1)
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def teardown(self, stage: str) -> None:
        self.tore_down = True


class Notes(Logger):
    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self.notes = notes

    @property
    def name(self) -> str:
        return "notes"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...

    def finalize(self, status: str) -> None:
        self.notes.append(f"logger {status}")


class Data(DataHooks):
    trainer: Any = None

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self.notes = notes

    def train_dataloader(self) -> Any:
        return loader()

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader

    def on_exception(self, exception: BaseException) -> None:
        self.notes.append(f"data {exception}")


class Told(Callback):
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.notes.append(f"callback {exception} {trainer.state.status} {trainer.state.stage}")


class OwnStrategy(SingleDeviceStrategy):
    notes: list[str]

    def on_exception(self, exception: BaseException) -> None:
        self.notes.append(f"strategy {exception}")

    def teardown(self) -> None:
        self.notes.append("strategy teardown")
        super().teardown()


STAGES = {
    "train": "train",
    "validation": "validate",
    "test": "test",
    "predict": "predict",
    "configure_optimizers": "train",
}


@pytest.mark.parametrize("where", list(STAGES))
@pytest.mark.parametrize("error", [ValueError("oh"), KeyboardInterrupt("oh")])
def test_an_exception_is_told_to_everybody_in_order_and_raised_again(
    quiet: Make, where: str, error: BaseException
) -> None:
    """Callbacks, data, strategy, loggers; then the device is freed. The module's own teardown does not run."""
    notes: list[str] = []
    strategy = OwnStrategy("cpu")
    strategy.notes = notes
    trainer = quiet(max_epochs=1, strategy=strategy, callbacks=[Told(notes)], logger=Notes(notes), log_every_n_steps=1)
    model = Model(error, where=where)
    entry = {"validation": trainer.fit, "test": trainer.test, "predict": trainer.predict}.get(where, trainer.fit)

    with pytest.raises(type(error), match="oh"):
        entry(model, datamodule=Data(notes))

    assert notes == [
        f"callback oh interrupted {STAGES[where]}",
        "data oh",
        "strategy oh",
        "logger failed",
        "strategy teardown",
    ]
    assert (trainer.interrupted, trainer.state.status, trainer.state.stage) == (True, "interrupted", None)
    assert not model.tore_down
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.filterwarnings("ignore:.*no validation loader.*:UserWarning")
def test_a_trainer_can_be_used_again_after_an_exception(quiet: Make) -> None:
    """Training goes on with the steps that were taken."""
    model, trainer = Model(ValueError("oh"), at=2), quiet(max_epochs=1)
    with pytest.raises(ValueError, match="oh"):
        trainer.fit(model, loader())
    steps = trainer.global_step

    model.error = None
    trainer.fit(model, loader())

    assert steps == 2
    assert trainer.global_step == 6
    assert (trainer.state.status, trainer.current_epoch) == ("finished", 1)


def test_an_error_before_the_module_is_known_is_raised_as_it_is(quiet: Make) -> None:
    """There is nobody to tell yet."""
    with pytest.raises(TypeError, match="Expected a LightningModule"):
        quiet(callbacks=[Told([])]).fit(nn.Linear(1, 1), loader())


@pytest.mark.filterwarnings("ignore:.*no validation loader.*:UserWarning")
def test_a_callback_that_fails_while_it_is_told_does_not_hide_the_error(quiet: Make) -> None:
    """Both are in the traceback, and the device is freed."""

    class Fails(Callback):
        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            raise KeyError("second")

    before = signal.getsignal(signal.SIGTERM)
    trainer = quiet(max_epochs=1, callbacks=[Fails()])

    with pytest.raises(KeyError, match="second") as caught:
        trainer.fit(Model(ValueError("first")), loader())

    assert "first" in str(caught.value.__context__)
    assert signal.getsignal(signal.SIGTERM) is before
    assert trainer.state.stage is None


@pytest.mark.parametrize(
    "hook", ["on_train_batch_start", "on_train_batch_end", "on_train_epoch_end", "on_validation_end"]
)
@pytest.mark.filterwarnings("ignore:.*no validation loader.*:UserWarning")
def test_a_stop_request_ends_training_soon_wherever_it_is_made(quiet: Make, hook: str) -> None:
    """After the running batch or epoch, with all closing hooks."""
    closing: list[str] = []

    class Stops(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            closing.append("epoch end")

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            closing.append("train end")

    def stop(trainer: Any, *rest: Any, **named: Any) -> None:
        if not trainer.sanity_checking:
            trainer.should_stop = True

    class StopsAt(Callback):
        pass

    setattr(StopsAt, hook, lambda self, trainer, *rest: stop(trainer))
    trainer = quiet(max_epochs=5, callbacks=[StopsAt(), Stops()])

    trainer.fit(Model(), loader(), loader(1))

    assert trainer.global_step == (1 if "batch" in hook else 4)
    assert closing == ["epoch end", "train end"]
    assert trainer.state.status == "finished"


def test_the_next_fit_forgets_a_stop_request(quiet: Make) -> None:
    """`should_stop` is False again when fit begins."""

    class Stops(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            trainer.should_stop = trainer.global_step == 1

    trainer, model = quiet(max_epochs=2, callbacks=[Stops()]), Model()
    trainer.fit(model, loader(), loader(1))

    trainer.fit(model, loader(), loader(1))

    assert trainer.global_step > 1


def test_a_batch_start_of_minus_one_skips_the_rest_of_the_epoch(quiet: Make) -> None:
    """Neither its step nor its end run; the epoch's end does."""
    seen: list[Any] = []

    class Skips(Model):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
            return -1 if batch_idx == 2 else None

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(batch_idx)

        def on_train_epoch_end(self) -> None:
            seen.append("epoch")

    trainer = quiet(max_epochs=2)

    trainer.fit(Skips(), loader(), loader(1))

    assert seen == [0, 1, "epoch", 0, 1, "epoch"]
    assert trainer.global_step == 4


# -- signals


def test_a_termination_signal_leaves_at_the_end_of_the_batch(quiet: Make) -> None:
    """The handler that was there before runs too and is put back."""
    caught: list[int] = []

    class Sends(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            if batch_idx == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().training_step(batch, batch_idx)

    def handler(number: int, frame: Any) -> None:
        caught.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    trainer = quiet(max_epochs=1)
    try:
        with pytest.raises(SIGTERMException) as stopped:
            trainer.fit(Sends(), loader(), loader(1))
        after = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert stopped.value.code == 143
    assert caught == [signal.SIGTERM]
    assert after is handler
    assert (trainer.received_sigterm, trainer.global_step, trainer.interrupted) == (True, 2, True)


def test_the_signal_of_an_earlier_run_does_not_end_the_next(quiet: Make) -> None:
    """A trainer that is used again starts afresh."""
    trainer = quiet(max_epochs=1)
    trainer.received_sigterm = True

    trainer.fit(Model(), loader(), loader(1))

    assert trainer.global_step == 4


SCRIPT = """
import sys, time, pathlib, torch
from lt_core import Callback, LightningModule
from lt_loops import Trainer

torch.set_num_threads(1)
ready = pathlib.Path(sys.argv[1])

class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, batch_idx):
        if batch_idx == 2:
            ready.write_text("x")
        time.sleep(0.01)
        return self.layer(batch).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

class Saves(Callback):
    def on_exception(self, trainer, pl_module, exception):
        trainer.save_checkpoint(ready.with_suffix(".ckpt"))
        print("told", type(exception).__name__, flush=True)

trainer = Trainer(max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                  enable_model_summary=False, default_root_dir=ready.parent, callbacks=[Saves()])
trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(10000, 1)))
"""


def test_a_process_that_is_told_to_end_saves_and_says_how_it_ended(tmp_path: Path) -> None:
    """Callbacks are told of SIGTERM, may save, and the process ends with 143."""
    ready = tmp_path / "ready"
    command = [sys.executable, "-c", SCRIPT, str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not ready.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)

    assert process.returncode == 143, errors
    assert "told SIGTERMException" in output
    assert torch.load(tmp_path / "ready.ckpt", weights_only=True)["global_step"] >= 2


def test_ctrl_c_is_told_and_raised_again(quiet: Make) -> None:
    """The signal of the keyboard arrives within a batch."""
    notes: list[str] = []

    class Interrupted(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            if batch_idx == 1:
                signal.raise_signal(signal.SIGINT)
            return super().training_step(batch, batch_idx)

    trainer = quiet(max_epochs=1, callbacks=[Told(notes)])

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(Interrupted(), loader(), loader(1))

    assert notes == ["callback  interrupted train"]
    assert (trainer.interrupted, trainer.global_step) == (True, 1)
