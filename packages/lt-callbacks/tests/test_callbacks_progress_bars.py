"""What the progress bars show in a terminal and elsewhere, and what they cost."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lt_callbacks import ProgressBar, RichProgressBar, RichProgressBarTheme, TQDMProgressBar
from lt_callbacks.progress import default_progress_bar, tqdm_progress
from lt_core.errors import MisconfigurationException, MissingPackageError
from lt_core.logger import DummyLogger
from lt_core.testing import BoringModel, MiniTrainer, RandomDataset, RandomIterableDataset

rich = pytest.importorskip("rich")
pytest.importorskip("tqdm")
torch.set_num_threads(1)


class Terminal(io.StringIO):
    """Text output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Logs(BoringModel):
    """Logs one metric per training step and one per validation, both for the bar."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.step(batch)
        self.log("train_loss", 0.25, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", 0.5, prog_bar=True)


def data(batches: int) -> DataLoader[Any]:
    return DataLoader(RandomDataset(32, batches))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Replace the standard output, for both libraries, by a terminal of 100 columns."""
    output = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    # Pytest sets `sys.stdout` anew after this, so tqdm's callback gets the terminal by its own name for the module.
    monkeypatch.setattr(tqdm_progress, "sys", SimpleNamespace(stdout=output))
    before = vars(rich.get_console()).copy()
    rich.reconfigure(force_terminal=True, width=100, file=output)
    yield output
    vars(rich.get_console()).update(before)


@pytest.fixture(params=[RichProgressBar, TQDMProgressBar], ids=["rich", "tqdm"])
def bar_class(request: pytest.FixtureRequest) -> Any:
    """Run a test with both bars."""
    return request.param


def screen(output: Terminal) -> str:
    """Return the text without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())


def last_count(output: Terminal, phase: str) -> str:
    """Return the last ``done/total`` that a phase's bar has shown."""
    found = re.findall(rf"{phase}[^\r\n]*? (\d+/(?:\d+|--|\?))", screen(output))
    return found[-1] if found else ""


def test_output_that_is_no_terminal_gets_one_line_per_phase(bar_class: Any, capsys: Any) -> None:
    """Each epoch and each validation leaves a line with its count and metrics."""
    trainer = MiniTrainer(callbacks=[bar_class()], max_epochs=2, num_sanity_val_steps=1)

    trainer.fit(Logs(), data(4), data(3))
    trainer.test(Logs(), data(5))
    trainer.predict(Logs(), data(6))

    lines = [re.sub(r" in .*? s \(.*? it/s\)", "", line) for line in capsys.readouterr().out.splitlines()]
    last = "/1" if bar_class is RichProgressBar else ""
    assert lines == [
        "Sanity Checking: 1/1 batches",
        "Validation: 3/3 batches train_loss: 0.250 val_loss: 0.500",
        f"Epoch 0{last}: 4/4 batches train_loss: 0.250 val_loss: 0.500",
        "Validation: 3/3 batches train_loss: 0.250 val_loss: 0.500",
        f"Epoch 1{last}: 4/4 batches train_loss: 0.250 val_loss: 0.500",
        "Testing: 5/5 batches",
        "Predicting: 6/6 batches",
    ]


def test_several_loaders_share_a_plain_line(bar_class: Any, capsys: Any) -> None:
    """The line counts the batches of all of them."""
    trainer = MiniTrainer(callbacks=[bar_class()], max_epochs=1)

    trainer.fit(Logs(), data(2), [data(3), data(4)])

    assert "Validation: 7/7 batches" in capsys.readouterr().out


def test_a_terminal_shows_the_right_totals(bar_class: Any, terminal: Terminal) -> None:
    """The last drawing of each phase that stays is complete."""
    trainer = MiniTrainer(callbacks=[bar_class()], max_epochs=2)

    trainer.fit(Logs(), data(4), data(3))
    trainer.test(Logs(), data(5))
    trainer.predict(Logs(), data(6))

    assert last_count(terminal, "Epoch 1") == "4/4"
    assert last_count(terminal, "Testing") == "5/5"
    assert last_count(terminal, "Predicting") == "6/6"
    assert "train_loss" in screen(terminal)
    assert "val_loss" in screen(terminal)


