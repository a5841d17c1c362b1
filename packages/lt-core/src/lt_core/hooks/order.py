"""The call order of the four entry points, as data: for the documentation page and the conformance kit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CALL_ORDER", "Block", "Order", "flatten"]


@dataclass(frozen=True)
class Block:
    """A part of the order that runs several times, or only sometimes.

    Attributes:
        kind: ``epoch``, ``train_batch``, ``eval_batch``, ``sanity``, ``validation`` or ``resume``.
        title: When it runs, in words.
        body: What runs.
    """

    kind: str
    title: str
    body: Order


Order = tuple["str | Block", ...]

_TRANSFER: Order = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


def _evaluation(stage: str) -> Order:
    batch = (*_TRANSFER, f"on_{stage}_batch_start", f"{stage}_step", f"on_{stage}_batch_end")
    restore = () if stage == "predict" else (f"on_{stage}_model_train",)
    return (
        f"on_{stage}_model_eval",
        f"on_{stage}_start",
        f"on_{stage}_epoch_start",
        Block("eval_batch", "each batch of each loader", batch),
        f"on_{stage}_epoch_end",
        f"on_{stage}_end",
        *restore,
    )


_RESUME = Block("resume", "only with `ckpt_path`", ("on_load_checkpoint",))
_BEGIN: Order = ("configure_callbacks", "prepare_data", "setup", "configure_model", _RESUME)

_TRAIN_BATCH: Order = (
    *_TRANSFER,
    "on_train_batch_start",
    "optimizer_step",
    "training_step",
    "on_before_zero_grad",
    "optimizer_zero_grad",
    "on_before_backward",
    "backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "configure_gradient_clipping",
    Block("scheduler", "only when a scheduler is due", ("lr_scheduler_step",)),
    "on_train_batch_end",
    Block(
        "validation",
        "only when validation is due, by default after the last batch",
        ("on_validation_model_zero_grad", *_evaluation("validation")),
    ),
)

CALL_ORDER: dict[str, Order] = {
    "fit": (
        *_BEGIN,
        "configure_optimizers",
        "on_fit_start",
        Block(
            "sanity",
            "the sanity check, before training",
            ("val_dataloader", "on_sanity_check_start", *_evaluation("validation"), "on_sanity_check_end"),
        ),
        "train_dataloader",
        "on_train_start",
        Block(
            "epoch",
            "each epoch",
            ("on_train_epoch_start", Block("train_batch", "each batch", _TRAIN_BATCH), "on_train_epoch_end"),
        ),
        "on_train_end",
        "on_fit_end",
        "teardown",
    ),
    "validate": (*_BEGIN, "val_dataloader", *_evaluation("validation"), "teardown"),
    "test": (*_BEGIN, "test_dataloader", *_evaluation("test"), "teardown"),
    "predict": (*_BEGIN, "predict_dataloader", *_evaluation("predict"), "teardown"),
}
"""For each entry point, its hooks in the order in which they are called."""


def flatten(order: Order, *, epochs: int = 1, train_batches: int = 1, eval_batches: int = 1) -> Iterator[str]:
    """Yield the hooks of a run without sanity check, schedulers and checkpoint, validating at the end of each epoch.

    Args:
        order: An entry of `CALL_ORDER`.
        epochs: How many training epochs.
        train_batches: Batches per training epoch.
        eval_batches: Batches per evaluation, 0 for no validation within fit.

    Example:
        >>> hooks = list(flatten(CALL_ORDER["fit"], epochs=2, train_batches=3))
        >>> hooks.count("training_step"), hooks.count("validation_step"), hooks[0]
        (6, 2, 'configure_callbacks')
    """
    times = {"epoch": epochs, "train_batch": train_batches, "eval_batch": eval_batches}
    for entry in order:
        if isinstance(entry, str):
            yield entry
            continue
        for number in range(times.get(entry.kind, 0)):
            last = number == train_batches - 1
            for part in entry.body:
                if isinstance(part, Block) and part.kind == "validation":
                    if last and eval_batches:
                        yield from flatten(part.body, eval_batches=eval_batches)
                else:
                    yield from flatten((part,), epochs=epochs, train_batches=train_batches, eval_batches=eval_batches)
