"""A trainer without its loop: what a framework author derives from.

`LoopTrainer` turns "write a trainer" into "write a loop": everything that happens before the first batch and after the
last one, one optimisation step with its hooks, everything about logged values, and what an exception means, is here,
once. `lt_core.testing.MiniTrainer` and the example ``own_trainer.py`` are loops on top of it. A trainer that needs
other surroundings derives from `TrainerBase` instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lt_core.errors import MisconfigurationException
from lt_core.hooks.calls import is_overridden
from lt_core.log.reading import read_scalars
from lt_core.module import LightningModule
from lt_core.run_surroundings import RunSurroundings
from lt_core.state import RunningStage

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["LoopTrainer", "step_outputs"]


class LoopTrainer(RunSurroundings):
    """A trainer without its loop: write `run` around yours and report what happens in it.

    Args:
        callbacks: In calling order.
        loggers: Where metrics go.
        default_root_dir: Where files go unless told otherwise; by default the current folder.

    Example:
        >>> import torch
        >>> from lt_core import TrainerFn
        >>> from lt_core.testing import BoringModel
        >>> class Once(LoopTrainer):
        ...     def fit(self, module, batch):
        ...         with self.run(TrainerFn.FITTING, module), self.collecting(RunningStage.TRAINING):
        ...             return self.step("training_step", batch, 0)["loss"].ndim
        >>> Once().fit(BoringModel(), torch.zeros(4, 32))
        0
    """

    @contextmanager
    def collecting(self, stage: RunningStage) -> Iterator[None]:
        """Be in ``stage``: what is logged goes to its book; the stage before comes back afterwards."""
        outer = self.state.stage
        if outer is not None:
            self.metrics_board.publish()
        self.state.stage = stage
        if stage is not RunningStage.PREDICTING:
            self.sink.open(str(stage))
        try:
            yield
        finally:
            self.state.stage = outer
            if outer is None:
                self.sink.close()
            else:
                self.sink.open(str(outer))

    @contextmanager
    def evaluating_module(self, stage: str) -> Iterator[None]:
        """Put the module in evaluation mode; afterwards each submodule is in the mode that it was in.

        Args:
            stage: ``validation``, ``test`` or ``predict``, of the hook ``on_<stage>_model_eval``.
        """
        module = self.lightning_module
        modes = {child: child.training for child in module.modules()}
        getattr(module, f"on_{stage}_model_eval")()
        try:
            yield
        finally:
            restore = f"on_{stage}_model_train"
            if stage != "predict" and is_overridden(restore, module, LightningModule):
                getattr(module, restore)()
            else:
                for child, training in modes.items():
                    child.training = training

    def batch_to_device(self, batch: Any, dataloader_idx: int = 0) -> Any:
        """Bring a batch to the device through the transfer hooks, and let the sink tell its size if needed.

        Args:
            batch: As the loader gave it.
            dataloader_idx: Which loader's.
        """
        owner = self.lightning_module
        batch = owner.on_before_batch_transfer(batch, dataloader_idx)
        batch = owner.transfer_batch_to_device(batch, self.strategy.root_device, dataloader_idx)
        batch = owner.on_after_batch_transfer(batch, dataloader_idx)
        self.sink.batch = batch
        return batch

    # -- optimisation

    def optimize(
        self, batch: Any, batch_idx: int, window: float = 1, *, first: bool = True, last: bool = True
    ) -> dict[str, Any]:
        """Train on one batch with all hooks of automatic optimisation, or just run the step in manual optimisation.

        Args:
            batch: The batch ``[B, …]``.
            batch_idx: Its index in the epoch.
            window: By what the loss is divided: how many batches are accumulated.
            first: Whether the batch opens its window: gradients are set to zero.
            last: Whether it closes its window: the optimizer steps.

        Returns:
            What ``on_train_batch_end`` gets: the detached loss and what else ``training_step`` returned.
        """
        if not self.lightning_module.automatic_optimization:
            return step_outputs(self.step("training_step", batch, batch_idx), needs_loss=False)
        optimizer = self.lightning_optimizers[0] if self.optimizers else None
        outputs: dict[str, Any] = {}

        def closure() -> Tensor | None:
            outputs.clear()
            outputs.update(step_outputs(self.step("training_step", batch, batch_idx), needs_loss=True))
            if outputs.get("loss") is None:
                return None
            loss: Tensor = outputs["loss"] / window
            outputs["loss"] = loss.detach()
            if first and optimizer is not None:
                self.call("on_before_zero_grad", optimizer)
                self.within("optimizer_zero_grad", self.current_epoch, batch_idx, optimizer)
            self.call("on_before_backward", loss)
            self.within("backward", loss)
            self.call("on_after_backward")
            return loss

        if not last or optimizer is None:
            closure()
        else:
            self.within("optimizer_step", self.current_epoch, batch_idx, optimizer, closure)
        return outputs

    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run a backward pass between its two hooks."""
        self.call("on_before_backward", loss)
        self.within("backward", loss, *args, **kwargs)
        self.call("on_after_backward")

    def _step_optimizer(self, optimizer: Optimizer, closure: Any = None, **kwargs: Any) -> Any:
        def closure_and_hooks() -> Any:
            loss = None if closure is None else closure()
            self.call("on_before_optimizer_step", optimizer)
            if self.lightning_module.automatic_optimization:
                self.within(
                    "configure_gradient_clipping",
                    optimizer,
                    gradient_clip_val=self.gradient_clip_val,
                    gradient_clip_algorithm=self.gradient_clip_algorithm,
                )
            return loss

        result = optimizer.step(closure_and_hooks, **kwargs)
        self.global_step += 1
        return result

    # -- what was logged

    def end_epoch(self, hook: str, step: int, num_loaders: int = 1) -> list[dict[str, float]]:
        """End the epoch of the open book: its hook may still log, then its values go to the loggers.

        Args:
            hook: ``on_train_epoch_end``, ``on_validation_epoch_end`` or ``on_test_epoch_end``.
            step: Where on the x-axis the values belong.
            num_loaders: How many loaders were evaluated.

        Returns:
            The values by name, one dict per loader.
        """
        self.sink.batch = None
        self.sink.dataloader_idx = None
        module = self.lightning_module
        self.sink.exchange_epoch(module, hook, overridden=True)
        self.sink.epoch_ended = True
        self.call(hook)
        self.sink.exchange_late(module)
        self.metrics_board.publish()
        rows = self.sink.read_per_loader(num_loaders)
        self.log_row({name: value for row in rows for name, value in row.items()}, step)
        self.sink.reset()
        return rows

    def log_row(self, row: dict[str, float], step: int) -> None:
        """Hand one row to the loggers, with the epoch; a metric named ``step`` takes the place of the step.

        Args:
            row: Values by name; an empty row is dropped.
            step: Where on the x-axis it belongs.
        """
        if not row or not self.loggers or self.sanity_checking:
            return
        row = dict(row)
        if "step" in row:
            step = int(row.pop("step"))
        else:
            row.setdefault("epoch", self.current_epoch)
        for logger in self.loggers:
            logger.log_metrics(dict(row), step)
            logger.save()

    def log_step_row(self, *, at_once: bool = False) -> None:
        """Hand the last step's values to the loggers, every ``log_every_n_steps`` windows or at once."""
        due = self.log_every_n_steps and (self.num_logged_windows + 1) % self.log_every_n_steps == 0
        if due or at_once or self.should_stop or self.fast_dev_run:
            self.log_row(read_scalars(self.metrics_board.publish()), self.num_logged_windows)


def step_outputs(returned: Any, *, needs_loss: bool) -> dict[str, Any]:
    """Bring what ``training_step`` returned into a dict.

    Args:
        returned: The loss ``[]``, a dict with it, or None.
        needs_loss: Whether the trainer goes on to differentiate it; else it is detached.

    Raises:
        MisconfigurationException: It is something else.

    Example:
        >>> step_outputs({"loss": 1.0, "extra": 2}, needs_loss=True)
        {'loss': 1.0, 'extra': 2}
    """
    if returned is None:
        return {}
    if isinstance(returned, Tensor):
        return {"loss": returned if needs_loss else returned.detach()}
    if isinstance(returned, Mapping):
        if needs_loss and "loss" not in returned:
            raise MisconfigurationException(
                f"`training_step` returned a dict with the keys {sorted(returned)}. Expected `loss` among them."
            )
        return dict(returned)
    raise MisconfigurationException(
        f"`training_step` returned {returned!r}. Expected the loss as a tensor, a dict with `loss`, or None."
    )