def test_the_last_epoch_is_cut_by_max_steps(bar_class: Any, terminal: Terminal) -> None:
    """Three steps of two batches remain: the total is six, not ten."""
    trainer = MiniTrainer(callbacks=[bar_class()], max_epochs=-1, max_steps=8, accumulate_grad_batches=2)

    trainer.fit(Logs(), data(10), data(1))

    assert last_count(terminal, "Epoch 1") == "6/6"


def test_limits_and_unknown_lengths_are_shown_as_they_are(bar_class: Any, terminal: Terminal) -> None:
    """A limited loader counts to its limit, an unsized one to no total."""
    MiniTrainer(callbacks=[bar_class()], limit_train_batches=3).fit(Logs(), data(10), data(1))
    limited = last_count(terminal, "Epoch 0")
    terminal.truncate(0)

    MiniTrainer(callbacks=[bar_class()]).fit(Logs(), DataLoader(RandomIterableDataset(32, 5)), data(1))

    assert limited == "3/3"
    assert last_count(terminal, "Epoch 0") in ("5/--", "5/?")


def test_each_of_several_loaders_has_its_own_total(bar_class: Any, terminal: Terminal) -> None:
    """The bar of the second loader counts its own batches."""
    trainer = MiniTrainer(callbacks=[bar_class()])

    trainer.test(BoringModel(), [data(3), data(4)])

    assert last_count(terminal, "Testing DataLoader 1") == "4/4"


@pytest.mark.parametrize("hook_called", [True, False])
def test_a_run_resumed_within_an_epoch_shows_where_it_is(bar_class: Any, terminal: Terminal, hook_called: bool) -> None:
    """Whether or not the trainer begins the epoch anew, the count and the total are right."""
    bar, module = bar_class(), Logs()
    trainer = MiniTrainer(callbacks=[bar], max_epochs=-1, max_steps=9)
    trainer.num_training_batches = 10
    bar.setup(trainer, module, "fit")
    bar.on_train_start(trainer, module)
    trainer.global_step = 5
    if hook_called:
        bar.on_train_epoch_start(trainer, module)

    for batch_idx in range(5, 9):
        trainer.global_step += 1
        bar.on_train_batch_end(trainer, module, None, None, batch_idx)
    bar.on_train_end(trainer, module)

    assert last_count(terminal, "Epoch 0") == "9/9"


def test_short_epochs_do_not_flood_the_terminal(bar_class: Any, terminal: Terminal) -> None:
    """At most ten drawings a second, and few more for what must be seen, however many epochs there are."""
    bar = bar_class()
    drawings = 0
    original = bar._show

    def count(*args: Any) -> None:
        nonlocal drawings
        drawings += 1
        original(*args)

    bar._show = count
    trainer = MiniTrainer(callbacks=[bar], max_epochs=40)
    start = time.monotonic()

    trainer.fit(Logs(), data(2), data(1))

    # A drawing during validation brings the training bar up to date, too.
    assert drawings <= 2 * (10 * (time.monotonic() - start) + 2)


def test_metrics_are_read_only_when_they_are_drawn(bar_class: Any, terminal: Terminal) -> None:
    """A thousand batches within a tenth of a second read them at most a few times."""
    reads = 0

    class Counting(MiniTrainer):
        @property
        def progress_bar_metrics(self) -> dict[str, float]:
            nonlocal reads
            reads += 1
            return {"loss": 0.5}

    bar, module = bar_class(), Logs()
    trainer = Counting(callbacks=[bar])
    trainer.num_training_batches = 1000
    bar.setup(trainer, module, "fit")
    bar.on_train_start(trainer, module)
    bar.on_train_epoch_start(trainer, module)
    start = time.monotonic()

    for batch_idx in range(1000):
        bar.on_train_batch_end(trainer, module, None, None, batch_idx)

    assert reads <= 10 * (time.monotonic() - start) + 1
    bar.teardown(trainer, module, "fit")


