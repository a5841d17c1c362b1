"""The data of a run: where each stage's loaders come from, which of their batches are used, and how often."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lt_core.combined_loader import CombinedLoader
from lt_core.hooks import HookCall, is_overridden
from lt_core.module import LightningModule
from lt_core.rank_zero import rank_zero_warn
from lt_core.state import RunningStage
from lt_loops.data.agreement import EpochAgreement
from lt_loops.data.batches import EpochBatches
from lt_loops.data.limits import batch_counts, check_log_interval, check_val_batches, limited_count, loader_size
from lt_loops.data.move import resolve_move
from lt_loops.data.prepare import prepare_loaders
from lt_loops.data.samplers import set_epoch
from lt_loops.data.shard import Ranks, Share, shard_loaders
from lt_loops.data.source import DataSource, Prefix, combine

if TYPE_CHECKING:
    from collections.abc import Callable

    from lt_core.log.sink import LogSink
    from lt_loops.trainer import Trainer

__all__ = ["RunData", "StageBatches"]

_PREFIXES: tuple[Prefix, ...] = ("train", "val", "test", "predict")
_PREFIX_OF = {"validation": "val", "test": "test", "predict": "predict"}


@dataclass(frozen=True)
class StageBatches:
    """What one run of an evaluation or prediction reads.

    Attributes:
        loaders: The loaders, read one after another.
        limits: How many batches of each this rank reads at most.
        joined: Whether there is one loader that gives a batch of each of several at a time.
        on_ranks: For each loader, how many batches each rank reads; empty where there is one rank.
        dealt: For each loader, whether its batches were dealt to the ranks here; empty where there is one rank.
    """

    loaders: list[Any]
    limits: list[int | float]
    joined: bool = False
    on_ranks: tuple[tuple[int | float, ...], ...] = ()
    dealt: tuple[bool, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no rank has anything to read."""
        return not any(any(counts) for counts in (self.on_ranks or (self.limits,)))

    def uneven(self, index: int) -> tuple[int | float, ...] | None:
        """Return how many batches of a loader each rank reads, where that differs; None where it does not.

        Args:
            index: The number of the loader.
        """
        counts = self.on_ranks[index] if self.on_ranks else ()
        return counts if len(set(counts)) > 1 else None


