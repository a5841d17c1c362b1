"""What every progress bar knows: the totals of each stage and the metrics to show.

Derive from this class for a display of your own; `lt_callbacks.progress.phased_bar` adds what bars in a terminal have
in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from lt_callbacks.validation_schedule import validation_is_due_in_epoch
from lt_core.callback import Callback
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["ProgressBar", "get_standard_metrics"]

_LONGEST_VERSION = 4


class ProgressBar(Callback):
    r"""Base class of progress bars.

    A subclass shows what it wants in the hooks of its choice and says how it is switched off and on.

    Example:
        >>> class Percent(ProgressBar):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.enabled = True
        ...     def disable(self):
        ...         self.enabled = False
        ...     def enable(self):
        ...         self.enabled = True
        ...     def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        ...         if self.enabled:
        ...             print(f"{100 * (batch_idx + 1) / self.total_train_batches:.0f} %", end="\r")
        >>> Percent().train_description
        'Training'
    """

    role: ClassVar[str | None] = "progress_bar"

    def __init__(self) -> None:
        super().__init__()
        self._trainer: Trainer | None = None
        self._current_eval_dataloader_idx: int | None = None
        self._clashes_reported: set[str] = set()

    @property
    def trainer(self) -> Trainer:
        """The trainer whose progress is shown; known from `setup` on."""
        if self._trainer is None:
            raise TypeError(
                f"`{type(self).__name__}.trainer` was read before a run; expected it from `setup` on. Read it inside a"
                " hook."
            )
        return self._trainer

    @property
    def sanity_check_description(self) -> str:
        """What the sanity check is called."""
        return "Sanity Checking"

    @property
    def train_description(self) -> str:
        """What training is called."""
        return "Training"

    @property
    def validation_description(self) -> str:
        """What validation is called."""
        return "Validation"

    @property
    def test_description(self) -> str:
        """What the test is called."""
        return "Testing"

    @property
    def predict_description(self) -> str:
        """What prediction is called."""
        return "Predicting"

    @property
    def total_train_batches(self) -> int | float:
        """The batches of the running epoch, fewer if `max_steps` ends it; ``inf`` when that is not known.

        Read it at the start of an epoch: the steps that remain count from now.
        """
        return self._total_train_batches(batches_done=0)

    @property
    def total_val_batches_current_dataloader(self) -> int | float:
        """The batches of the validation loader at work; ``inf`` when that is not known."""
        trainer = self.trainer
        return self._of_current_loader(
            trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
        )

    @property
    def total_test_batches_current_dataloader(self) -> int | float:
        """The batches of the test loader at work; ``inf`` when that is not known."""
        return self._of_current_loader(self.trainer.num_test_batches)

    @property
    def total_predict_batches_current_dataloader(self) -> int | float:
        """The batches of the prediction loader at work; ``inf`` when that is not known."""
        return self._of_current_loader(self.trainer.num_predict_batches)

    @property
    def total_val_batches(self) -> int | float:
        """The batches of all validation loaders; 0 in an epoch without validation."""
        if not self.trainer.enable_validation or not validation_is_due_in_epoch(self.trainer):
            return 0
        return sum(self.trainer.num_val_batches)

    def has_dataloader_changed(self, dataloader_idx: int) -> bool:
        """Tell whether another loader than before is at work, and remember it."""
        changed = self._current_eval_dataloader_idx != dataloader_idx
        self._current_eval_dataloader_idx = dataloader_idx
        return changed

    def reset_dataloader_idx_tracker(self) -> None:
        """Forget which loader is at work."""
        self._current_eval_dataloader_idx = None

    def disable(self) -> None:
        """Stop showing anything. Called on all processes but the first."""
        raise NotImplementedError

    def enable(self) -> None:
        """Show again."""
        raise NotImplementedError

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print without breaking the display; takes what the built-in ``print`` takes."""
        print(*args, **kwargs)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remember the trainer; only the first process shows anything."""
        self._trainer = trainer
        if not trainer.is_global_zero:
            self.disable()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands next to the bar: the run's version and the metrics logged with ``prog_bar=True``.

        Override it to show other items.

        Returns:
            The items by name.
        """
        standard = get_standard_metrics(trainer)
        logged = trainer.progress_bar_metrics
        for name in standard.keys() & logged.keys():
            if name not in self._clashes_reported:
                self._clashes_reported.add(name)
                rank_zero_warn(
                    f"The progress bar shows the run's version as {name!r}, and a metric of that name was logged; the"
                    " metric is shown. Give the metric another name, or override `get_metrics` of the progress bar."
                )
        return {**standard, **logged}

    def _of_current_loader(self, batches: list[int | float] | int | float) -> int | float:
        if not isinstance(batches, list):
            return batches
        return batches[self._current_eval_dataloader_idx or 0]

    def _total_train_batches(self, batches_done: int) -> int | float:
        """Return the epoch's batches, given how many of them the step counter has seen."""
        trainer = self.trainer
        batches: int | float = trainer.num_training_batches
        if trainer.max_steps is None or trainer.max_steps < 0:
            return batches
        steps_left = max(trainer.max_steps - trainer.global_step, 0)
        window = trainer.accumulate_grad_batches
        return min(batches, batches_done - batches_done % window + steps_left * window)


def get_standard_metrics(trainer: Trainer) -> dict[str, int | str]:
    """Return what a bar shows besides logged metrics: ``v_num``, the version of the first logger that has one.

    Long versions are shown by their last four characters.

    Args:
        trainer: The trainer whose loggers are asked.
    """
    versions = [logger.version for logger in trainer.loggers]
    version = versions[0] if len(versions) == 1 else "_".join(dict.fromkeys(str(each) for each in versions))
    if version in ("", None):
        return {}
    return {"v_num": version[-_LONGEST_VERSION:] if isinstance(version, str) else version}
