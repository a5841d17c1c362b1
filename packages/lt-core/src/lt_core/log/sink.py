"""The log sink: what ``self.log`` writes to and what progress bars, loggers and callbacks read from.

Writing finds the key's slot and copies one scalar; reading reduces in bulk. The sink keeps one book per stage, because
validation runs in the middle of a training epoch without disturbing what that epoch has logged so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lt_core.errors import MisconfigurationException
from lt_core.log.batch_size import batch_size_of
from lt_core.log.exchange import Exchange, Key
from lt_core.log.metric_slot import MetricSlot, find_metric_attribute, is_metric
from lt_core.log.options import LogOptions, RawOptions, resolve_options
from lt_core.log.rank_values import RankValues
from lt_core.log.reading import read_scalars
from lt_core.log.slot import Slot
from lt_core.rank_zero import WarningCache

__all__ = ["Exchange", "LogSink", "Metrics"]

AnySlot = Slot | MetricSlot

_warnings = WarningCache()


class Metrics:
    """What can be read at one moment, by destination.

    Attributes:
        callback: For callbacks: the plain and the ``_step`` / ``_epoch`` names, scalar tensors.
        logger: For loggers.
        progress_bar: For the progress bar.
    """

    __slots__ = ("callback", "logger", "progress_bar")

    def __init__(self) -> None:
        self.callback: dict[str, Tensor] = {}
        self.logger: dict[str, Tensor] = {}
        self.progress_bar: dict[str, Tensor] = {}


class LogSink:
    """Keeps what is logged, per stage.

    Attributes:
        fx: The hook that is running; hook calls keep it up to date.
        batch: The batch that is being worked on, by which values are weighted if need be; None between batches.
        dataloader_idx: The running evaluation loader, None when there is only one.
        device: Where logged numbers become tensors.
        exchange: Talks to the other ranks, None on a single process.
        logs_steps: Whether the open book holds a key whose step values go to the loggers.
        epoch_ended: Whether readers get the epoch's values rather than the last step's.

    Example:
        >>> sink = LogSink()
        >>> sink.open("train")
        >>> sink.fx = "training_step"
        >>> options = (False, None, None, None, "mean", False, False, None, True, None, False)
        >>> sink.log(torch.nn.Identity(), "loss", 0.5, options, None, None)
        >>> sink.read().callback
        {'loss': tensor(0.5000)}
    """

    __slots__ = (
        "_books",
        "_end_hook",
        "_ranks",
        "_sized",
        "_slots",
        "_training",
        "batch",
        "dataloader_idx",
        "device",
        "epoch_ended",
        "exchange",
        "fx",
        "has_loggers",
        "logs_steps",
        "stage",
    )

    def __init__(self, device: torch.device | None = None, *, has_loggers: bool = True) -> None:
        self.fx: str | None = None
        self.batch: Any = None
        self.dataloader_idx: int | None = None
        self.device = device or torch.device("cpu")
        self.exchange: Exchange | None = None
        self.epoch_ended = False
        self.logs_steps = False
        self.has_loggers = has_loggers
        self.stage: str | None = None
        self._books: dict[str, dict[Key, AnySlot]] = {}
        self._slots: dict[Key, AnySlot] | None = None
        self._training = False
        self._sized: tuple[Any, int] | None = None
        self._ranks: dict[str, RankValues] = {}
        self._end_hook = ""

    # -- stages

    def open(self, stage: str) -> None:
        """Turn to the book of ``stage``: ``train``, ``sanity_check``, ``validate`` or ``test``.

        The book keeps what it held; `reset` empties it.
        """
        self.stage = stage
        self._slots = self._books.setdefault(stage, {})
        self._training = stage == "train"
        self.logs_steps = any(slot.options.on_step and slot.options.logger for slot in self._slots.values())
        self.epoch_ended = False
        self.dataloader_idx = None
        self.batch = None

    def close(self) -> None:
        """Turn to no book: logging is a mistake until the next `open`."""
        self.stage = None
        self._slots = None
        self.batch = None
        self._sized = None

    def reset(self) -> None:
        """Empty the open book for the next epoch, metric objects included."""
        if self._slots is None:
            return
        for slot in self._slots.values():
            slot.reset()
        if self._ranks:
            self._values.begin_epoch()
        self.epoch_ended = False

    def clear(self) -> None:
        """Forget all books, as at the beginning of a run: nothing of another module's keys remains."""
        for book in self._books.values():
            for slot in book.values():
                slot.reset()  # an interrupted run may have left values in metric objects
        self._books.clear()
        self._ranks.clear()
        self.close()

    # -- writing

    def log(
        self,
        module: nn.Module,
        name: str,
        value: Any,
        raw: RawOptions,
        batch_size: int | None,
        metric_attribute: str | None,
    ) -> None:
        """Keep one value under the running hook's key ``name``; see `LightningModule.log`."""
        slots = self._slots
        slot = None if slots is None else slots.get((name, self.fx, self.dataloader_idx))
        if slot is None or slot.raw != raw:
            slot = self._open_slot(slot, module, name, value, raw, metric_attribute)
        if not slot.weighted:
            slot.add(value, 1)
        elif batch_size is not None:
            slot.add(value, batch_size)
        else:
            slot.add(value, 1 if self.batch is None else self._batch_size(name))

    def _batch_size(self, name: str) -> int:
        sized = self._sized
        if sized is None or sized[0] is not self.batch:
            sized = self._sized = (self.batch, batch_size_of(self.batch, name))
        return sized[1]

    def _open_slot(
        self,
        slot: AnySlot | None,
        module: nn.Module,
        name: str,
        value: Any,
        raw: RawOptions,
        metric_attribute: str | None,
    ) -> AnySlot:
        if not isinstance(name, str):
            raise MisconfigurationException(
                f"`self.log({name!r}, …)`: the key is a {type(name).__name__}. Expected a string."
            )
        options = resolve_options(self.fx, name, raw)
        if (
            slot is not None
            and (slot.raw is None or slot.raw[9] == raw[9])
            and slot.options.to_dict() == options.to_dict()
        ):
            slot.raw, slot.options = raw, options  # written differently, or restored from a checkpoint: the same
            return slot
        if slot is not None:
            raise MisconfigurationException(
                f"`self.log({name!r}, …)` was called twice in `{self.fx}` with different arguments. Expected the same "
                "options at every call: use one set of options, or another key."
            )
        if self._slots is None:
            raise MisconfigurationException(
                f"`self.log({name!r}, …)` was called in `{self.fx}` while nothing is collected. Expected a call during "
                "training, validation or testing: metrics cannot be logged while predicting."
            )
        if raw[1] is True and not self.has_loggers:
            _warnings.warn(
                f"`self.log({name!r}, logger=True)`: this trainer has no logger, so the value goes nowhere. "
                "Configure one with `Trainer(logger=…)`."
            )
        if is_metric(value):
            attribute = find_metric_attribute(module, value, name, metric_attribute)
            self._check_unshared(name, attribute, value)
            slot = MetricSlot(name, options, raw, self.dataloader_idx, value, attribute)
        else:
            slot = Slot(name, options, raw, self.dataloader_idx)
        if not options.add_dataloader_idx:
            self._check_own_name(name)
        self._slots[(name, self.fx, self.dataloader_idx)] = slot
        self.logs_steps = self.logs_steps or (options.on_step and options.logger)
        return slot

    def _check_own_name(self, name: str) -> None:
        for other, fx, index in self._slots or {}:
            if (other, fx) == (name, self.fx) and index != self.dataloader_idx:
                raise MisconfigurationException(
                    f"`self.log({name!r}, add_dataloader_idx=False)` is called for the loaders {index} and "
                    f"{self.dataloader_idx}, and one value would replace the other. Expected a key for each loader: "
                    "leave `add_dataloader_idx` out, or put the loader's name into the key."
                )

    def _check_unshared(self, name: str, attribute: str, metric: Any) -> None:
        for other in (self._slots or {}).values():
            same = isinstance(other, MetricSlot) and other.metric is metric and other.name == name
            if same and other.dataloader_idx != self.dataloader_idx:
                raise MisconfigurationException(
                    f"`self.log({name!r}, …)` logs the one metric `{attribute}` for the loaders "
                    f"{other.dataloader_idx} and {self.dataloader_idx}. Expected one metric object per loader: their "
                    "values would be mixed."
                )

    # -- reading

    def _fill(self, slot: AnySlot, value: Tensor, metrics: Metrics, *, step: bool) -> None:
        options = slot.options
        suffix = ""
        if slot.dataloader_idx is not None and options.add_dataloader_idx:
            suffix = f"/dataloader_idx_{slot.dataloader_idx}"
        plain = slot.name + suffix
        forked = plain
        if options.on_step and options.on_epoch:
            forked = f"{slot.name}_{'step' if step else 'epoch'}{suffix}"
        if options.logger:
            metrics.logger[forked] = value
        if options.prog_bar:
            metrics.progress_bar[forked] = value
        if self._training or not step:
            metrics.callback[plain] = value
            metrics.callback[forked] = value

    def _steps(self, only: int | None) -> Iterator[tuple[AnySlot, Tensor]]:
        shared = self._values.step if self._ranks else {}
        for key, slot in (self._slots or {}).items():
            if slot.options.on_step and (only is None or slot.dataloader_idx in (None, only)):
                value = shared.get(key)
                if value is None:
                    value = slot.last(self.device)
                if value is not None:
                    yield slot, value if slot.options.enable_graph else value.clone()

    def _own_epoch(self, slot: AnySlot) -> Tensor | None:
        if isinstance(slot, Slot):
            return slot.epoch(slot.totals(self.device))
        # With several ranks this would be a collective, which is left to the exchange.
        return slot.epoch_value() if self.exchange is None else None

    def _epochs(self) -> Iterator[tuple[AnySlot, Tensor]]:
        exchanged = self._values.epoch if self._ranks else {}
        for key, slot in (self._slots or {}).items():
            if not slot.options.on_epoch:
                continue
            value = exchanged.get(key)
            if value is None:
                value = self._own_epoch(slot)
            if value is not None:
                yield slot, value

    def read(self, dataloader_idx: int | None = None) -> Metrics:
        """Return what the open book holds now: step values during an epoch, epoch values once it has ended.

        Args:
            dataloader_idx: With step values, keep those of this evaluation loader only.
        """
        metrics = Metrics()
        step = not self.epoch_ended
        with torch.inference_mode(mode=False):
            for slot, value in self._steps(dataloader_idx) if step else self._epochs():
                self._fill(slot, value, metrics, step=step)
        return metrics

    def read_per_loader(self, num_loaders: int) -> list[dict[str, float]]:
        """Return the epoch's logger values, one dict per evaluation loader; keys of no loader stand in every dict."""
        rows: list[Metrics] = [Metrics() for _ in range(num_loaders)]
        for slot, value in self._epochs():
            for index in range(num_loaders):
                if slot.dataloader_idx in (None, index):
                    self._fill(slot, value, rows[index], step=False)
        return [read_scalars(row.logger) for row in rows]

    @property
    def keys(self) -> set[str]:
        """All keys that were logged in the open book."""
        return {name for name, _, _ in self._slots or {}}

    def metric_attributes(self, stage: str) -> set[str]:
        """Return the names of the metric objects that were logged in the book of ``stage``."""
        return {slot.attribute for slot in self._books.get(stage, {}).values() if isinstance(slot, MetricSlot)}

    # -- several ranks

    @property
    def _values(self) -> RankValues:
        """What the ranks know together of the open book."""
        return self._ranks.setdefault(self.stage or "", RankValues())

    def exchange_epoch(
        self, module: nn.Module, end_hook: str, *, overridden: bool = False, interrupted: bool = False
    ) -> bool:
        """Combine the values of the epoch, whose steps have ended, over ranks; every rank calls it.

        Args:
            module: Where metric objects are found by their names.
            end_hook: The hook that ends the epoch; what is logged in it is left to `exchange_late`.
            overridden: Whether anybody of this rank may log in that hook.
            interrupted: Whether this rank was told to end.

        Returns:
            Whether any rank was told to end. On a single process ``interrupted``, and nothing is done.
        """
        if self.exchange is None or self._slots is None:
            return interrupted
        values, self._end_hook = self._values, end_hook
        ended, values.late, values.wants_steps = values.exchange_epoch(
            self.exchange,
            "epoch",
            self._slots,
            module,
            self.device,
            lambda key: key[1] != end_hook,
            (interrupted, overridden),
        )
        return ended

    def exchange_late(self, module: nn.Module) -> None:
        """Combine what was logged in the hook that ends the epoch, if any rank may log there; every rank calls it."""
        if self._ranks and self._values.late:
            self._values.late = False
            self.exchange_hook(module, self._end_hook)

    def exchange_hook(self, module: nn.Module, hook: str) -> None:
        """Combine what was logged in one hook over ranks; every rank calls it."""
        if self.exchange is not None and self._slots is not None:
            self._values.exchange_epoch(
                self.exchange, hook, self._slots, module, self.device, lambda key: key[1] == hook
            )

    def read_shared(self, module: nn.Module) -> Metrics:
        """Return what `read` does, with the step values of keys with ``sync_dist=True`` combined over ranks.

        With several ranks every rank calls it.
        """
        if self.exchange is None or self._slots is None:
            return self.read()
        values = self._values
        values.exchange_steps(self.exchange, "steps", self._slots, module, self.device)
        metrics = self.read()
        values.step.clear()
        return metrics

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """Return the values of all books in safe types, so that an interrupted epoch can go on."""
        return {stage: [_entry(key, slot) for key, slot in book.items()] for stage, book in self._books.items() if book}

    def load_state_dict(self, state: dict[str, Any], module: nn.Module) -> None:
        """Take back what `state_dict` returned; logged metric objects are found in ``module`` by their names."""
        children = dict(module.named_modules())
        self._books.clear()
        self._ranks.clear()
        if self.stage is not None:
            self._slots = self._books.setdefault(self.stage, {})
        for stage, entries in state.items():
            book = self._books.setdefault(stage, {})
            for entry in entries:
                name, index = entry["name"], entry["dataloader_idx"]
                options = LogOptions(sync_dist_group=None, **entry["options"])
                slot: AnySlot
                if "attribute" not in entry:
                    slot = Slot(name, options, None, index)
                elif entry["attribute"] in children:
                    metric = children[entry["attribute"]]
                    slot = MetricSlot(name, options, None, index, metric, entry["attribute"])
                else:
                    continue
                slot.load_state_dict(entry, self.device)
                book[(name, entry["fx"], index)] = slot


def _entry(key: Key, slot: AnySlot) -> dict[str, Any]:
    name, fx, index = key
    return {"name": name, "fx": fx, "dataloader_idx": index, "options": slot.options.to_dict(), **slot.state_dict()}
