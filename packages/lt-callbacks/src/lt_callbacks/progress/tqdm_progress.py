"""The progress bar drawn with tqdm."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from lt_callbacks.progress.lines_above import LinesAbove
from lt_callbacks.progress.phased_bar import PhasedProgressBar
from lt_callbacks.progress.plain_lines import SteadyValues
from lt_callbacks.progress.terminal import has_width, in_notebook, is_terminal, notebook_has_widgets
from lt_core.errors import MisconfigurationValueError, MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lt_callbacks.progress.tqdm_bar import Tqdm
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["TQDMProgressBar"]

_COLAB_REFRESH_RATE = 20
_COLUMNS = 80
_LINES_A_SECOND = 10


def __getattr__(name: str) -> Any:
    if name == "Tqdm":
        from lt_callbacks.progress.tqdm_bar import Tqdm

        return Tqdm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class TQDMProgressBar(PhasedProgressBar):
    """Show progress with tqdm, on standard output.

    There is one bar for the sanity check, training, validation (below the training bar while it runs), the test and
    prediction. Override ``init_train_tqdm`` and its kin to change one. Where the output is no terminal, each phase
    leaves one plain line.

    Args:
        refresh_rate: Draw only at every so many batches, and at most ten times a second; 0 shows nothing. The
            environment variable ``TQDM_MINITERS`` raises it.
        process_position: How many lines to leave free above, for bars of other programs.
        leave: Whether the bar of each epoch stays, so that a new one begins below it.

    Raises:
        ModuleNotFoundError: tqdm is not installed.

    Example:
        >>> class Named(TQDMProgressBar):
        ...     def init_validation_tqdm(self):
        ...         bar = super().init_validation_tqdm()
        ...         bar.set_description("checking")
        ...         return bar
        >>> Named(refresh_rate=10).refresh_rate
        10
    """

    BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"

    def __init__(self, refresh_rate: int = 1, process_position: int = 0, leave: bool = False) -> None:  # noqa: FBT001, FBT002 - the position is part of the public API
        super().__init__()
        _require_tqdm()
        if refresh_rate < 0 or process_position < 0:
            raise MisconfigurationValueError(
                f"TQDMProgressBar got refresh_rate={refresh_rate!r} and process_position={process_position!r}; expected"
                " 0 or more. Write `refresh_rate=0` to show nothing."
            )
        self._refresh_rate = _resolve_refresh_rate(refresh_rate)
        self._process_position = process_position
        self._leave = leave
        self._train_progress_bar: Tqdm | None = None
        self._val_progress_bar: Tqdm | None = None
        self._test_progress_bar: Tqdm | None = None
        self._predict_progress_bar: Tqdm | None = None
        self._steady = SteadyValues()
        self._lines_above: LinesAbove | None = None
        self._put_back_at: deque[float] = deque([-math.inf] * _LINES_A_SECOND, maxlen=_LINES_A_SECOND)

    def __getstate__(self) -> dict[str, Any]:
        # Bars hold a lock and a stream, which cannot be sent to another process.
        kept = {name: None if name.endswith("_progress_bar") else value for name, value in vars(self).items()}
        return {**kept, "_lines_above": None}

    @property
    def train_progress_bar(self) -> Tqdm:
        """The bar of training."""
        return self._bar("train")

    @train_progress_bar.setter
    def train_progress_bar(self, bar: Tqdm) -> None:
        self._train_progress_bar = bar

    @property
    def val_progress_bar(self) -> Tqdm:
        """The bar of validation and of the sanity check."""
        return self._bar("validation")

    @val_progress_bar.setter
    def val_progress_bar(self, bar: Tqdm) -> None:
        self._val_progress_bar = bar

    @property
    def test_progress_bar(self) -> Tqdm:
        """The bar of the test."""
        return self._bar("test")

    @test_progress_bar.setter
    def test_progress_bar(self, bar: Tqdm) -> None:
        self._test_progress_bar = bar

    @property
    def predict_progress_bar(self) -> Tqdm:
        """The bar of prediction."""
        return self._bar("predict")

    @predict_progress_bar.setter
    def predict_progress_bar(self, bar: Tqdm) -> None:
        self._predict_progress_bar = bar

    @property
    def refresh_rate(self) -> int:
        """Draw only at every so many batches."""
        return self._refresh_rate

    @property
    def process_position(self) -> int:
        """How many lines are left free above."""
        return self._process_position

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown."""
        return self._enabled and self._refresh_rate > 0

    def init_sanity_tqdm(self) -> Tqdm:
        """Make the bar of the sanity check."""
        return self._make(self.sanity_check_description, leave=False)

    def init_train_tqdm(self) -> Tqdm:
        """Make the bar of training."""
        return self._make(self.train_description, smoothing=0)

    def init_validation_tqdm(self) -> Tqdm:
        """Make the bar of validation; within fit it stands below the training bar and goes away."""
        below = self.trainer.state.fn != "validate"
        return self._make(self.validation_description, leave=not below, line=int(below))

    def init_test_tqdm(self) -> Tqdm:
        """Make the bar of the test."""
        return self._make(self.test_description)

    def init_predict_tqdm(self) -> Tqdm:
        """Make the bar of prediction."""
        return self._make(self.predict_description, smoothing=0)

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Print above the bars."""
        if not self._open_bars():
            print(*args, sep=sep, **kwargs)
            return
        from lt_callbacks.progress.tqdm_bar import Tqdm

        kwargs.pop("flush", None)
        Tqdm.write(sep.join(map(str, args)), file=kwargs.pop("file", None) or sys.stdout, **kwargs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the bar of training."""
        super().on_train_start(trainer, pl_module)
        self.train_progress_bar = self.init_train_tqdm()

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the bar of the sanity check."""
        self.val_progress_bar = self.init_sanity_tqdm()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the bar of validation."""
        super().on_validation_start(trainer, pl_module)
        if not trainer.sanity_checking:
            self.val_progress_bar = self.init_validation_tqdm()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the bar of the test."""
        self.test_progress_bar = self.init_test_tqdm()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the bar of prediction."""
        self.predict_progress_bar = self.init_predict_tqdm()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the bar of an epoch, a new one if the last is to stay."""
        if self._leave and self._train_is_shown:
            self.train_progress_bar = self.init_train_tqdm()
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the finished bar stay, if it shall."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._leave and self._train_is_shown:
            if self._plain is None:
                self._draw_train(pl_module)
            self.train_progress_bar.close()

    def _is_terminal(self) -> bool:
        return is_terminal(sys.stdout) or in_notebook()

    def _shows_ever(self) -> bool:
        return self._refresh_rate > 0 and super()._shows_ever()

    def _eval_phase_description(self, description: str, dataloader_idx: int, loaders: int) -> str:
        return f"{description} DataLoader {dataloader_idx}"

    def _bar(self, phase: str) -> Tqdm:
        bar = {
            "train": self._train_progress_bar,
            "sanity": self._val_progress_bar,
            "validation": self._val_progress_bar,
            "test": self._test_progress_bar,
            "predict": self._predict_progress_bar,
        }[phase]
        if bar is None:
            raise TypeError(
                f"The {phase} bar of `{type(self).__name__}` was read before it was made; expected that phase to have"
                " begun. Read it inside the hooks of that phase."
            )
        return bar

    def _make(self, description: str, *, leave: bool = True, line: int = 0, smoothing: float = 0.3) -> Tqdm:
        from lt_callbacks.progress.tqdm_bar import Tqdm

        stream = LinesAbove.beneath(sys.stdout)
        if in_notebook():
            # Without widgets only the last line can be redrawn: bars take turns there.
            line = 0
        follows_width = in_notebook() or has_width(stream)
        bar = Tqdm(
            desc=description,
            position=2 * self._process_position + line,
            disable=self.is_disabled or self._plain is not None,
            leave=leave,
            dynamic_ncols=follows_width,
            ncols=None if follows_width else _COLUMNS,
            file=stream,
            smoothing=smoothing,
            bar_format=self.BAR_FORMAT,
            delay=1e-9,  # appears with its first refresh, which keeps to the clock
        )
        bar.adapts_format = self.BAR_FORMAT == TQDMProgressBar.BAR_FORMAT and not notebook_has_widgets()
        return bar

    def _show_begin(self, phase: str, description: str, total: int | float, done: int) -> None:
        bar = self._bar(phase)
        bar.initial = bar.n = done
        bar.total = _known(total)
        bar.set_description(description, refresh=False)
        if not bar.disable:
            # What `reset` does, without drawing.
            bar.start_t = bar.last_print_t = bar._time()  # noqa: SLF001 - tqdm has no public name for it
            bar.last_print_n = done

    def _show(self, phase: str, done: int, total: int | float, metrics: Mapping[str, Any] | None) -> None:
        bar = self._bar(phase)
        if bar.disable or (done % self._refresh_rate != 0 and done < total):
            return
        bar.n = done
        bar.total = _known(total)
        if metrics is not None:
            bar.set_postfix_str(self._steady.text(metrics, delimiter=", ", equals="="), refresh=False)
        bar.adapt_format()
        self._let_lines_stand_above()
        bar.refresh()
        for other in self._open_bars():
            other.put_back()

    def _show_pause(self, seconds: float) -> None:
        bar = self._bar("train")
        if not bar.disable:
            bar.start_t += seconds
            bar.last_print_t += seconds

    def _show_end(self, phase: str) -> None:
        self._bar(phase).close()
        if not self._open_bars():
            self._show_stop()

    def _show_stop(self) -> None:
        for bar in self._open_bars():
            bar.close()
        if self._lines_above is not None:
            self._lines_above.stop()
            self._lines_above = None

    def _open_bars(self) -> list[Tqdm]:
        """Return the bars that are not closed, from bottom to top."""
        bars = (self._val_progress_bar, self._train_progress_bar, self._test_progress_bar, self._predict_progress_bar)
        return [bar for bar in bars if bar is not None and not bar.disable]

    def _let_lines_stand_above(self) -> None:
        """From now on, let printed lines appear above the bars."""
        if self._lines_above is not None or notebook_has_widgets():
            return
        from lt_callbacks.progress.tqdm_bar import Tqdm

        def others() -> bool:
            # By identity: tqdm compares bars by their position.
            ours = {id(bar) for bar in self._open_bars()}
            return any(id(bar) not in ours for bar in Tqdm.all_bars())

        self._lines_above = LinesAbove(lock=Tqdm.get_lock, clear=self._take_away, restore=self._put_back, others=others)
        self._lines_above.start()

    def _take_away(self) -> None:
        for bar in self._open_bars():
            bar.take_away()

    def _put_back(self) -> None:
        # A module that prints in each step must not draw in each step: the next refresh puts the bars back.
        if monotonic() - self._put_back_at[0] < 1.0:
            return
        self._put_back_at.append(monotonic())
        for bar in self._open_bars():
            bar.put_back()


def _known(total: int | float) -> int | float | None:
    return total if math.isfinite(total) else None


def _require_tqdm() -> None:
    try:
        import tqdm  # noqa: F401 - asked for, so that its absence is said here
    except ImportError as error:
        raise MissingPackageError(
            "TQDMProgressBar needs tqdm, which is not installed. Install it with `pip install tqdm`, or switch the bar"
            " off with `enable_progress_bar=False`."
        ) from error


def _resolve_refresh_rate(refresh_rate: int) -> int:
    """Follow what the environment says."""
    if os.getenv("COLAB_GPU") and refresh_rate == 1:
        # More refreshes than that stall a Colab page.
        return _COLAB_REFRESH_RATE
    miniters = os.getenv("TQDM_MINITERS")
    return max(int(miniters), refresh_rate) if miniters and refresh_rate > 0 else refresh_rate
