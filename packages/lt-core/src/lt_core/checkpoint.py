"""What a checkpoint holds: the key layout that users already have, filled from and given back to a run.

The file itself is written and read by `lt_core.checkpoint_file`; here is what goes into it and in which order the
hooks take part.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from lt_core.errors import CheckpointError
from lt_core.rank_zero import rank_zero_warn

if TYPE_CHECKING:
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol

__all__ = [
    "API_VERSION",
    "dump_callbacks",
    "dump_checkpoint",
    "dump_hyperparameters",
    "restore_callbacks",
    "restore_datamodule",
    "restore_module",
    "restore_optimizers",
]

API_VERSION = "2.6.6"
"""The Lightning version whose file layout is written, so that the files load there too."""


def dump_hyperparameters(owner: Any, checkpoint: dict[str, Any], prefix: str = "") -> None:
    """Store the hyperparameters of a module, or of a data module with the prefix ``datamodule_``."""
    hparams = getattr(owner, "hparams", None)
    if not hparams:
        return
    checkpoint[f"{prefix}hparams_name"] = getattr(owner, "hparams_name", None)
    kind = type(hparams)
    if kind.__module__.startswith("omegaconf"):
        checkpoint[f"{prefix}hyper_parameters"] = hparams
        checkpoint[f"{prefix}hparams_type"] = kind
    else:
        checkpoint[f"{prefix}hyper_parameters"] = dict(hparams)


def dump_callbacks(trainer: TrainerProtocol) -> dict[str, Any]:
    """Return the states of all callbacks that have one, by state key."""
    states = {}
    for callback in trainer.callbacks:
        state = callback.state_dict()
        if state:
            states[callback.state_key] = state
    return states


def dump_checkpoint(
    trainer: TrainerProtocol,
    module: LightningModule,
    *,
    weights_only: bool = False,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a checkpoint of a run, with all hooks called.

    Args:
        trainer: The run.
        module: Its module.
        weights_only: Leave out what only resuming needs: optimizers, schedulers, callbacks.
        extra: Further top-level entries of the trainer, such as its loops' state.

    Returns:
        A dict with the documented keys; tensors are those of the run, not copies.
    """
    checkpoint: dict[str, Any] = {
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "pytorch-lightning_version": API_VERSION,
        "state_dict": trainer.strategy.lightning_module_state_dict(),
    }
    checkpoint.update(extra or {})
    if not weights_only:
        checkpoint["callbacks"] = dump_callbacks(trainer)
        checkpoint["optimizer_states"] = [optimizer.state_dict() for optimizer in trainer.optimizers]
        checkpoint["lr_schedulers"] = [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]
    dump_hyperparameters(module, checkpoint)
    datamodule = trainer.datamodule
    if datamodule is not None:
        dump_hyperparameters(datamodule, checkpoint, prefix="datamodule_")
        state = datamodule.state_dict()
        if state:
            checkpoint[type(datamodule).__qualname__] = state
    if not weights_only:
        for callback in trainer.callbacks:
            callback.on_save_checkpoint(trainer, module, checkpoint)
    module.on_save_checkpoint(checkpoint)
    return checkpoint


def restore_module(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Give a module its hook and its weights.

    Raises:
        CheckpointError: There are no weights, or the keys do not match and ``strict_loading`` is on.
    """
    module.on_load_checkpoint(checkpoint)
    if "state_dict" not in checkpoint:
        raise CheckpointError(f"The checkpoint has the keys {sorted(checkpoint)}. Expected `state_dict` among them.")
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading)


def restore_datamodule(datamodule: Any, checkpoint: dict[str, Any]) -> None:
    """Give a data module its state, if one was stored under its class name."""
    state = checkpoint.get(type(datamodule).__qualname__)
    if state is not None:
        datamodule.load_state_dict(state)


def restore_callbacks(trainer: TrainerProtocol, module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Give callbacks their hook and their states; states without a callback are named in a warning."""
    states = checkpoint.get("callbacks")
    if states is None:
        return
    for callback in trainer.callbacks:
        callback.on_load_checkpoint(trainer, module, checkpoint)
    missing = [key for key in states if key not in {callback.state_key for callback in trainer.callbacks}]
    if missing:
        rank_zero_warn(
            f"The checkpoint holds the states of callbacks that this trainer does not have: {missing}. "
            "Add them to `Trainer(callbacks=[…])` to go on exactly as before."
        )
    for callback in trainer.callbacks:
        state = states.get(callback.state_key)
        if state is not None:
            callback.load_state_dict(copy.deepcopy(state))


def restore_optimizers(trainer: TrainerProtocol, checkpoint: dict[str, Any]) -> None:
    """Give optimizers and schedulers their states.

    Raises:
        CheckpointError: They are missing from the file, or their numbers differ.
    """
    for key, targets in (
        ("optimizer_states", list(trainer.optimizers)),
        ("lr_schedulers", [config.scheduler for config in trainer.lr_scheduler_configs]),
    ):
        if key not in checkpoint:
            raise CheckpointError(
                f"Training cannot go on from this checkpoint: `{key}` is missing, it holds the weights only. Expected "
                "a full "
                "checkpoint: load the weights with `load_from_checkpoint` and fit without `ckpt_path`, or save with "
                "`weights_only=False`."
            )
        states = checkpoint[key]
        if len(states) != len(targets):
            raise CheckpointError(
                f"The checkpoint holds {len(states)} entries of `{key}` and this run has {len(targets)}. Expected the "
                "same "
                "number: let `configure_optimizers` return what it returned when the file was written."
            )
        for target, state in zip(targets, states, strict=True):
            target.load_state_dict(state)
    for optimizer in trainer.optimizers:
        _move_state(optimizer, trainer.strategy.root_device)


def _move_state(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            # A step counter lives on the CPU unless the optimizer wants it elsewhere; load_state_dict has seen to it.
            if isinstance(value, torch.Tensor) and name != "step":
                state[name] = value.to(parameter.device if isinstance(parameter, torch.Tensor) else device)
