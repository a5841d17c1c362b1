"""The conformance kit for callbacks: what every trainer and every checkpoint may expect of one.

Use it in a test of your callback::

    @pytest.mark.parametrize("check", callback_checks(), ids=str)
    def test_my_callback_conforms(check):
        check(lambda: MyCallback(monitor="val_loss"))

The runs log ``loss`` (training), ``val_loss``, ``val_acc`` (validation) and ``test_loss``.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lt_core.callback import Callback
from lt_core.checkpoint_file import load_checkpoint_file, save_checkpoint_file
from lt_core.hooks.check import check_hooks
from lt_core.testing.check import Check, Registry, require, run_checks
from lt_core.testing.kit_parts import KitModule, StopAt, kit_loader
from lt_core.testing.mini_trainer import MiniTrainer

__all__ = ["MakeCallback", "callback_checks", "check_callback"]

MakeCallback = Callable[[], Callback]
"""Makes a fresh callback, each time with the same arguments."""

_CHECKS = Registry()


def callback_checks() -> list[Check]:
    """Return all checks for callbacks, to parametrise a test with."""
    return list(_CHECKS)


def check_callback(make_callback: MakeCallback) -> None:
    """Run all checks on a callback.

    Args:
        make_callback: Makes a fresh one.

    Raises:
        ConformanceError: Lists the behaviours that are missing.

    Example:
        >>> from lt_core.testing import CountingCallback
        >>> check_callback(CountingCallback)
    """
    run_checks(_CHECKS, make_callback)


def _fit(folder: str, *callbacks: Callback, epochs: int = 1, **options: Any) -> MiniTrainer:
    trainer = MiniTrainer(
        callbacks=list(callbacks), max_epochs=epochs, default_root_dir=folder, log_every_n_steps=1, **options
    )
    trainer.fit(KitModule(), kit_loader(), kit_loader())
    return trainer


@_CHECKS.add
def its_hooks_exist_and_can_be_called(make_callback: MakeCallback) -> None:
    """No hook is misspelled and every signature is the table's."""
    problems = check_hooks(make_callback(), Callback, "callback")
    require(not problems, "; ".join(str(problem) for problem in problems))


@_CHECKS.add
def it_takes_part_in_every_kind_of_run(make_callback: MakeCallback) -> None:
    """One instance goes through fit, validate, test and predict."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _fit(folder, make_callback(), epochs=2)
        module = trainer.lightning_module
        trainer.validate(module, kit_loader())
        trainer.test(module, kit_loader())
        trainer.predict(module, kit_loader())


@_CHECKS.add
def it_can_be_used_for_a_second_fit(make_callback: MakeCallback) -> None:
    """One instance serves two trainers, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        callback = make_callback()
        _fit(folder, callback)
        _fit(folder, callback)


@_CHECKS.add
def it_survives_an_exception_in_the_middle(make_callback: MakeCallback) -> None:
    """The exception reaches the caller unchanged, and the instance works again afterwards."""
    for hook in ("on_train_batch_start", "on_validation_batch_start"):
        with tempfile.TemporaryDirectory() as folder:
            callback, error = make_callback(), RuntimeError("in the middle")
            caught: BaseException | None = None
            try:
                _fit(folder, callback, StopAt(hook, error))
            except RuntimeError as raised:
                caught = raised
            require(caught is error, f"an exception in `{hook}` reached the caller as {caught!r}")
            _fit(folder, callback)


@_CHECKS.add
def it_works_without_validation(make_callback: MakeCallback) -> None:
    """A run that validates nothing is no mistake, unless the callback monitors what validation logs."""
    with tempfile.TemporaryDirectory() as folder:
        callback = make_callback()
        if str(getattr(callback, "monitor", None)).startswith("val_"):
            return
        _fit(folder, callback, limit_val_batches=0)


@_CHECKS.add
def its_state_survives_a_checkpoint_file(make_callback: MakeCallback) -> None:
    """The state is of safe types, and a fresh instance that loads it has the same."""
    with tempfile.TemporaryDirectory() as folder:
        callback = make_callback()
        _fit(folder, callback)
        state, path = callback.state_dict(), Path(folder) / "state.ckpt"
        save_checkpoint_file({"state": state}, path)
        read = load_checkpoint_file(path)["state"]
        fresh = make_callback()
        if state:
            fresh.load_state_dict(copy.deepcopy(read))
            require(same(fresh.state_dict(), state), f"{fresh.state_dict()} after loading {state}")


@_CHECKS.add
def it_goes_on_from_a_checkpoint(make_callback: MakeCallback) -> None:
    """A run that is resumed with a fresh instance finds its state under the same key."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resume.ckpt"
        _fit(folder, make_callback()).save_checkpoint(path)
        trainer = MiniTrainer(callbacks=[make_callback()], max_epochs=2, default_root_dir=folder)
        trainer.fit(KitModule(), kit_loader(), kit_loader(), ckpt_path=path)


@_CHECKS.add
def it_can_be_copied_and_pickled(make_callback: MakeCallback) -> None:
    """Launchers send callbacks to other processes, before and after a run."""
    with tempfile.TemporaryDirectory() as folder:
        callback = make_callback()
        for when in ("before", "after"):
            for copied in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
                require(same(copied.state_dict(), callback.state_dict()), f"the copy {when} a run has another state")
                require(copied.state_key == callback.state_key, f"the copy {when} a run has another state key")
            _fit(folder, callback)


@_CHECKS.add
def its_state_key_tells_its_arguments_only(make_callback: MakeCallback) -> None:
    """Two instances with equal arguments have equal keys, before and after a run."""
    with tempfile.TemporaryDirectory() as folder:
        callback = make_callback()
        _fit(folder, callback)
        require(callback.state_key == make_callback().state_key, "the state key differs between equal instances")


def same(left: Any, right: Any) -> bool:
    """Tell whether two states are equal, tensors bit for bit.

    Example:
        >>> same({"a": [torch.ones(2), 1]}, {"a": [torch.ones(2), 1]})
        True
    """
    if isinstance(left, torch.Tensor) or isinstance(right, torch.Tensor):
        return isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right) or (left != left and right != right)
