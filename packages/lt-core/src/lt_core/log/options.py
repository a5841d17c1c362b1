"""How one ``self.log`` call wants its values treated, resolved once per key."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import MisconfigurationException, MisconfigurationValueError, did_you_mean
from lt_core.hooks.table import HOOKS, LogRule

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LogOptions", "RawOptions", "resolve_options"]

RawOptions = tuple[Any, ...]
"""The arguments of ``self.log`` that must not change between calls, in signature order:
prog_bar, logger, on_step, on_epoch, reduce_fx, enable_graph, sync_dist, sync_dist_group, add_dataloader_idx,
metric_attribute, rank_zero_only."""

_REDUCTIONS: dict[Any, str] = {
    "mean": "mean",
    "avg": "mean",
    "sum": "sum",
    "min": "min",
    "max": "max",
    torch.mean: "mean",
    torch.sum: "sum",
    torch.min: "min",
    torch.max: "max",
    min: "min",
    max: "max",
    sum: "sum",
}


@dataclass(frozen=True)
class LogOptions:
    """The resolved options of one logged key.

    Attributes:
        prog_bar: Show in the progress bar.
        logger: Send to the loggers.
        on_step: Publish each step's value.
        on_epoch: Publish the epoch's reduced value.
        reduction: ``mean`` (weighted by batch size), ``sum``, ``min`` or ``max``.
        enable_graph: Keep the autograd graph of the values.
        sync_dist: Combine over ranks.
        sync_dist_group: The process group to combine in, None for all.
        add_dataloader_idx: Append ``/dataloader_idx_N`` when there are several evaluation loaders.
        rank_zero_only: Kept on rank zero only.
    """

    prog_bar: bool
    logger: bool
    on_step: bool
    on_epoch: bool
    reduction: str
    enable_graph: bool
    sync_dist: bool
    sync_dist_group: Any
    add_dataloader_idx: bool
    rank_zero_only: bool

    def to_dict(self) -> dict[str, bool | str]:
        """Return the options in safe types; a process group does not outlive its process and is left out."""
        values = asdict(replace(self, sync_dist_group=None))
        del values["sync_dist_group"]
        return values


def _rule(fx: str | None, name: str) -> LogRule:
    if fx is None:
        raise MisconfigurationException(
            f"`self.log({name!r}, …)` was called while no hook is running. Expected a call from within a hook: "
            "log in a step, in a batch hook, or in an epoch start or end hook."
        )
    hook = HOOKS.get(fx)
    rule = LogRule.NEVER if hook is None else hook.logs
    if rule is LogRule.NEVER:
        raise MisconfigurationException(
            f"You can't `self.log({name!r}, …)` inside `{fx}`. Expected a step, batch or epoch hook: move the call to "
            "`on_train_epoch_end`, `on_validation_epoch_end` or a step, or write to `self.logger` directly."
        )
    return rule


def _reduction(reduce_fx: str | Callable[..., Any], name: str) -> str:
    key = reduce_fx.lower() if isinstance(reduce_fx, str) else reduce_fx
    try:
        return _REDUCTIONS[key]
    except (KeyError, TypeError):
        hint = did_you_mean(key, ("mean", "sum", "min", "max")) if isinstance(key, str) else ""
        raise MisconfigurationException(
            f"`self.log({name!r}, reduce_fx={reduce_fx!r})`: only 'mean', 'sum', 'min' and 'max' can be combined "
            f"exactly over steps.{hint} For anything else log a torchmetrics `Metric`."
        ) from None


def resolve_options(fx: str | None, name: str, raw: RawOptions) -> LogOptions:
    """Fill in the defaults of the hook ``fx`` and check that it may log this way.

    Args:
        fx: The hook that is running, None when none is.
        name: The key, for messages.
        raw: The arguments as they were given.

    Raises:
        MisconfigurationException: The hook may not log, or not on steps, or the reduction is unknown.
    """
    (prog_bar, logger, on_step, on_epoch, reduce_fx, enable_graph, sync, group, add_idx, _, rank_zero) = raw
    rule = _rule(fx, name)
    step_default, epoch_default = rule.defaults
    on_step = step_default if on_step is None else bool(on_step)
    on_epoch = epoch_default if on_epoch is None else bool(on_epoch)
    if rule is LogRule.EPOCH and (on_step or not on_epoch):
        raise MisconfigurationException(
            f"`self.log({name!r}, on_step={on_step}, on_epoch={on_epoch})` inside `{fx}`: this hook runs once an epoch "
            "and can only log with on_step=False, on_epoch=True. Leave both arguments out."
        )
    if not on_step and not on_epoch:
        raise MisconfigurationException(
            f"`self.log({name!r}, on_step=False, on_epoch=False)` would log nothing. Set one of them to True."
        )
    if add_idx and "/dataloader_idx_" in name:
        raise MisconfigurationValueError(
            f"`self.log({name!r}, …)`: the key already holds `/dataloader_idx_`, which is appended for you. "
            "Leave it out of the key, or pass add_dataloader_idx=False."
        )
    return LogOptions(
        prog_bar=bool(prog_bar),
        logger=True if logger is None else bool(logger),
        on_step=on_step,
        on_epoch=on_epoch,
        reduction=_reduction(reduce_fx, name),
        enable_graph=bool(enable_graph),
        sync_dist=bool(sync),
        sync_dist_group=group,
        add_dataloader_idx=bool(add_idx),
        rank_zero_only=bool(rank_zero),
    )
