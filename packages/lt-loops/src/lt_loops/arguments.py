"""The plain arguments of the Trainer, resolved: each checked alone, then against the others, all problems at once.

The Trainer keeps the frozen result and asks it; nothing later re-reads what the user wrote. Accelerators, strategies,
precision, loggers, callbacks, profilers and plugins are objects with resolvers of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lt_core.callback import Callback
from lt_core.errors import (
    LtError,
    MisconfigurationException,
    MisconfigurationTypeError,
    MisconfigurationValueError,
    problems_error,
)
from lt_core.rank_zero import PossibleUserWarning, rank_zero_info, rank_zero_warn
from lt_core.whole_number import as_whole
from lt_loops.argument_rules import (
    Rule,
    batch_limit,
    directory,
    duration,
    finite_number,
    flag,
    one_of,
    validation_interval,
    whole_number,
)

__all__ = ["Arguments", "resolve_arguments", "resolve_loop_limits"]

_DEFAULT_MAX_EPOCHS = 1000
_DEFAULT_LOG_EVERY_N_STEPS = 50
_DEFAULT_SANITY_STEPS = 2
_STAGES = ("train", "val", "test", "predict")


@dataclass(frozen=True)
class Arguments:
    """The effective plain arguments of a Trainer.

    Attributes:
        fast_dev_run: False, True for one batch, or the number of batches.
        max_epochs: None until fit decides (`resolve_loop_limits`), -1 for no limit.
        min_epochs: None where the user set none.
        max_steps: In optimizer steps, -1 for no limit.
        min_steps: In optimizer steps, None where the user set none.
        max_time: How long fit may take.
        limit_train_batches: An int counts batches, a float is a fraction of them; as are the following.
        limit_val_batches: Per loader.
        limit_test_batches: Per loader.
        limit_predict_batches: Per loader.
        overfit_batches: 0 when off; else the train and val limits have this value.
        val_check_interval: A count of batches or a fraction of the epoch; None when validation goes by time.
        val_check_time: Seconds between validations, None when validation goes by batches.
        check_val_every_n_epoch: None when batches are counted across epochs.
        num_sanity_val_steps: Batches per loader; infinite for all.
        log_every_n_steps: 0 for never.
        enable_checkpointing: Whether a default checkpoint callback is wanted.
        enable_progress_bar: Whether a default progress bar is wanted.
        enable_model_summary: Whether a default summary is wanted.
        asked_for: Which of the last three, and ``logger``, the user asked for with an explicit True.
        accumulate_grad_batches: Batches per optimizer step.
        gradient_clip_val: None or not positive when off.
        gradient_clip_algorithm: ``norm``, ``value`` or None, which means norm.
        deterministic: None leaves torch's setting alone.
        benchmark: None leaves cuDNN's setting alone.
        inference_mode: Whether evaluation runs under `torch.inference_mode`.
        use_distributed_sampler: Whether samplers are made distributed.
        detect_anomaly: Whether fit runs under autograd's anomaly detection.
        barebones: Whether everything that costs time is off.
        sync_batchnorm: Whether batch norm sees all devices; changes nothing on one device.
        reload_dataloaders_every_n_epochs: 0 for never.
        default_root_dir: Where files go.
        enable_autolog_hparams: Whether hyperparameters are logged when the run starts.
        loggers_off: Whether the run has no loggers (barebones, or ``logger=False``).
        num_nodes: How many machines.
    """

    fast_dev_run: bool | int
    max_epochs: int | None
    min_epochs: int | None
    max_steps: int
    min_steps: int | None
    max_time: timedelta | None
    limit_train_batches: int | float
    limit_val_batches: int | float
    limit_test_batches: int | float
    limit_predict_batches: int | float
    overfit_batches: int | float
    val_check_interval: int | float | None
    val_check_time: float | None
    check_val_every_n_epoch: int | None
    num_sanity_val_steps: int | float
    log_every_n_steps: int
    enable_checkpointing: bool
    enable_progress_bar: bool
    enable_model_summary: bool
    asked_for: frozenset[str]
    accumulate_grad_batches: int
    gradient_clip_val: int | float | None
    gradient_clip_algorithm: str | None
    deterministic: bool | str | None
    benchmark: bool | None
    inference_mode: bool
    use_distributed_sampler: bool
    detect_anomaly: bool
    barebones: bool
    sync_batchnorm: bool
    reload_dataloaders_every_n_epochs: int
    default_root_dir: str
    enable_autolog_hparams: bool
    loggers_off: bool
    num_nodes: int


def _fast_dev_run(name: str, value: Any) -> bool | int:
    if isinstance(value, bool):
        return value
    number: int = whole_number(0, instead="Write `fast_dev_run=True` for one batch, or a number of batches.")(
        name, value
    )
    return bool(number) if number in (0, 1) else number


def _optional_flag(name: str, value: Any) -> bool | None:
    return None if value is None else flag(name, value)


_DICT_OF_WINDOWS = (
    "Write, for example, `accumulate_grad_batches=4`; to change it by epoch use the callback"
    " `GradientAccumulationScheduler(scheduling={0: 4})`."
)

# Every plain argument: what it may be, and its default.
_RULES: dict[str, tuple[Rule, Any]] = {
    "fast_dev_run": (_fast_dev_run, False),
    "max_epochs": (whole_number(0, or_none=True, unlimited=True), None),
    "min_epochs": (whole_number(0, or_none=True), None),
    "max_steps": (whole_number(0, unlimited=True), -1),
    "min_steps": (whole_number(0, or_none=True), None),
    "max_time": (duration, None),
    **{f"limit_{stage}_batches": (batch_limit(1.0), None) for stage in _STAGES},
    "overfit_batches": (batch_limit(0.0), 0.0),
    "val_check_interval": (validation_interval, None),
    "check_val_every_n_epoch": (whole_number(1, or_none=True), 1),
    "num_sanity_val_steps": (whole_number(0, or_none=True, unlimited=True), None),
    "log_every_n_steps": (whole_number(0, or_none=True), None),
    "enable_checkpointing": (_optional_flag, None),
    "enable_progress_bar": (_optional_flag, None),
    "enable_model_summary": (_optional_flag, None),
    "accumulate_grad_batches": (whole_number(1, instead=_DICT_OF_WINDOWS), 1),
    "gradient_clip_val": (finite_number, None),
    "gradient_clip_algorithm": (one_of(("norm", "value", None)), None),
    "deterministic": (one_of((True, False, "warn", None)), None),
    "benchmark": (_optional_flag, None),
    "inference_mode": (flag, True),
    "use_distributed_sampler": (flag, True),
    "detect_anomaly": (flag, False),
    "barebones": (flag, False),
    "sync_batchnorm": (flag, False),
    "reload_dataloaders_every_n_epochs": (whole_number(0), 0),
    "default_root_dir": (directory, None),
    "enable_autolog_hparams": (flag, True),
    "num_nodes": (whole_number(1), 1),
}


def resolve_arguments(raw: Mapping[str, Any]) -> Arguments:
    """Check the plain arguments of a Trainer and work out their effective values.

    Args:
        raw: The arguments by name, as the user gave them; the absent ones are at their defaults. ``callbacks``,
            ``logger``, ``profiler`` and ``model_registry`` are only looked at for contradictions.

    Raises:
        LtError: Something is wrong. A single problem is raised as it is; several come as one
            `MisconfigurationException` that lists them all.

    Example:
        >>> arguments = resolve_arguments({"fast_dev_run": 3, "max_epochs": 20})
        >>> arguments.max_epochs, arguments.max_steps, arguments.limit_val_batches
        (1, 3, 3)
        >>> resolve_arguments({"max_epochs": -5, "barebones": True, "detect_anomaly": True})
        Traceback (most recent call last):
        lt_core.errors.MisconfigurationException: 2 problems were found:
        ...
    """
    problems: list[LtError] = []
    values: dict[str, Any] = {}
    for name, (rule, default) in _RULES.items():
        values[name] = rule(name, default)
        try:
            values[name] = rule(name, raw.get(name, default))
        except LtError as problem:
            problems.append(problem)
    problems += _callback_problems(raw.get("callbacks"), values)
    problems += _contradictions(raw, values)
    problems += _not_available(raw, values)
    if problems:
        raise problems_error(problems)
    asked_for = frozenset(
        name
        for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger")
        if raw.get(name) is True
    )
    values["loggers_off"] = values["barebones"] or _is_no_logger(raw.get("logger"))
    _tell_about_ones(raw, values)
    _apply_defaults(values)
    _apply_overfitting(values)
    _apply_fast_dev_run(values)
    interval = values["val_check_interval"]
    by_time = isinstance(interval, timedelta)
    values["val_check_time"] = interval.total_seconds() if by_time else None
    values["val_check_interval"] = None if by_time else interval
    return Arguments(**values, asked_for=asked_for)


def resolve_loop_limits(arguments: Arguments, *, has_timer: bool) -> tuple[int, int]:
    """Return how many epochs fit runs at least and at most.

    Args:
        arguments: The resolved arguments.
        has_timer: Whether a timer callback will end the run.

    Returns:
        ``(min_epochs, max_epochs)``; max_epochs is -1 for no limit, and 1000 (said once, as a warning) where nothing
        else would end the run.

    Example:
        >>> resolve_loop_limits(resolve_arguments({"max_steps": 10, "min_steps": 5}), has_timer=False)
        (1, -1)
    """
    max_epochs = arguments.max_epochs
    if max_epochs is None:
        max_epochs = -1
        if arguments.max_steps == -1 and not has_timer:
            max_epochs = _DEFAULT_MAX_EPOCHS
            rank_zero_warn(
                f"`max_epochs` was not set, and nothing else ends the run: it is {_DEFAULT_MAX_EPOCHS}. Write"
                " `max_epochs=-1` to train without a limit.",
                category=PossibleUserWarning,
            )
    min_epochs = arguments.min_epochs
    if min_epochs is None:
        # With min_steps, a stop request before the first batch must not end the run.
        min_epochs = 0 if arguments.min_steps is None else 1
    return min_epochs, max_epochs


# -- what arguments mean for each other


def _is_no_logger(logger: Any) -> bool:
    return logger is False or (isinstance(logger, (list, tuple)) and not logger)


def _contradictions(raw: Mapping[str, Any], values: Mapping[str, Any]) -> list[LtError]:
    problems: list[LtError] = []
    given_interval = raw.get("val_check_interval")
    if values["check_val_every_n_epoch"] is None and isinstance(given_interval, float):
        problems.append(
            MisconfigurationException(
                f"`val_check_interval={given_interval!r}` is a fraction of an epoch, but `check_val_every_n_epoch=None`"
                " counts across epochs. Expected a number of batches or a duration. Write an int, such as"
                " `val_check_interval=1000`, a duration such as '00:00:15:00', or leave `check_val_every_n_epoch` at 1."
            )
        )
    if values["barebones"]:
        problems += _barebones_problems(raw, values)
    return problems


def _barebones_problems(raw: Mapping[str, Any], values: Mapping[str, Any]) -> list[LtError]:
    wanted = {
        "enable_checkpointing": bool(values["enable_checkpointing"]),
        "logger": raw.get("logger") is not None and not _is_no_logger(raw.get("logger")),
        "enable_progress_bar": bool(values["enable_progress_bar"]),
        "enable_model_summary": bool(values["enable_model_summary"]),
        "log_every_n_steps": bool(values["log_every_n_steps"]),
        "num_sanity_val_steps": bool(values["num_sanity_val_steps"]),
        "fast_dev_run": bool(values["fast_dev_run"]),
        "detect_anomaly": values["detect_anomaly"],
        "profiler": raw.get("profiler") is not None,
    }
    return [
        MisconfigurationValueError(
            f"`{name}={raw.get(name)!r}` was given together with `barebones=True`, which switches off everything that"
            f" costs time. Expected one of the two. Remove `{name}` or `barebones`."
        )
        for name, is_wanted in wanted.items()
        if is_wanted
    ]


def _callback_problems(callbacks: Any, values: Mapping[str, Any]) -> list[LtError]:
    listed = [] if callbacks is None else list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]
    problems: list[LtError] = []
    for index, callback in enumerate(listed):
        if not isinstance(callback, Callback):
            kind = f"the class `{callback.__name__}`" if isinstance(callback, type) else repr(callback)
            fix = f"Write `{callback.__name__}()`" if isinstance(callback, type) else "Derive it from `Callback`"
            problems.append(
                MisconfigurationTypeError(
                    f"`callbacks[{index}]` is {kind}. Expected an instance of a class derived from `Callback`. {fix}."
                )
            )
    roles = [(type(callback).__name__, getattr(callback, "role", None)) for callback in listed]
    for argument, role in (("enable_checkpointing", "checkpoint"), ("enable_progress_bar", "progress_bar")):
        names = [name for name, its_role in roles if its_role == role]
        if names and values[argument] is False:
            problems.append(
                MisconfigurationException(
                    f"`{argument}=False` was given together with the callback `{names[0]}`, which does just that."
                    f" Expected one of the two. Remove `{argument}=False` or the callback."
                )
            )
    bars = [name for name, role in roles if role == "progress_bar"]
    if len(bars) > 1:
        problems.append(
            MisconfigurationException(
                f"`callbacks` holds {len(bars)} progress bars: {', '.join(bars)}. Expected one, because they write to"
                " the same lines. Keep one of them."
            )
        )
    return problems


def _not_available(raw: Mapping[str, Any], values: Mapping[str, Any]) -> list[LtError]:
    problems: list[LtError] = []
    if raw.get("model_registry") is not None:
        problems.append(
            MisconfigurationException(
                f"`model_registry={raw['model_registry']!r}` was given, but no installed package is a model registry."
                " Expected None. Leave it out and upload the checkpoint that `ModelCheckpoint` wrote."
            )
        )
    return problems


def _tell_about_ones(raw: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    if values["fast_dev_run"]:
        return
    for name in (*(f"limit_{stage}_batches" for stage in _STAGES), "overfit_batches", "val_check_interval"):
        given = raw.get(name)
        if isinstance(given, timedelta) or given != 1:
            continue
        one = as_whole(given) is not None and not isinstance(given, float)
        if name == "val_check_interval":
            meaning = "validation runs after every batch" if one else "validation runs at the end of the epoch"
        else:
            meaning = "one batch is used" if one else "all batches are used"
        rank_zero_info(f"`Trainer({name}={given!r})`: {meaning}.")


def _apply_defaults(values: dict[str, Any]) -> None:
    on = not values["barebones"]
    for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary"):
        values[name] = on if values[name] is None else values[name]
    if values["log_every_n_steps"] is None:
        values["log_every_n_steps"] = _DEFAULT_LOG_EVERY_N_STEPS if on else 0
    if values["num_sanity_val_steps"] is None:
        values["num_sanity_val_steps"] = _DEFAULT_SANITY_STEPS if on else 0
    if values["num_sanity_val_steps"] == -1:
        values["num_sanity_val_steps"] = math.inf
    if values["deterministic"] and values["benchmark"]:
        rank_zero_warn(
            f"`benchmark=True` lets cuDNN pick algorithms by trial; `deterministic={values['deterministic']!r}` asks"
            " for the same bits each run. Leave `benchmark` out where runs must repeat.",
            category=PossibleUserWarning,
        )
    if values["deterministic"] and values["benchmark"] is None:
        values["benchmark"] = False


def _apply_overfitting(values: dict[str, Any]) -> None:
    if values["overfit_batches"] > 0:
        values["limit_train_batches"] = values["overfit_batches"]
        values["limit_val_batches"] = values["overfit_batches"]


def _apply_fast_dev_run(values: dict[str, Any]) -> None:
    number = int(values["fast_dev_run"])
    if not number:
        return
    limited = ("test", "predict") if values["overfit_batches"] > 0 else _STAGES
    values.update({f"limit_{stage}_batches": number for stage in limited})
    values.update(
        max_epochs=1, max_steps=number, num_sanity_val_steps=0, val_check_interval=1.0, check_val_every_n_epoch=1
    )
    rank_zero_info(f"`fast_dev_run`: {number} batch(es) of each stage are run; nothing is logged or checkpointed.")