def test_between_drawings_a_batch_costs_one_call_and_one_look_at_the_clock(bar_class: Any, terminal: Terminal) -> None:
    """Counted, because it is on the path of each step."""
    bar, module = bar_class(), Logs()
    trainer = MiniTrainer(callbacks=[bar])
    trainer.num_training_batches = 1000
    bar.setup(trainer, module, "fit")
    bar.on_train_start(trainer, module)
    bar.on_train_epoch_start(trainer, module)
    bar.on_train_batch_end(trainer, module, None, None, 0)
    calls: list[str] = []

    sys.setprofile(lambda frame, event, argument: calls.append(event) if event in ("call", "c_call") else None)
    bar.on_train_batch_end(trainer, module, None, None, 1)
    sys.setprofile(None)

    assert calls[:-1] == ["call", "c_call"]  # the last is `sys.setprofile` itself
    bar.teardown(trainer, module, "fit")


def test_an_exception_gives_the_terminal_back(bar_class: Any, terminal: Terminal) -> None:
    """No thread is left, the cursor is shown again, and the next run works."""

    class Fails(Logs):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 2:
                raise ValueError("broken")
            return super().training_step(batch, batch_idx)

    bar, before = bar_class(), threading.active_count()
    with pytest.raises(ValueError, match="broken"):
        MiniTrainer(callbacks=[bar]).fit(Fails(), data(4), data(1))
    hidden, shown = terminal.getvalue().rfind("\x1b[?25l"), terminal.getvalue().rfind("\x1b[?25h")
    threads = threading.active_count()

    MiniTrainer(callbacks=[bar]).fit(Logs(), data(4), data(1))

    assert shown >= hidden
    assert threads == before
    assert last_count(terminal, "Epoch 0") == "4/4"


def test_lines_are_printed_above_the_bar(bar_class: Any, terminal: Terminal, capsys: Any) -> None:
    """A printed line stands in a line of its own."""
    bar = bar_class()

    class Prints(Logs):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            bar.print("batch", batch_idx, sep="=")

    MiniTrainer(callbacks=[bar]).fit(Prints(), data(3), data(1))
    bar.print("after", "the run")

    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in screen(terminal).split("\n")]
    assert [line for line in lines if line.startswith("batch")] == ["batch=0", "batch=1", "batch=2"]
    assert capsys.readouterr().out == "after the run\n"


def test_a_disabled_bar_shows_nothing_until_it_is_enabled(bar_class: Any, terminal: Terminal) -> None:
    """The tuner switches bars off for its own runs."""
    bar = bar_class()
    bar.disable()
    MiniTrainer(callbacks=[bar]).fit(Logs(), data(3), data(1))
    while_disabled = terminal.getvalue()

    bar.enable()
    MiniTrainer(callbacks=[bar]).fit(Logs(), data(3), data(1))

    assert while_disabled == ""
    assert last_count(terminal, "Epoch 0") == "3/3"


def test_a_bar_enabled_within_an_epoch_appears(bar_class: Any, terminal: Terminal) -> None:
    """From the next batch on."""
    bar = bar_class()

    class Switches(Logs):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            (bar.enable if batch_idx == 2 else bar.disable)()

    MiniTrainer(callbacks=[bar]).fit(Switches(), data(4), data(1))

    assert last_count(terminal, "Epoch 0") == "3/4"


def test_a_refresh_rate_of_zero_shows_nothing_and_costs_nothing(bar_class: Any, capsys: Any) -> None:
    """The per-batch hooks are not even called, unless a subclass has its own."""

    class Mine(bar_class):  # type: ignore[misc]
        def on_train_batch_end(self, *args: Any) -> None: ...

    bar, mine = bar_class(refresh_rate=0), Mine(refresh_rate=0)
    trainer = MiniTrainer(callbacks=[bar])

    trainer.fit(Logs(), data(3), data(1))
    mine.setup(trainer, Logs(), "fit")

    assert capsys.readouterr().out == ""
    assert not bar.uses_hook("on_train_batch_end")
    assert not bar.uses_hook("on_validation_batch_start")
    assert mine.uses_hook("on_train_batch_end")


def test_processes_but_the_first_show_nothing(bar_class: Any, capsys: Any) -> None:
    """They are disabled in `setup` and leave out the per-batch hooks."""

    class Second(MiniTrainer):
        is_global_zero = False

    bar = bar_class()

    Second(callbacks=[bar]).fit(Logs(), data(3), data(1))

    assert bar.is_disabled
    assert not bar.uses_hook("on_train_batch_end")
    assert capsys.readouterr().out == ""


