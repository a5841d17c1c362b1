"""The hook table: every hook is one row, and nothing about hooks is written down anywhere else.

From these rows come the call lists, the check for misspelled hooks, the signature check, the rule which hook may log
what, and the documentation page with the call order. A test holds the base classes to the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

__all__ = ["HOOKS", "Hook", "LogRule", "Owner", "hook_names"]

Owner = Literal["module", "callback", "datamodule"]


class LogRule(Enum):
    """What ``self.log`` may do inside a hook: the defaults of (on_step, on_epoch) and what is allowed."""

    NEVER = "never"
    STEP = "step"
    BATCH = "batch"
    EPOCH = "epoch"

    @property
    def defaults(self) -> tuple[bool, bool]:
        """The values of ``on_step`` and ``on_epoch`` where the caller gives none."""
        return (True, False) if self is LogRule.STEP else (False, True)


@dataclass(frozen=True)
class Hook:
    """One row of the table.

    Attributes:
        name: The method's name.
        owners: Who may implement it.
        parameters: The arguments that every implementer gets, after ``self``; callbacks get ``trainer`` and
            ``pl_module`` before them.
        when: When it fires, relative to the others.
        optional: How many of the last parameters an implementer may leave out.
        logs: What ``self.log`` may do inside it.
        keywords: Whether the parameters are passed by name.
        returns: What a return value means, empty when it is ignored.
    """

    name: str
    owners: tuple[Owner, ...]
    parameters: tuple[str, ...]
    when: str
    optional: int = 0
    logs: LogRule = LogRule.NEVER
    keywords: bool = False
    returns: str = ""


_M: tuple[Owner, ...] = ("module",)
_C: tuple[Owner, ...] = ("callback",)
_MC: tuple[Owner, ...] = ("module", "callback")
_MD: tuple[Owner, ...] = ("module", "datamodule")
_MCD: tuple[Owner, ...] = ("module", "callback", "datamodule")


def _evaluation_hooks(stage: str, logs: LogRule, epoch_logs: LogRule) -> tuple[Hook, ...]:
    """Make the rows of one evaluation-like loop; ``stage`` is validation, test or predict."""
    batch = ("batch", "batch_idx", "dataloader_idx")
    rows = (
        Hook(f"on_{stage}_model_eval", _M, (), f"before {stage}; puts the model in evaluation mode"),
        Hook(f"on_{stage}_start", _MC, (), f"the {stage} loop begins", logs=epoch_logs),
        Hook(f"on_{stage}_epoch_start", _MC, (), f"after on_{stage}_start", logs=epoch_logs),
        Hook(f"on_{stage}_batch_start", _MC, batch, f"before each {stage} batch", optional=1, logs=logs),
        Hook(
            f"{stage}_step",
            _M,
            batch,
            f"each {stage} batch, after on_{stage}_batch_start",
            optional=2,
            logs=logs,
            returns="the outputs handed to the batch-end hooks",
        ),
        Hook(
            f"on_{stage}_batch_end",
            _MC,
            ("outputs", *batch),
            f"after each {stage} batch",
            optional=1,
            logs=logs,
        ),
        Hook(f"on_{stage}_epoch_end", _MC, (), f"after the last {stage} batch", logs=epoch_logs),
        Hook(f"on_{stage}_end", _MC, (), f"after the metrics of on_{stage}_epoch_end were published"),
    )
    if stage == "predict":
        return rows
    restore = Hook(f"on_{stage}_model_train", _M, (), f"after {stage}, instead of restoring each submodule's mode")
    return (*rows, restore)


HOOKS: dict[str, Hook] = {
    hook.name: hook
    for hook in (
        # -- before anything runs
        Hook("configure_callbacks", _M, (), "first of all, at every entry point", returns="a callback or several"),
        Hook("prepare_data", _MD, (), "before setup, once per node: download, write to disk"),
        Hook("setup", _MCD, ("stage",), "the run begins, on every rank: data module, callbacks, module", keywords=True),
        Hook("configure_model", _M, (), "after setup, under the contexts of precision and strategy; create big layers"),
        Hook("configure_sharded_model", _M, (), "the old name of configure_model"),
        Hook("on_load_checkpoint", _MC, ("checkpoint",), "a checkpoint was read, before states are restored"),
        Hook("configure_optimizers", _M, (), "fit only, after the model is on its device", returns="optimizers"),
        Hook("on_fit_start", _MC, (), "fit begins: the model is on its device, the optimizers exist"),
        # -- data
        *(
            Hook(f"{prefix}_dataloader", _MD, (), f"when the {prefix} loop needs its data", returns="data loaders")
            for prefix in ("train", "val", "test", "predict")
        ),
        Hook("on_before_batch_transfer", _MD, ("batch", "dataloader_idx"), "before a batch moves", returns="the batch"),
        Hook(
            "transfer_batch_to_device",
            _MD,
            ("batch", "device", "dataloader_idx"),
            "moves a batch to the device",
            returns="the batch",
        ),
        Hook("on_after_batch_transfer", _MD, ("batch", "dataloader_idx"), "after a batch moved", returns="the batch"),
        # -- fit
        Hook("on_sanity_check_start", _C, (), "before the validation sanity check"),
        Hook("on_sanity_check_end", _C, (), "after the validation sanity check"),
        Hook("on_train_start", _MC, (), "training begins, after the sanity check", logs=LogRule.EPOCH),
        Hook("on_train_epoch_start", _MC, (), "each training epoch begins", logs=LogRule.EPOCH),
        Hook(
            "on_train_batch_start",
            _MC,
            ("batch", "batch_idx"),
            "before each training batch",
            logs=LogRule.STEP,
            returns="-1 from the module skips the rest of the epoch",
        ),
        Hook(
            "training_step",
            _M,
            ("batch", "batch_idx"),
            "each training batch, inside the optimizer's closure",
            optional=1,
            logs=LogRule.STEP,
            returns="the loss, a dict with `loss`, or None to skip the batch",
        ),
        Hook("on_before_zero_grad", _MC, ("optimizer",), "after the first step of a window", logs=LogRule.STEP),
        Hook(
            "optimizer_zero_grad",
            _M,
            ("epoch", "batch_idx", "optimizer"),
            "after on_before_zero_grad",
            logs=LogRule.STEP,
        ),
        Hook("on_before_backward", _MC, ("loss",), "before the backward pass", logs=LogRule.STEP),
        Hook("backward", _M, ("loss",), "the backward pass", logs=LogRule.STEP),
        Hook("on_after_backward", _MC, (), "after the backward pass", logs=LogRule.STEP),
        Hook(
            "on_before_optimizer_step",
            _MC,
            ("optimizer",),
            "before each optimizer step; gradients are unscaled and not clipped",
            logs=LogRule.STEP,
        ),
        Hook(
            "configure_gradient_clipping",
            _M,
            ("optimizer", "gradient_clip_val", "gradient_clip_algorithm"),
            "after on_before_optimizer_step, automatic optimisation only",
            logs=LogRule.STEP,
            optional=2,
        ),
        Hook(
            "optimizer_step",
            _M,
            ("epoch", "batch_idx", "optimizer", "optimizer_closure"),
            "wraps the closure; each batch that closes an accumulation window",
            logs=LogRule.STEP,
        ),
        Hook("lr_scheduler_step", _M, ("scheduler", "metric"), "when a scheduler is due, automatic optimisation only"),
        Hook(
            "on_train_batch_end",
            _MC,
            ("outputs", "batch", "batch_idx"),
            "after each training batch and its optimizer step",
            logs=LogRule.STEP,
        ),
        Hook("on_validation_model_zero_grad", _M, (), "before validation inside fit, unless a window is open"),
        Hook(
            "on_train_epoch_end",
            _MC,
            (),
            "each training epoch ends: callbacks, module, then the callbacks that monitor metrics",
            logs=LogRule.EPOCH,
        ),
        Hook("on_train_end", _MC, (), "training ends"),
        Hook("on_fit_end", _MC, (), "fit ends; the model has left its device"),
        # -- evaluation and prediction
        *_evaluation_hooks("validation", LogRule.BATCH, LogRule.EPOCH),
        *_evaluation_hooks("test", LogRule.BATCH, LogRule.EPOCH),
        *_evaluation_hooks("predict", LogRule.NEVER, LogRule.NEVER),
        # -- ends
        Hook("on_save_checkpoint", _MC, ("checkpoint",), "a checkpoint is about to be written; the module comes last"),
        Hook("on_exception", ("callback", "datamodule"), ("exception",), "the run was interrupted by an exception"),
        Hook("teardown", _MCD, ("stage",), "the run ends well: data module, callbacks, module", keywords=True),
    )
}


def hook_names(owner: Owner) -> tuple[str, ...]:
    """Return the names of the hooks that ``owner`` may implement, in table order.

    Example:
        >>> "on_sanity_check_start" in hook_names("callback"), "on_sanity_check_start" in hook_names("module")
        (True, False)
    """
    return tuple(name for name, hook in HOOKS.items() if owner in hook.owners)
