"""Which operations the time of a few steps went to, on the processor and the GPU, by torch's own profiler."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lt_core.errors import MisconfigurationException, did_you_mean, nearest
from lt_core.rank_zero import rank_zero_warn
from lt_loops.profilers.base import Profiler
from lt_loops.profilers.module_names import ModuleNames

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["PyTorchProfiler", "TableArgumentError"]

_STEPS = frozenset({"predict_step", "test_step", "training_step", "validation_step"})
_DEFAULT_STEPS = (1, 1, 3)  # left out, to warm up, recorded
_SORT_KEYS = (
    "count",
    "cpu_memory_usage",
    "cpu_time",
    "cpu_time_total",
    "device_memory_usage",
    "device_time",
    "device_time_total",
    "self_cpu_memory_usage",
    "self_cpu_time_total",
    "self_device_memory_usage",
    "self_device_time_total",
)
_OWN_TABLE_ARGUMENTS = {"row_limit": "row_limit", "sort_by": "sort_by_key"}


class TableArgumentError(MisconfigurationException, KeyError):
    """The table of the report takes no such argument."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class PyTorchProfiler(Profiler):
    """Records all operations of a few steps with `torch.profiler.profile`, and reports them as a table.

    A step of training, validation, test or prediction is one step of the schedule. By default one step is left out,
    one warms up and three are recorded, once per stage; a stage of fewer than five steps is recorded whole.

    Args:
        dirpath: The folder of the report and the trace; by default the run's.
        filename: What the report's file is called, without extension; without it the report is logged.
        group_by_input_shapes: Tell operations apart by the shapes of their inputs; sets ``record_shapes``.
        emit_nvtx: Mark the actions for NVIDIA's tools instead, for a program that runs under ``nsys profile``; there
            is no report then.
        export_to_chrome: Write the trace as a file for chrome://tracing and TensorBoard.
        row_limit: How many rows the table has; -1 for all.
        sort_by_key: By which column; by default the time on the GPU if there is one, else on the processor.
        record_module_names: Show in the trace which submodule runs.
        table_kwargs: Further arguments of the table, as in ``torch.autograd.profiler_util.EventList.table``.
        **profiler_kwargs: Further arguments of `torch.profiler.profile`, such as ``schedule`` and ``profile_memory``.

    Raises:
        MisconfigurationException: An argument is unknown, or cannot be used on this machine.
        TableArgumentError: ``table_kwargs`` has an argument that the table does not take.

    Example:
        >>> profiler = PyTorchProfiler(schedule=None, export_to_chrome=False, row_limit=1)
        >>> with profiler.profile("training_step"):
        ...     product = torch.ones(2, 2) @ torch.ones(2, 2)
        >>> "training_step" in profiler.summary()
        True
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str | None = None,
        group_by_input_shapes: bool = False,  # noqa: FBT001, FBT002 -- the API we match
        emit_nvtx: bool = False,  # noqa: FBT001, FBT002 -- the API we match
        export_to_chrome: bool = True,  # noqa: FBT001, FBT002 -- the API we match
        row_limit: int = 20,
        sort_by_key: str | None = None,
        record_module_names: bool = True,  # noqa: FBT001, FBT002 -- the API we match
        table_kwargs: dict[str, Any] | None = None,
        **profiler_kwargs: Any,
    ) -> None:
        super().__init__(dirpath=dirpath, filename=filename)
        _check_table(table_kwargs or {})
        _check_profiler(profiler_kwargs)
        if emit_nvtx and not torch.cuda.is_available():
            raise MisconfigurationException(
                "`PyTorchProfiler(emit_nvtx=True)` marks actions for NVIDIA's tools, and torch sees no CUDA device. One"
                " was expected. Leave the argument out."
            )
        self._group_by_input_shapes = group_by_input_shapes
        self._emit_nvtx = emit_nvtx
        self._export_to_chrome = export_to_chrome
        self._row_limit = row_limit
        self._sort_by_key = _sort_key(sort_by_key)
        self._table_kwargs = table_kwargs or {}
        self._on_trace_ready: Callable[..., Any] | None = profiler_kwargs.pop("on_trace_ready", None)
        self._default_schedule = "schedule" not in profiler_kwargs
        self._profiler_kwargs = profiler_kwargs
        if group_by_input_shapes:
            self._profiler_kwargs.setdefault("record_shapes", True)
        self._module_names = ModuleNames() if record_module_names else None
        self._too_few_steps = False
        self._profiler: torch.profiler.profile | None = None
        self._nvtx: AbstractContextManager[Any] | None = None
        self._averages: Any = None
        self._regions: dict[str, list[torch.profiler.record_function]] = {}
        self._steps_within = 0

    # -- actions

    def start(self, action_name: str) -> None:
        """Begin to measure an action; the first one starts torch's profiler."""
        if self._profiler is None and self._nvtx is None:
            self._begin()
        if _is_step(action_name):
            self._steps_within += 1
        region = torch.profiler.record_function(action_name)
        region.__enter__()
        self._regions.setdefault(action_name, []).append(region)

    def stop(self, action_name: str) -> None:
        """End to measure an action; at the end of a step the schedule advances."""
        regions = self._regions.get(action_name)
        if not regions:
            return  # started before the previous stage was reported
        regions.pop().__exit__(None, None, None)
        if not _is_step(action_name):
            return
        self._steps_within -= 1
        # A step may be measured as the strategy's and, within it, as the module's: it is one.
        if self._steps_within == 0 and self._profiler is not None:
            self._profiler.step()

    # -- a run

    def prepare(self, module: nn.Module, num_steps: float) -> None:
        """Learn what is about to run: the submodules to name, and whether the schedule has steps enough."""
        if self._module_names is not None:
            self._module_names.attach(module)
        self._too_few_steps = self._default_schedule and num_steps < sum(_DEFAULT_STEPS)
        if self._too_few_steps:
            rank_zero_warn(
                f"`PyTorchProfiler` leaves out 1 step, warms up in 1 and records 3, and the stage has only {num_steps}:"
                " all of them are recorded. Run at least 5 steps, or pass a `schedule`."
            )

    def summary(self) -> str:
        """Return the table of what was recorded; ends the recording."""
        self._end()
        if self._emit_nvtx:
            return ""
        if self._averages is None:
            return f"{self.heading()}\nNothing was recorded: the schedule did not come to its end."
        table = self._averages.table(sort_by=self._sort_by_key, row_limit=self._row_limit, **self._table_kwargs)
        rank = "" if self._local_rank is None else f" rank: {self._local_rank}"
        return f"{self.heading()}\nProfile stats for: records{rank}\n{table}"

    def teardown(self, stage: str | None) -> None:
        """End a stage; what was recorded is forgotten."""
        self._end()
        if self._module_names is not None:
            self._module_names.detach()
        self._averages = None
        self._too_few_steps = False

    # -- torch's profiler

    def _begin(self) -> None:
        if self._emit_nvtx:
            self._nvtx = torch.autograd.profiler.emit_nvtx(record_shapes=self._group_by_input_shapes)
            self._nvtx.__enter__()
            return
        arguments = dict(self._profiler_kwargs)
        if self._default_schedule and not self._too_few_steps:
            wait, warmup, active = _DEFAULT_STEPS
            arguments["schedule"] = torch.profiler.schedule(wait=wait, warmup=warmup, active=active, repeat=1)
        self._profiler = torch.profiler.profile(on_trace_ready=self._take, **arguments)
        self._profiler.__enter__()

    def _end(self) -> None:
        for regions in self._regions.values():
            while regions:
                regions.pop().__exit__(None, None, None)
        self._steps_within = 0
        profiler, nvtx = self._profiler, self._nvtx
        self._profiler = self._nvtx = None
        if profiler is not None:
            profiler.__exit__(None, None, None)
        if nvtx is not None:
            nvtx.__exit__(None, None, None)

    def _take(self, profiler: torch.profiler.profile) -> None:
        self._averages = profiler.key_averages(group_by_input_shape=self._group_by_input_shapes)
        if self._on_trace_ready is not None:
            self._on_trace_ready(profiler)
        elif self._export_to_chrome:
            self._export(profiler)

    def _export(self, profiler: torch.profiler.profile) -> None:
        folder = self.folder
        if folder is None:
            rank_zero_warn(
                "`PyTorchProfiler` has no folder to write its trace to, and leaves it out. Write"
                ' `PyTorchProfiler(dirpath="...")`, or `export_to_chrome=False`.'
            )
            return
        name = self.report_name(extension="")
        torch.profiler.tensorboard_trace_handler(str(folder), name)(profiler)


