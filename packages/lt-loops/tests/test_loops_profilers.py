"""Tests of profilers: what they measure, what they report and where the report goes."""

import json
import logging
import pstats
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from lt_core.errors import MisconfigurationException
from lt_core.state import TrainerFn
from lt_loops.profilers import (
    AdvancedProfiler,
    PassThroughProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
    resolve_profiler,
)

ALL = [PassThroughProfiler, SimpleProfiler, AdvancedProfiler, PyTorchProfiler]


def cells(report: str, action: str) -> list[str]:
    """The cells of an action's row in a table."""
    rows = [line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith(f"| {action} ")]
    assert len(rows) == 1
    return [cell.strip() for cell in rows[0]]


def sort_numbers():
    return sorted([3, 1, 2])


# -- names


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, PassThroughProfiler),
        ("simple", SimpleProfiler),
        ("Simple", SimpleProfiler),
        ("advanced", AdvancedProfiler),
        ("PYTORCH", PyTorchProfiler),
    ],
)
def test_each_name_means_its_profiler(value, kind):
    """In any case."""
    assert type(resolve_profiler(value)) is kind


def test_an_instance_is_taken_as_it_is():
    """A profiler object needs no name."""
    mine = SimpleProfiler()

    assert resolve_profiler(mine) is mine


@pytest.mark.parametrize("value", ["simpel", True, SimpleProfiler])
def test_an_unknown_profiler_is_an_error_with_what_to_write(value):
    """Also the class instead of an instance."""
    with pytest.raises(
        MisconfigurationException, match=r"'advanced', 'pytorch', 'simple'.*Write `profiler=\"simple\"`"
    ):
        resolve_profiler(value)


def test_a_misspelled_profiler_is_answered_with_the_nearest():
    """The message helps."""
    with pytest.raises(MisconfigurationException, match="Did you mean `advanced`"):
        resolve_profiler("advance")


# -- every profiler


@pytest.mark.parametrize("kind", ALL)
def test_a_wrapped_function_does_what_it_did(kind):
    """Arguments, result and errors go through; the action is over afterwards, also after an error."""
    profiler = kind()

    def divide(a, *, by):
        return a / by

    measured = profiler.wrap("divide", divide)

    assert measured(6, by=3) == 2
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            measured(1, by=0)
    assert measured.__name__ == "divide"
    profiler.teardown("fit")


@pytest.mark.parametrize("kind", [SimpleProfiler, AdvancedProfiler])
def test_stopping_what_was_not_started_is_an_error(kind):
    """The message says what to do."""
    profiler = kind()
    profiler.start("load")

    with pytest.raises(ValueError, match=r"'loads' is stopped and was not started.*mean `load`"):
        profiler.stop("loads")

    profiler.stop("load")


def test_the_default_profiler_costs_nothing():
    """A function that is not measured stays the plain one."""
    profiler = PassThroughProfiler()

    assert profiler.wrap("sort", sort_numbers) is sort_numbers
    with profiler.profile("sort") as action:
        assert action == "sort"
    assert profiler.summary() == ""


# -- where reports go


@pytest.mark.parametrize(
    ("stage", "rank", "name"),
    [("fit", None, "fit-times.txt"), (TrainerFn.TESTING, 1, "test-times-1.txt"), (None, None, "times.txt")],
)
def test_the_report_is_written_to_a_file_named_for_stage_and_rank(stage, rank, name, tmp_path: Path):
    """Into the folder that was given, which is made."""
    profiler = SimpleProfiler(dirpath=tmp_path / "reports", filename="times")
    if stage is not None:
        profiler.setup(stage, local_rank=rank, log_dir=tmp_path / "run")
    profiler.wrap("sort", sort_numbers)()

    profiler.describe()

    assert [file.name for file in (tmp_path / "reports").iterdir()] == [name]
    assert cells((tmp_path / "reports" / name).read_text(), "sort")[2] == "1"