class RunData:
    """Keeps the loaders of all stages and what is derived from them.

    Args:
        trainer: Whose limits count, and who shows the loaders and numbers to users.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._sources: dict[str, DataSource] = {}
        self._combined: dict[str, CombinedLoader] = {}
        self._shares: dict[str, list[Share]] = {}
        self._agreement: EpochAgreement | None = None
        self._last_reload = 0
        self._module: LightningModule | None = None
        self._has_validation_step = False

    # -- sources

    def attach(self, module: LightningModule, datamodule: Any, loaders: dict[str, Any]) -> None:
        """Take the data of a run; loaders of an earlier run are dropped.

        Args:
            module: May have loader hooks.
            datamodule: Has loader hooks, or None.
            loaders: Loaders by prefix, None where they come from hooks.
        """
        trainer = self._trainer
        self._module = module
        self._has_validation_step = is_overridden("validation_step", module, LightningModule)
        trainer.datamodule = datamodule
        if datamodule is not None:
            datamodule.trainer = trainer
        for prefix in _PREFIXES:
            self._sources[prefix] = DataSource(prefix, module, loaders=loaders.get(prefix), datamodule=datamodule)
        self._combined.clear()
        self._shares.clear()
        self._agreement = None
        trainer.num_training_batches = float("inf")  # until somebody asks
        trainer.train_dataloader = None
        trainer.val_dataloaders = trainer.test_dataloaders = trainer.predict_dataloaders = None

    def is_defined(self, prefix: str) -> bool:
        """Whether a stage has a source of data."""
        source = self._sources.get(prefix)
        return source is not None and source.is_defined()

    @property
    def validates(self) -> bool:
        """Whether fit validates."""
        return self._has_validation_step and self._trainer.limit_val_batches > 0 and self.is_defined("val")

    # -- training

    def prepare_train(self) -> None:
        """Ask for the training loader and count its batches, if that was not done."""
        trainer = self._trainer
        if "train" in self._combined:
            return
        self._last_reload = trainer.current_epoch
        if trainer.limit_train_batches == 0:
            trainer.num_training_batches = 0
            return
        self._combined["train"] = self._request("train")
        size = self._training_size()
        count = trainer.num_training_batches = limited_count(size, trainer.limit_train_batches, "train")
        trainer.val_check_batch = check_val_batches(
            trainer.val_check_interval,
            count,
            is_sized=size != float("inf"),
            check_val_every_n_epoch=trainer.check_val_every_n_epoch,
            limit_val_batches=trainer.limit_val_batches if self.validates else 0,
        )
        if trainer.loggers and not trainer.fast_dev_run:
            check_log_interval(count, trainer.log_every_n_steps)

    def _training_size(self) -> int | float:
        """Return how many batches an epoch has; the ranks agree on it where their data was not divided here."""
        loader, trainer = self._train_loader(), self._trainer
        self._agreement = None
        if all(share.is_even for share in self._shares.get("train", [])):
            return batch_counts([loader], 1.0, "train")[0]
        may_be_empty = getattr(trainer.datamodule, "allow_zero_length_dataloader_with_multiple_devices", False)
        self._agreement = EpochAgreement(trainer.strategy, may_be_empty=may_be_empty)
        return self._agreement.size(loader_size(loader))

    def _train_loader(self) -> Any:
        """Return the one loader itself, or the combination of several."""
        combined = self._combined["train"]
        if len(combined.flattened) == 1 and combined.iterables is combined.flattened[0]:
            return combined.iterables
        return combined

    def epoch_batches(self) -> EpochBatches:
        """Return the batches of one training epoch."""
        return EpochBatches(
            self._train_loader(), self._trainer.num_training_batches, resumable=True, agreement=self._agreement
        )

    def reload_if_due(self, epoch: int) -> None:
        """Ask for new train and validation loaders where it is time.

        Args:
            epoch: The epoch that begins.
        """
        every = self._trainer.reload_dataloaders_every_n_epochs
        if not every or epoch - self._last_reload < every:
            return
        self._last_reload = epoch
        for prefix in ("train", "val"):
            combined = self._combined.pop(prefix, None)
            if combined is not None:
                combined.reset()
        self._trainer.train_dataloader = self._trainer.val_dataloaders = None
        self.prepare_train()

    def set_epoch(self, epoch: int) -> None:
        """Tell the training samplers which epoch begins."""
        set_epoch(self._combined["train"].flattened, epoch)

    # -- evaluation and prediction

    def prepare_evaluation(self, prefix: str) -> None:
        """Ask for the loaders of ``val``, ``test`` or ``predict`` and count their batches, if that was not done."""
        trainer = self._trainer
        if prefix in self._combined:
            return
        limit = getattr(trainer, f"limit_{prefix}_batches")
        if limit == 0:
            self._combined[prefix] = CombinedLoader([], "sequential")
            self._shares[prefix] = []
            counts: list[int | float] = []
        else:
            combined = self._combined[prefix] = self._request(prefix)
            if self._shares[prefix]:
                counts = [row[trainer.global_rank] for row in self._counts_on_ranks(prefix, limit)]
                self._warn_of_empty(prefix)
            else:
                counts = batch_counts(combined.flattened, limit, prefix)
        setattr(trainer, f"num_{prefix}_batches", counts)
        if prefix == "val":
            trainer.num_sanity_val_batches = [min(trainer.num_sanity_val_steps, count) for count in counts]

    def _counts_on_ranks(self, prefix: str, limit: int | float) -> list[tuple[int | float, ...]]:
        """Return for each loader how many batches each rank reads; empty where there is one rank."""
        return [share.counts(limit, prefix) for share in self._shares[prefix]]

    def _warn_of_empty(self, prefix: str) -> None:
        for index, share in enumerate(self._shares[prefix]):
            if not any(share.on_ranks):
                rank_zero_warn(
                    f"The {prefix} loader number {index} has no batches on any rank: nothing is read of it. Expected"
                    " at least one; check the data set's length, the sampler, and `drop_last` with a batch size that is"
                    " larger than the data set."
                )

    def evaluation(self, stage: RunningStage) -> StageBatches:
        """Return what a run of validation or testing reads."""
        trainer = self._trainer
        prefix = "test" if stage is RunningStage.TESTING else "val"
        self.prepare_evaluation(prefix)
        combined = self._combined[prefix]
        counts: list[int | float] = getattr(trainer, f"num_{prefix}_batches")
        on_ranks = self._counts_on_ranks(prefix, getattr(trainer, f"limit_{prefix}_batches"))
        if stage is RunningStage.SANITY_CHECKING:
            counts = trainer.num_sanity_val_batches
            on_ranks = [tuple(min(trainer.num_sanity_val_steps, count) for count in row) for row in on_ranks]
        set_epoch(combined.flattened, trainer.current_epoch)
        dealt = tuple(share.is_dealt for share in self._shares[prefix])
        if combined.mode != "sequential":
            joint = min if combined.mode == "min_size" else max
            rows = (tuple(joint(column) for column in zip(*on_ranks, strict=True)),) if on_ranks else ()
            return StageBatches([combined], [joint(counts, default=0)], joined=True, on_ranks=rows, dealt=dealt)
        return StageBatches(combined.flattened, counts, on_ranks=tuple(on_ranks), dealt=dealt)

    def prediction(self) -> StageBatches:
        """Return what a run of prediction reads."""
        self.prepare_evaluation("predict")
        return StageBatches(
            self._combined["predict"].flattened,
            self._trainer.num_predict_batches,
            on_ranks=tuple(self._counts_on_ranks("predict", self._trainer.limit_predict_batches)),
            dealt=tuple(share.is_dealt for share in self._shares["predict"]),
        )

    def has_several(self, kind: str) -> bool:
        """Whether the steps of ``validation``, ``test`` or ``predict`` get a ``dataloader_idx``."""
        prefix = _PREFIX_OF[kind]
        self.prepare_evaluation(prefix)
        combined = self._combined[prefix]
        return combined.mode == "sequential" and len(combined.flattened) > 1

    # -- shared

    def _request(self, prefix: Any) -> CombinedLoader:
        """Ask a source for its loaders, make them ready, and show them to users in the form they were given."""
        trainer = self._trainer
        sink = trainer.metrics_board.sink
        given = self._sources[prefix].request(lambda name, hook: HookCall(name, (hook,), sink)())
        combined = combine([] if given is None else given, prefix)
        if combined is given and trainer.world_size > 1:
            combined = copy.copy(combined)  # its members are replaced, and the user may pass it again
        overfit = trainer.overfit_batches > 0 and prefix in ("train", "val")
        reloads = trainer.reload_dataloaders_every_n_epochs > 0
        prepare_loaders(combined, prefix, overfit=overfit, reloads=reloads, rank=trainer.global_rank)
        self._shares[prefix] = self._shard(combined, prefix)
        shown = combined if isinstance(given, CombinedLoader) else combined.iterables
        setattr(trainer, "train_dataloader" if prefix == "train" else f"{prefix}_dataloaders", shown)
        return combined

    def _shard(self, combined: CombinedLoader, prefix: Prefix) -> list[Share]:
        """Deal the samples to the ranks; return who has how much, nothing where there is one rank."""
        trainer = self._trainer
        if trainer.world_size == 1:
            return []
        ranks = Ranks(trainer.world_size, trainer.global_rank, trainer.strategy.gather_objects)
        return shard_loaders(combined, prefix, ranks, inject=trainer.arguments.use_distributed_sampler)

    def mover(self, sink: LogSink) -> Callable[[Any, int], Any] | None:
        """Return what moves a batch to the device, or None when there is nothing to do."""
        trainer = self._trainer
        precision = trainer.strategy.precision_plugin
        move = resolve_move(trainer.lightning_module, trainer.datamodule, trainer.strategy.root_device, sink)
        if not precision.converts_input:
            return move
        if move is None:
            return lambda batch, _: precision.convert_input(batch)
        return lambda batch, index: move(precision.convert_input(batch), index)

    def teardown(self) -> None:
        """Shut down the loaders' workers."""
        for combined in self._combined.values():
            combined.reset()