def _is_step(action_name: str) -> bool:
    return action_name.rpartition(".")[2] in _STEPS


def _sort_key(key: str | None) -> str:
    if key is None:
        return "device_time_total" if torch.cuda.is_available() else "cpu_time_total"
    # torch calls "device" what it called "cuda" before
    current = str(key).replace("cuda_", "device_")
    if current not in _SORT_KEYS:
        raise MisconfigurationException(
            f"`PyTorchProfiler(sort_by_key={key!r})`: the table has no such column. Expected one of:"
            f" {', '.join(_SORT_KEYS)}. Write `sort_by_key={nearest(current, _SORT_KEYS) or 'cpu_time_total'!r}`."
        )
    return current


def _check_table(arguments: dict[str, Any]) -> None:
    known = [*inspect.signature(torch.autograd.profiler_util.EventList.table).parameters][1:]
    for name, value in arguments.items():
        if name in _OWN_TABLE_ARGUMENTS:
            raise TableArgumentError(
                f"`table_kwargs` holds {name!r}, which has an argument of its own. Expected it there: write"
                f" `PyTorchProfiler({_OWN_TABLE_ARGUMENTS[name]}={value!r})`."
            )
        if name not in known:
            raise TableArgumentError(
                f"`table_kwargs` holds {name!r}, which the table does not take. Expected some of:"
                f" {', '.join(one for one in known if one not in _OWN_TABLE_ARGUMENTS)}.{did_you_mean(name, known)}"
            )


def _check_profiler(arguments: dict[str, Any]) -> None:
    known = [*inspect.signature(torch.profiler.profile.__init__).parameters][1:]
    for name in arguments:
        if name not in known:
            raise MisconfigurationException(
                f"`PyTorchProfiler({name}=...)`: neither this class nor `torch.profiler.profile` takes {name!r}."
                f" Expected some of: {', '.join(known)}.{did_you_mean(name, known)}"
            )
    schedule = arguments.get("schedule")
    if schedule is None:
        return
    action = schedule(0) if callable(schedule) else schedule
    if not isinstance(action, torch.profiler.ProfilerAction):
        raise MisconfigurationException(
            f"`PyTorchProfiler(schedule={schedule!r})`: it returns {action!r} for step 0. A function was expected that"
            " takes the number of a step and returns a `torch.profiler.ProfilerAction`. Write"
            " `schedule=torch.profiler.schedule(wait=1, warmup=1, active=3)`."
        )