def test_the_run_s_folder_takes_the_report_where_none_was_given(tmp_path: Path):
    """Each run writes to its own folder; a second report of a run is appended."""
    profiler = SimpleProfiler(filename="times")
    for run in ("first", "second", "second"):
        profiler.setup("fit", log_dir=tmp_path / run)
        profiler.wrap("sort", sort_numbers)()
        profiler.describe()

    texts = [(tmp_path / run / "fit-times.txt").read_text() for run in ("first", "second")]
    assert [text.count("FIT Profiler Report") for text in texts] == [1, 2]


@pytest.mark.parametrize(("rank", "logged"), [(None, True), (0, True), (1, False)])
def test_without_a_file_name_the_first_process_logs_the_report(rank, logged, caplog, tmp_path: Path):
    """One report on the screen, no file."""
    profiler = SimpleProfiler()
    profiler.setup("validate", local_rank=rank, log_dir=tmp_path)
    profiler.wrap("sort", sort_numbers)()

    with caplog.at_level(logging.INFO):
        profiler.describe()

    assert ("VALIDATE Profiler Report" in caplog.text) is logged
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_name_cannot_hold_becomes_an_underscore():
    """Action names hold brackets, colons and slashes."""
    profiler = SimpleProfiler(filename='a/b:c*"d')

    assert profiler.report_name("[Callback]X{'monitor': None}", ".prof") == "a_b_c_d-[Callback]X{'monitor'_None}.prof"
    assert SimpleProfiler().report_name() == "profile.txt"


def test_a_profiler_of_ones_own_needs_start_stop_and_summary(caplog):
    """The base class does the rest."""

    class Counter(Profiler):
        counts: dict

        def __init__(self):
            super().__init__()
            self.counts = {}

        def start(self, action_name):
            self.counts[action_name] = self.counts.get(action_name, 0) + 1

        def stop(self, action_name):
            pass

        def summary(self):
            return f"{self.heading()} {self.counts}"

    profiler = Counter()
    profiler.setup("predict")
    for _ in range(3):
        profiler.wrap("sort", sort_numbers)()

    with caplog.at_level(logging.INFO):
        profiler.describe()

    assert "PREDICT Profiler Report {'sort': 3}" in caplog.text


# -- simple


def test_the_simple_profiler_measures_wall_clock_time():
    """Mean, number and total of the calls; the most expensive action first."""
    profiler = SimpleProfiler()
    for _ in range(3):
        with profiler.profile("wait"):
            time.sleep(0.02)
    profiler.wrap("sort", sort_numbers)()

    report = profiler.summary()

    _, mean, calls, total, share = cells(report, "wait")
    assert float(mean) >= 0.02
    assert calls == "3"
    assert float(total) == pytest.approx(3 * float(mean), rel=1e-3)
    assert 0 < float(share) <= 100
    assert cells(report, "Total")[2] == "4"
    assert report.index("wait") < report.index("sort")
    assert [len(values) for values in profiler.recorded_durations.values()] == [3, 1]


def test_the_simple_profilers_short_table_has_three_columns():
    """Without `extended` there are neither calls nor shares."""
    profiler = SimpleProfiler(extended=False)
    profiler.wrap("sort", sort_numbers)()

    assert len(cells(profiler.summary(), "sort")) == 3
    assert "Percentage" not in profiler.summary()


def test_starting_an_action_twice_is_an_error():
    """Times of the two could not be told apart."""
    profiler = SimpleProfiler()
    profiler.start("load")

    with pytest.raises(ValueError, match=r"'load' is started while it runs.*profiler.stop\('load'\)"):
        profiler.start("load")


def test_a_report_without_any_action_is_an_empty_table():
    """Nothing was called, nothing fails."""
    for extended in (True, False):
        assert "Action" in SimpleProfiler(extended=extended).summary()


# -- advanced


def test_the_advanced_profiler_tells_the_functions_of_each_action():
    """An action inside another is counted for itself, and the outer one goes on afterwards."""
    profiler = AdvancedProfiler()

    def inner():
        return sort_numbers()

    def outer():
        json.dumps([1])
        profiler.wrap("inner", inner)()
        return json.loads("[1]")

    profiler.wrap("outer", outer)()
    report = profiler.summary()

    of_outer, of_inner = report.split("Profile stats for: ")[1:]
    assert of_outer.startswith("outer")
    assert "(dumps)" in of_outer
    assert "(loads)" in of_outer
    assert "(sort_numbers)" not in of_outer
    assert "(sort_numbers)" in of_inner