def test_leave_keeps_the_bar_of_each_epoch(bar_class: Any, terminal: Terminal) -> None:
    """Each is complete when the next one begins."""
    MiniTrainer(callbacks=[bar_class(leave=True)], max_epochs=3).fit(Logs(), data(4), data(1))

    assert [last_count(terminal, f"Epoch {epoch}") for epoch in range(3)] == ["4/4", "4/4", "4/4"]


def test_a_subclass_chooses_what_stands_beside_the_bar(bar_class: Any, terminal: Terminal) -> None:
    """`get_metrics` may add and drop items."""

    class Mine(bar_class):  # type: ignore[misc]
        def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, Any]:
            items = super().get_metrics(trainer, pl_module)
            items.pop("v_num", None)
            return {"mine": "yes", **items}

    class Versioned(DummyLogger):
        version = "abcdef"

    MiniTrainer(callbacks=[Mine()], logger=Versioned()).fit(Logs(), data(4), data(1))
    without = screen(terminal)
    MiniTrainer(callbacks=[bar_class()], logger=Versioned()).fit(Logs(), data(4), data(1))

    assert "mine" in without
    assert "v_num" not in without
    assert re.search("v_num[=:] ?cdef", screen(terminal))


def test_a_metric_named_like_the_version_is_shown_and_reported(bar_class: Any, terminal: Terminal) -> None:
    """The report comes once."""

    class Clash(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("v_num", 7.0, prog_bar=True)
            return self.step(batch)

    class Versioned(DummyLogger):
        version = 3

    with pytest.warns(UserWarning, match="run's version as 'v_num'") as caught:
        MiniTrainer(callbacks=[bar_class()], logger=Versioned()).fit(Clash(), data(4), data(1))

    assert len(caught) == 1


def test_bars_can_be_sent_to_another_process(bar_class: Any, terminal: Terminal) -> None:
    """What is drawn stays behind."""
    bar = bar_class()
    trainer = MiniTrainer(callbacks=[bar])
    bar.setup(trainer, Logs(), "fit")
    bar.on_train_start(trainer, Logs())
    bar._trainer = None

    copy = pickle.loads(pickle.dumps(bar))

    assert copy.is_enabled


def test_a_tqdm_bar_can_be_replaced(terminal: Terminal) -> None:
    """`init_train_tqdm` and its kin are the place to do it."""

    class Mine(TQDMProgressBar):
        def init_test_tqdm(self) -> Any:
            bar = super().init_test_tqdm()
            bar.bar_format = "{desc} mine {n_fmt}"
            return bar

        @property
        def test_description(self) -> str:
            return "Checking"

    MiniTrainer(callbacks=[Mine()]).test(BoringModel(), data(4))

    assert "Checking DataLoader 0:  mine 4" in screen(terminal)


def test_a_tqdm_bar_exists_without_a_terminal_too(capsys: Any) -> None:
    """Subclasses that touch it work when the output goes to a file."""

    class Mine(TQDMProgressBar):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_epoch_start(trainer, pl_module)
            self.train_progress_bar.set_description("mine")

    MiniTrainer(callbacks=[Mine()]).fit(Logs(), data(2), data(1))

    assert "2/2 batches" in capsys.readouterr().out


def test_a_tqdm_bar_is_drawn_at_every_nth_batch_only(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a refresh rate of three, the fourth batch is not drawn, the last one is."""
    from lt_callbacks.progress import phased_bar

    bar, module = TQDMProgressBar(refresh_rate=3), Logs()
    bar._interval = 0.0
    monkeypatch.setattr(phased_bar, "_LONGEST_INTERVAL", 0.0)  # whatever a drawing takes
    trainer = MiniTrainer(callbacks=[bar])
    trainer.num_training_batches = 5
    bar.setup(trainer, module, "fit")
    bar.on_train_start(trainer, module)
    bar.on_train_epoch_start(trainer, module)

    for batch_idx in range(5):
        bar.on_train_batch_end(trainer, module, None, None, batch_idx)
    bar.on_train_end(trainer, module)

    assert set(re.findall(r" (\d)/5", screen(terminal))) == {"0", "3", "5"}


def test_the_environment_raises_tqdms_refresh_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TQDM_MINITERS` and Colab ask for fewer refreshes."""
    monkeypatch.setenv("TQDM_MINITERS", "7")
    raised = TQDMProgressBar().refresh_rate
    monkeypatch.delenv("TQDM_MINITERS")
    monkeypatch.setenv("COLAB_GPU", "1")

    assert raised == 7
    assert TQDMProgressBar().refresh_rate == 20
    assert TQDMProgressBar(refresh_rate=2).refresh_rate == 2


def test_rich_columns_and_theme_can_be_chosen(terminal: Terminal) -> None:
    """The metrics are always added."""
    from rich.progress import TextColumn

    class Mine(RichProgressBar):
        def configure_columns(self, trainer: Any) -> list[Any]:
            return [TextColumn("only {task.description}")]

    MiniTrainer(callbacks=[Mine(theme=RichProgressBarTheme(description="red", metrics_format=".1e"))]).fit(
        Logs(), data(2), data(1)
    )

    assert "only Epoch 0/0" in screen(terminal)
    assert "train_loss: 2.5e-01" in screen(terminal)


def test_rich_puts_metrics_below_the_bar_where_there_is_no_room_beside_it(terminal: Terminal) -> None:
    """At 80 columns they begin a line, at 200 they follow the speed."""
    rich.reconfigure(force_terminal=True, width=80, file=terminal)
    MiniTrainer(callbacks=[RichProgressBar()]).fit(Logs(), data(2), data(1))
    narrow = screen(terminal)
    terminal.truncate(0)
    rich.reconfigure(force_terminal=True, width=200, file=terminal)
    MiniTrainer(callbacks=[RichProgressBar()]).fit(Logs(), data(2), data(1))

    assert re.search(r"it/s\s*\n\s*train_loss", narrow)
    assert re.search(r"it/s train_loss", screen(terminal))


def test_rich_prints_lines_where_another_display_owns_the_terminal(terminal: Terminal) -> None:
    """The reason is said, and the run goes on."""
    from rich.live import Live

    other = Live("other", console=rich.get_console(), auto_refresh=False)
    other.start()
    bar = RichProgressBar()
    nested_is_possible = hasattr(rich.get_console(), "_live_stack")

    if nested_is_possible:
        MiniTrainer(callbacks=[bar]).fit(Logs(), data(2), data(1))
    else:
        with pytest.warns(UserWarning, match="another live display"):
            MiniTrainer(callbacks=[bar]).fit(Logs(), data(2), data(1))
    other.stop()

    assert "2/2" in screen(terminal)


def test_a_bar_of_ones_own_needs_only_the_base_class(capsys: Any) -> None:
    """The documented example: percent done."""

    class Percent(ProgressBar):
        def __init__(self) -> None:
            super().__init__()
            self.enabled = True

        def disable(self) -> None:
            self.enabled = False

        def enable(self) -> None:
            self.enabled = True

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            print(f"{100 * (batch_idx + 1) / self.total_train_batches:.0f} % of {self.total_val_batches}")

    MiniTrainer(callbacks=[Percent()]).fit(Logs(), data(4), [data(2), data(3)])

    assert capsys.readouterr().out.splitlines() == ["25 % of 5", "50 % of 5", "75 % of 5", "100 % of 5"]


def test_reading_the_trainer_before_a_run_is_explained() -> None:
    """It is known from `setup` on."""
    with pytest.raises(TypeError, match="from `setup` on"):
        _ = ProgressBar().trainer


def test_the_default_bar_is_richs_then_tqdms_then_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed."""
    import lt_callbacks.progress as progress

    chosen: list[Any] = []
    for installed in (("rich", "tqdm"), ("tqdm",), ()):
        monkeypatch.setattr(progress, "find_spec", lambda name, there=installed: name if name in there else None)
        chosen.append(type(default_progress_bar()))

    assert chosen == [RichProgressBar, TQDMProgressBar, type(None)]


@pytest.mark.parametrize(("package", "kind"), [("rich", RichProgressBar), ("tqdm", TQDMProgressBar)])
def test_a_missing_package_is_named_with_its_install_line(
    package: str, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the bar is made, not when the module is imported."""
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingPackageError, match=f"pip install {package}"):
        kind()


def test_a_negative_refresh_rate_is_refused(bar_class: Any) -> None:
    """The message says how to show nothing."""
    with pytest.raises(MisconfigurationException, match=r"refresh_rate=-1.*refresh_rate=0"):
        bar_class(refresh_rate=-1)


def test_importing_the_package_imports_neither_rich_nor_tqdm() -> None:
    """They are imported when a bar is made."""
    code = (
        "import sys; import torch; before = set(sys.modules); import lt_callbacks;"
        "print(sorted({'rich', 'tqdm'} & {name.split('.')[0] for name in set(sys.modules) - before}))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_the_rate_is_that_of_training_alone(bar_class: Any, terminal: Terminal) -> None:
    """A validation in the middle of the epoch takes no time of it, and what was done before a restart took none."""

    class Slow(Logs):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            time.sleep(0.02)
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            time.sleep(0.5)

    MiniTrainer(callbacks=[bar_class()], val_check_interval=0.5).fit(Slow(), data(20), data(1))

    rates = [float(rate) for rate in re.findall(r"Epoch 0[^\r\n]*? ([\d.]+)it/s", screen(terminal))]
    assert last_count(terminal, "Epoch 0") == "20/20"
    # Twenty batches take 0.4 s, and together with the validations 1.4 s.
    assert 20 / 0.4 >= rates[-1] > 20 / 1.0


@pytest.mark.parametrize(("takes", "expected"), [(0.0001, 100), (0.001, 50), (0.0025, 20), (0.05, 10)])
def test_drawing_takes_at_most_a_two_hundredth_of_the_time(
    takes: float, expected: int, bar_class: Any, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted over ten seconds of steps of a millisecond: ten drawings a second at most, one at least."""
    from lt_callbacks.progress import phased_bar

    now, drawings = 1000.0, 0
    monkeypatch.setattr(phased_bar, "monotonic", lambda: now)

    def draw(*args: Any) -> None:
        nonlocal now, drawings
        drawings += 1
        now += takes

    bar, module = bar_class(), Logs()
    bar._show = draw
    trainer = MiniTrainer(callbacks=[bar])
    trainer.num_training_batches = 10_000
    bar.setup(trainer, module, "fit")
    bar.on_train_start(trainer, module)
    bar.on_train_epoch_start(trainer, module)

    for batch_idx in range(10_000):
        now += 0.001
        bar.on_train_batch_end(trainer, module, None, None, batch_idx)

    assert expected * 0.8 <= drawings <= expected + 3
    bar.teardown(trainer, module, "fit")


def test_the_pace_is_that_of_the_last_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows a loop that becomes slower, and leaves pauses out."""
    from lt_callbacks.progress import pace as module

    now = 0.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    pace = module.Pace(done=100)
    for done in range(101, 201):
        now += 0.1
        pace.note(done)
    fast = pace.rate
    pace.pause()
    now += 1000.0
    stood = pace.go_on()
    for done in range(201, 241):
        now += 1.0
        pace.note(done)

    assert fast == pytest.approx(10.0)
    assert stood == pytest.approx(1000.0)
    assert pace.elapsed == pytest.approx(50.0)
    assert pace.rate == pytest.approx(1.0, abs=0.05)
    assert pace.remaining(250) == pytest.approx(10.0, abs=0.5)
    assert pace.remaining(240) == 0.0
    assert pace.remaining(float("inf")) is None


def test_metrics_and_counts_keep_their_place(bar_class: Any, terminal: Terminal) -> None:
    """A metric that changes its sign and size leaves the others where they are, and the bar keeps its length."""
    values = [-100.0, 2.5, 0.0001, 7.0]

    class Jumps(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("a", values[batch_idx % 4], prog_bar=True)
            self.log("b", 0.5, prog_bar=True)
            time.sleep(0.11)
            return self.step(batch)

    rich.reconfigure(force_terminal=True, width=180, file=terminal)
    MiniTrainer(callbacks=[bar_class()]).fit(Jumps(), data(12), data(1))

    lines = [line for line in re.split(r"[\r\n]+", screen(terminal)) if re.search(r" +[1-9]\d*/12 ", line)]
    assert len(lines) >= 2
    assert len({re.search(r"b[=:]", line).start() for line in lines}) == 1  # type: ignore[union-attr]
    assert len({re.search(r"\d+/12", line).end() for line in lines}) == 1  # type: ignore[union-attr]


def test_tqdm_leaves_out_the_bar_where_metrics_need_the_room(terminal: Terminal, monkeypatch: Any) -> None:
    """What a narrow line keeps is the numbers; a format of one's own is left alone."""

    class Many(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            for each in range(2):
                self.log(f"a_long_name_{each}", 0.5, prog_bar=True)
            return self.step(batch)

    class Mine(TQDMProgressBar):
        BAR_FORMAT = "mine {n_fmt}{postfix}"

    MiniTrainer(callbacks=[TQDMProgressBar()]).fit(Many(), data(3), data(1))
    narrow = screen(terminal)
    terminal.truncate(0)
    MiniTrainer(callbacks=[Mine()]).fit(Many(), data(3), data(1))

    assert re.search(r"100% 3/3 \[00:00, [^\r]*a_long_name_0=0.500, a_long_name_1=0.500\]", narrow)
    assert "mine 3, a_long_name_0=0.500" in screen(terminal)


def test_a_run_that_is_no_fit_gives_the_terminal_back_before_its_results(terminal: Terminal) -> None:
    """The table that follows stands below the bar, which is not drawn again."""
    bar = RichProgressBar()

    class Prints(Logs):
        def on_test_end(self) -> None:
            print_to.append(bar.progress)

    print_to: list[Any] = []
    MiniTrainer(callbacks=[bar]).test(Prints(), data(5))

    assert print_to == [None]
    assert last_count(terminal, "Testing") == "5/5"


def luminance(color: str) -> float:
    """Return how bright a colour is to the eye, by the formula of the Web Content Accessibility Guidelines 2."""
    from rich.color import Color

    parts = [part / 255 for part in Color.parse(color).get_truecolor()]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("background", "light"), [("15;0", False), ("0;15", True), ("0;7", True), ("", None)])
def test_rich_colours_can_be_told_from_black_and_from_white(
    background: str, light: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar has a contrast of 3 to either, as the guidelines ask of graphics; what is not done yet is fainter."""
    monkeypatch.setenv("COLORFGBG", background)
    theme = RichProgressBarTheme()
    bar = RichProgressBar()
    columns = bar.configure_columns(MiniTrainer())
    rest = luminance(columns[1].style)

    for color in (theme.progress_bar, theme.progress_bar_finished, theme.progress_bar_pulse):
        done = luminance(str(color))
        assert (done + 0.05) / 0.05 > 3
        assert 1.05 / (done + 0.05) > 3
        if light is not None:
            ground = 1.0 if light else 0.0
            assert abs(rest - ground) < abs(done - ground)


SCRIPT = """
import sys, warnings
import torch
from lt_core.rank_zero import rank_zero_info
from torch.utils.data import DataLoader
from lt_callbacks import RichProgressBar, TQDMProgressBar
from lt_core.testing import BoringModel, MiniTrainer, RandomDataset
class Speaks(BoringModel):
    def training_step(self, batch, batch_idx):
        print("printed", batch_idx, flush=True)
        print("written", batch_idx, file=sys.stderr)
        rank_zero_info(f"logged {batch_idx}")
        print("half a line", end="")
        return self.step(batch)
for kind in (RichProgressBar, TQDMProgressBar):
    data = DataLoader(RandomDataset(32, 5))
    streams = sys.stdout, sys.stderr
    MiniTrainer(callbacks=[kind()], max_epochs=1).fit(Speaks(), data, data)
    print()
    assert (sys.stdout, sys.stderr) == streams
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("columns", [0, 80])
def test_in_a_real_terminal_both_bars_are_drawn(columns: int) -> None:
    """A process in a pseudo-terminal, even one that hides its width, ends well and has drawn bars, not lines."""
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(slave)
    drawn = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    os.close(master)

    text = drawn.decode()
    assert process.wait(timeout=60) == 0
    assert "━" in text
    assert "5/5 [" in text
    assert " batches in " not in text
    # What a person sees of each line is what comes after the last return to its beginning.
    lines = [
        re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rstrip("\r").rpartition("\r")[2]).strip()
        for line in text.split("\n")
    ]
    for said in ("written", "logged"):
        assert [line for line in lines if said in line] == 2 * [f"{said} {batch}" for batch in range(5)]
    printed = [line for line in lines if "printed" in line]
    assert printed == 2 * [("half a line" if batch else "") + f"printed {batch}" for batch in range(5)]