def test_the_advanced_profiler_limits_the_lines_it_prints():
    """A whole number of lines per action."""

    def work():
        return [json.dumps([number]) for number in range(3)]

    reports = []
    for restriction in (1, 1.0):
        profiler = AdvancedProfiler(line_count_restriction=restriction)
        profiler.wrap("work", work)()
        reports.append(profiler.summary())

    assert "due to restriction <1>" in reports[0]
    assert len(reports[0].splitlines()) < len(reports[1].splitlines())


def test_the_advanced_profiler_dumps_statistics_that_pstats_reads(tmp_path: Path):
    """One file per action, beside the report; nothing of it is left for the next stage."""
    profiler = AdvancedProfiler(dirpath=tmp_path, filename="calls", dump_stats=True)
    profiler.setup("fit")
    profiler.wrap("a.sort", sort_numbers)()

    profiler.describe()

    assert sorted(file.name for file in tmp_path.iterdir()) == ["fit-calls-a.sort.prof", "fit-calls.txt"]
    stats = pstats.Stats(str(tmp_path / "fit-calls-a.sort.prof"))
    assert "sort_numbers" in [name for _, _, name in stats.stats]
    assert profiler.profiled_actions == {}


def test_dumping_without_a_folder_is_an_error_before_the_run():
    """There is neither a folder of one's own nor the run's."""
    with pytest.raises(MisconfigurationException, match=r"no folder to write to.*dirpath"):
        AdvancedProfiler(dump_stats=True).setup("fit")


def test_an_action_around_the_report_can_be_stopped_after_it():
    """A report in the middle takes nothing away from what still runs."""
    profiler = AdvancedProfiler()
    with profiler.profile("run"):
        profiler.wrap("sort", sort_numbers)()
        profiler.describe()
        json.dumps([1])

    assert "(dumps)" in profiler.summary()


# -- torch's


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x).relu()

    def training_step(self, batch):
        return self(batch).sum()


def run_steps(profiler: PyTorchProfiler, steps: int, log_dir: Path | None = None) -> str:
    """Run steps as a trainer does; return the report."""
    net = Net()
    profiler.setup("fit", log_dir=log_dir)
    profiler.prepare(net, steps)
    step = profiler.wrap(
        "[Strategy]S.training_step", profiler.wrap("[LightningModule]Net.training_step", net.training_step)
    )
    for _ in range(steps):
        step(torch.ones(3, 4))
    report = profiler.summary()
    profiler.teardown("fit")
    return report


def count_of(report: str, name: str) -> int:
    """The last column of a row: how many calls."""
    rows = [line.split() for line in report.splitlines() if line.strip().startswith(name)]
    assert len(rows) == 1, report
    return int(rows[0][-1])


def test_the_pytorch_profiler_records_three_steps_after_two(tmp_path: Path):
    """Ten steps, of which three are in the table and in the trace that goes to the run's folder."""
    report = run_steps(PyTorchProfiler(), 10, tmp_path)

    assert "FIT Profiler Report" in report
    assert count_of(report, "aten::addmm") == 3
    traces = list(tmp_path.glob("*.pt.trace.json"))
    assert [trace.name.startswith("fit.") for trace in traces] == [True]
    names = [event.get("name") for event in json.loads(traces[0].read_text())["traceEvents"]]
    assert names.count("[Strategy]S.training_step") == 3
    assert names.count("[LightningModule]Net.training_step") == 3
    assert names.count("[module]torch.nn.modules.linear.Linear: layer") == 3


def test_the_pytorch_profiler_records_all_of_a_short_stage_and_says_so(tmp_path: Path):
    """With fewer steps than the schedule has, none would be recorded."""
    with pytest.warns(UserWarning, match=r"the stage has only 2: all of them are recorded"):
        report = run_steps(PyTorchProfiler(dirpath=tmp_path, filename="ops"), 2)

    assert count_of(report, "aten::addmm") == 2
    assert [trace.name.startswith("fit-ops.") for trace in tmp_path.glob("*.pt.trace.json")] == [True]


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events")  # torch's, about a schedule that repeats
def test_the_pytorch_profiler_takes_a_schedule_and_a_handler_of_ones_own(tmp_path: Path):
    """They replace ours: no trace is written but what the handler writes."""
    seen = []
    profiler = PyTorchProfiler(
        dirpath=tmp_path,
        schedule=torch.profiler.schedule(wait=0, warmup=1, active=1, repeat=2),
        on_trace_ready=lambda traced: seen.append(traced.step_num),
        record_module_names=False,
    )

    report = run_steps(profiler, 6)

    assert len(seen) == 2
    assert count_of(report, "aten::addmm") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_pytorch_profiler_reports_each_stage_for_itself(tmp_path: Path):
    """A second stage starts afresh, and one without a recording says so."""
    profiler = PyTorchProfiler(schedule=torch.profiler.schedule(wait=1, warmup=1, active=2), dirpath=tmp_path)

    first = run_steps(profiler, 4)
    second = run_steps(profiler, 1)
    third = run_steps(profiler, 4)

    assert count_of(first, "aten::addmm") == count_of(third, "aten::addmm") == 2
    assert "Nothing was recorded" in second


def test_the_pytorch_profiler_leaves_the_module_as_it_was():
    """The hooks that name submodules are gone after the stage."""
    net, profiler = Net(), PyTorchProfiler(export_to_chrome=False)

    profiler.prepare(net, 10)
    named = len(net.layer._forward_hooks)
    profiler.teardown("fit")

    assert (named, len(net.layer._forward_hooks), len(net.layer._forward_pre_hooks)) == (1, 0, 0)


def test_a_trace_without_a_folder_is_left_out_with_a_warning():
    """The table is there nevertheless."""
    with pytest.warns(UserWarning, match="no folder to write its trace to"):
        report = run_steps(PyTorchProfiler(), 5)

    assert count_of(report, "aten::addmm") == 3


def test_the_pytorch_profilers_table_takes_further_arguments():
    """Columns, rows and the grouping by shapes."""
    profiler = PyTorchProfiler(
        export_to_chrome=False,
        group_by_input_shapes=True,
        sort_by_key="cuda_time_total",  # the older name of device_time_total
        row_limit=3,
        table_kwargs={"header": "MY TABLE"},
    )

    report = run_steps(profiler, 5)

    assert "MY TABLE" in report
    assert "Input Shapes" in report
    assert count_of(run_steps(PyTorchProfiler(export_to_chrome=False, row_limit=-1), 5), "aten::addmm") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sort_by_key": "cpu_time_totl"}, r"'cpu_time_totl'\)`: the table has no such column.*=.cpu_time_total'`"),
        ({"schedule": 3}, r"schedule=3\)`: it returns 3 for step 0.*wait=1, warmup=1, active=3"),
        ({"schedule": lambda step: "now"}, r"it returns 'now' for step 0"),
        ({"profile_memori": True}, r"takes 'profile_memori'.*Did you mean `profile_memory`"),
        ({"table_kwargs": {"row_limit": 3}}, r"'row_limit'.*write `PyTorchProfiler\(row_limit=3\)`"),
        ({"table_kwargs": {"sort_by": "count"}}, r"write `PyTorchProfiler\(sort_by_key='count'\)`"),
        ({"table_kwargs": {"headr": ""}}, r"'headr', which the table does not take.*Did you mean `header`"),
    ],
)
def test_wrong_arguments_of_the_pytorch_profiler_are_errors_at_once(arguments, message):
    """Not after a long run, when the report is due."""
    with pytest.raises(MisconfigurationException, match=message) as info:
        PyTorchProfiler(**arguments)

    assert isinstance(info.value, KeyError) is ("table_kwargs" in arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what happens where there is no CUDA device")
def test_marks_for_nvidias_tools_need_a_cuda_device():
    """Known at construction."""
    with pytest.raises(MisconfigurationException, match="no CUDA device"):
        PyTorchProfiler(emit_nvtx=True)
